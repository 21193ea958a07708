package session

import (
	"errors"

	"github.com/upshift-go/upshift/transports"
)

var (
	errDetached       = errors.New("session: not the session's transport any more")
	errHeartbeatWrong = errors.New("invalid heartbeat direction")
)

// A link ties one Conn to its session; it is the Conn's Sink. A session has
// one in use and perhaps one that is a candidate; what comes from any other
// is dropped.
type link struct {
	session   *Session
	transport transports.Transport
	conn      transports.Conn

	// Guarded by session.mu.
	started    bool                   // Ready was called: the Conn may be called
	ready      bool                   // the Conn can take a batch
	prompt     bool                   // the last Send left it ready, so the next one likely will
	closeCause *transports.CloseError // close before started: carried out by Ready
	ended      *transports.CloseError // the Conn reported its end
}

var _ transports.Sink = (*link)(nil)

// Ready implements transports.Sink.
func (l *link) Ready() {
	s := l.session
	s.mu.Lock()
	l.started = true
	l.ready = true
	cause := l.closeCause
	l.closeCause = nil
	if l == s.link {
		s.outbox.settle()
	}
	s.mu.Unlock()
	if cause != nil {
		l.conn.Close(cause)
		return
	}
	s.Flush()
}

// Receive implements transports.Sink.
func (l *link) Receive(p transports.Packet) error {
	s := l.session
	s.mu.Lock()
	switch l {
	case s.link:
	case s.candidate:
		return s.candidatePacket(l, p) // unlocks
	default:
		s.mu.Unlock()
		return errDetached
	}
	if s.state != open {
		ended, cause := s.state == closed, s.cause
		s.mu.Unlock()
		if ended {
			return ErrClosed
		}
		// An orderly close is under way. Input is ignored, but for a client
		// that takes its leave as well.
		if p.Type == transports.Close {
			s.fail(cause)
		}
		return nil
	}
	s.receivedLocked(p)
	switch p.Type {
	case transports.Message:
		s.mu.Unlock()
		s.inMessage.Store(true)
		s.receiver.Message(p)
		s.inMessage.Store(false)
		return nil
	case transports.Ping, transports.Pong:
		old := s.revision == transports.Revision3
		if old != (p.Type == transports.Ping) {
			s.mu.Unlock()
			cause := &transports.CloseError{Reason: transports.TransportError, Err: errHeartbeatWrong}
			s.fail(cause)
			return cause
		}
		s.manager.heartbeat.beaten(s)
		s.mu.Unlock()
		if old {
			_ = s.Send(transports.Packet{Type: transports.Pong}) // an error means that the session has ended
		}
		return nil
	case transports.Close:
		s.mu.Unlock()
		cause := &transports.CloseError{Reason: transports.TransportClose}
		s.fail(cause)
		return cause
	case transports.Open, transports.Upgrade, transports.Noop:
		// The reference ignores these on an open session.
	}
	s.mu.Unlock()
	return nil
}

// Closed implements transports.Sink.
func (l *link) Closed(cause error) {
	s := l.session
	ce := transports.AsCloseError(cause)
	s.mu.Lock()
	l.ended = ce
	l.ready = false
	inUse := l == s.link
	s.mu.Unlock()
	if inUse {
		s.fail(ce)
	} else {
		s.abortUpgrade(l, ce)
	}
}

// close closes the Conn, now or, if it has not started, as soon as it does.
func (l *link) close(cause *transports.CloseError) {
	l.session.mu.Lock()
	if !l.started {
		l.closeCause = cause
	}
	callable := l.started && l.ended == nil
	l.session.mu.Unlock()
	if callable {
		l.conn.Close(cause)
	}
}
