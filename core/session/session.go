// Package session is the Engine.IO layer: it opens sessions, keeps them alive
// with heartbeats, moves them from one transport to another without losing a
// packet, and ends each of them once, with one cause.
//
// Most programs want package core, which sits on top of this one and knows
// about events, namespaces and rooms. This package knows packets only.
//
// Lock order: Session.mu, then heartbeat.mu or flusher.mu. The registry has
// locks of its own that are taken with no other held. No lock is held while a
// Conn, a Receiver or a hook of Options is called.
package session

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// ErrClosed is returned when something is sent to a session that has ended or
// is ending.
var ErrClosed = errors.New("session: closed")

// ErrTooLarge is returned when one packet group alone is over the limit of
// the outbox. The session goes on.
var ErrTooLarge = errors.New("session: message larger than the outbox")

// A Handler is the layer above. Opened is called once for each session,
// before the client can have sent anything, and returns what receives it.
// It must not block; it may call s.Send.
type Handler interface {
	Opened(s *Session) Receiver
}

// A Receiver takes what a session's client sends.
type Receiver interface {
	// Message is called for each message, in order, one at a time. p.Data is
	// valid during the call only. Message may block: the client is not read
	// from meanwhile, which is the back-pressure, and does not time out for
	// it.
	Message(p transports.Packet)

	// Closed is called once, when the session has ended. A Message may still
	// be under way; no new one starts after Closed returned.
	Closed(cause *transports.CloseError)
}

// state is where a session is in its life. It only moves forward.
type state uint8

const (
	open    state = iota
	closing       // ended for the layer above; what is in the outbox still goes out
	closed
)

// A Session is one client's Engine.IO connection, whatever transport carries
// it. Its methods are safe for concurrent use and do not wait for the peer.
type Session struct {
	// Set before the session is known to anybody.
	manager   *Manager
	flusher   *flusher
	id        string
	revision  int    // of the protocol
	address   string // that it counts for
	handshake *transports.Handshake

	// Written once, with mu held, before the transport has started. nil while
	// the layer above is making it: what ends the session then leaves it to
	// Manager.open to say so.
	receiver Receiver

	// inMessage is true while the receiver handles a message. A heartbeat
	// that is late then is late because of us.
	inMessage atomic.Bool

	mu        sync.Mutex // guards what follows
	state     state
	cause     *transports.CloseError // set when state leaves open
	told      bool                   // Close has told the receiver
	link      *link                  // the transport in use
	candidate *link                  // the transport being tried, or nil
	phase     phase                  // of the upgrade
	timer     *time.Timer            // upgrade timeout, later the wait for an orderly close
	noopTimer *time.Timer            // releases polls while an upgrade is probed
	outbox    outbox
	traffic   Traffic
	beat      beat // guarded by heartbeat.mu
}

// ID is the session id. It authorises requests: do not show it to anybody but
// the client, and do not log it whole.
func (s *Session) ID() string { return s.id }

// Revision is the revision of the Engine.IO protocol that the client speaks,
// transports.Revision4 or, if Options.AllowEIO3 is set, Revision3.
func (s *Session) Revision() int { return s.revision }

// Handshake returns what the client sent when it opened the session. It is
// shared: do not change it.
func (s *Session) Handshake() *transports.Handshake { return s.handshake }

// Transport is the name of the transport in use.
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.transport.Name()
}

// Close ends the session from this side. The receiver is told before Close
// returns; what was sent before is still delivered, if the client takes it
// within PingTimeout, or 30 s if that is less. Calling it again does nothing.
func (s *Session) Close(cause *transports.CloseError) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	s.cause = cause
	candidate := s.leaveCandidateLocked()
	s.state = closing
	if s.outbox.empty() && !s.link.ready && !s.outbox.flushing {
		// A poll that comes after the server has closed is answered by a noop
		// and a close; one that was waiting, by a close alone.
		s.outbox.noop = true
	}
	s.outbox.goodbye = true
	wait := min(orderlyCloseWait, s.manager.options.PingTimeout) // who is silent for longer is gone
	s.timer = time.AfterFunc(wait, func() { s.fail(cause) })
	receiver := s.receiver
	s.mu.Unlock()

	s.giveUp(candidate, cause)
	if receiver != nil {
		receiver.Closed(cause)
	}
	s.mu.Lock()
	s.told = true
	over := s.state == closed // meanwhile
	s.mu.Unlock()
	if over {
		s.manager.release(s)
		return
	}
	s.Flush()
}

// orderlyCloseWait is how long the reference waits for a poll that fetches
// the close packet.
const orderlyCloseWait = 30 * time.Second

// fail ends the session at once: the transport is closed and what is in the
// outbox is dropped.
func (s *Session) fail(cause *transports.CloseError) {
	s.mu.Lock()
	if s.state == closed {
		s.mu.Unlock()
		return
	}
	reported := s.state == closing
	s.state = closed
	if !reported {
		s.cause = cause
	}
	link := s.link
	candidate := s.dropCandidateLocked()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.outbox.drop()
	s.manager.heartbeat.remove(s)
	receiver, told := s.receiver, s.told
	s.mu.Unlock()

	s.manager.sessions.remove(s)
	link.close(cause)
	s.giveUp(candidate, cause)
	if !reported && receiver != nil {
		receiver.Closed(cause)
	}
	// The manager is told last: nothing of the session follows a Shutdown.
	if !reported || told {
		s.manager.release(s)
	}
}
