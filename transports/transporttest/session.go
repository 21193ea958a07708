package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// A script is what the sessions of a check do besides keeping the contract.
// Each function may be nil. They are called with no lock held, on whatever
// goroutine the transport uses.
type script struct {
	refusal error // of every connection

	ready   func(s *session, first bool)                // in Ready, before anything is sent
	receive func(s *session, p transports.Packet) error // in Receive; p is a copy
	closed  func(s *session)                            // in Closed
}

// errEnded is what Receive returns when the session takes nothing any more.
var errEnded = errors.New("transporttest: the session has ended")

// A session is the Sink of one conn.
type session struct {
	host *Host
	id   string
	conn transports.Conn

	mu        sync.Mutex            // guards what follows
	changed   chan struct{}         // closed and replaced at every change
	readies   int                   // how often Ready was called
	ready     bool                  // the conn can take a batch
	flushing  bool                  // somebody is in flush, and in Send perhaps
	closing   bool                  // Close is running
	receiving bool                  // Receive is running
	retired   bool                  // what the conn reports from now on does not count
	outbox    [][]transports.Packet // batches to send
	queued    int                   // packets that are not shared
	lent      []transports.Packet   // the batch that is the conn's until it is ready
	sent      []record              // what was given to the conn
	sendErr   error                 // of the last Send
	received  []transports.Packet   // copies
	late      int                   // packets received after Closed
	mayBeLate int                   // how many of those are no fault
	causes    []error               // what Closed was called with
}

// A record is the data of a packet that was sent, and what it has to remain.
type record struct{ data, want []byte }

var _ transports.Sink = (*session)(nil)

func newSession(h *Host, id string, conn transports.Conn) *session {
	s := &session{host: h, id: id, conn: conn, changed: make(chan struct{})}
	s.outbox = [][]transports.Packet{{s.openPacket()}}
	return s
}

func (s *session) openPacket() transports.Packet {
	return transports.Packet{Type: transports.Open, Data: fmt.Appendf(nil, `{"sid":%q}`, s.id)}
}

// changedLocked wakes those who wait for a change.
func (s *session) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Ready implements transports.Sink.
func (s *session) Ready() {
	s.mu.Lock()
	s.readies++
	first := s.readies == 1
	s.ready = true
	if !s.flushing && s.lent != nil {
		spoil(s.lent)
		s.lent = nil
	}
	s.changedLocked()
	s.mu.Unlock()
	if s.host.script.ready != nil {
		s.host.script.ready(s, first)
	}
	s.flush()
}

// Receive implements transports.Sink.
func (s *session) Receive(p transports.Packet) error {
	s.mu.Lock()
	if s.readies == 0 {
		s.host.fault("Receive was called before the first Ready")
	}
	if s.receiving {
		s.host.fault("Receive was called while another Receive ran")
	}
	if len(s.causes) > 0 {
		if s.late++; s.late > s.mayBeLate {
			s.host.fault("Receive was called after Closed, with %s", describe(p))
		}
		s.mu.Unlock()
		return errEnded
	}
	s.receiving = true
	s.changedLocked()
	s.mu.Unlock()

	data := bytes.Clone(p.Data)
	var err error
	if s.host.script.receive != nil {
		own := p
		own.Data = data
		err = s.host.script.receive(s, own)
	}
	if !bytes.Equal(p.Data, data) {
		s.host.fault("the data of %s changed while Receive ran", describe(p))
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	p.Data = data
	s.received = append(s.received, p)
	s.receiving = false
	s.changedLocked()
	return err
}

// Closed implements transports.Sink.
func (s *session) Closed(cause error) {
	s.mu.Lock()
	s.causes = append(s.causes, cause)
	if len(s.causes) > 1 && !s.retired {
		s.host.fault("Closed was called again, with %v, after %v", cause, s.causes[0])
	}
	s.changedLocked()
	s.mu.Unlock()
	if s.host.script.closed != nil {
		s.host.script.closed(s)
	}
}

// send queues one batch, and gives the conn what it takes. Of the packets that
// are not shared every other one has a Buffer.
func (s *session) send(batch ...transports.Packet) {
	batch = slices.Clone(batch) // it will be spoilt
	s.mu.Lock()
	for i := range batch {
		if p := &batch[i]; p.Shared == nil {
			if s.queued++; s.queued%2 == 0 {
				p.Buffer = &transports.Buffer{Data: bytes.Clone(p.Data)}
				p.Data = p.Buffer.Data
			}
		}
	}
	s.outbox = append(s.outbox, batch)
	s.mu.Unlock()
	s.flush()
}

// flush gives the conn one batch after the other while it is ready.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flushing {
		return // whoever does it goes on
	}
	s.flushing = true
	for s.ready && len(s.outbox) > 0 && len(s.causes) == 0 {
		batch := s.outbox[0]
		s.outbox = s.outbox[1:]
		s.ready = false
		for _, p := range batch {
			r := record{p.Data, bytes.Clone(p.Data)}
			if p.Buffer != nil {
				r = record{} // its data will be spoilt
			}
			s.sent = append(s.sent, r)
		}
		s.mu.Unlock()
		ready, err := s.conn.Send(batch)
		s.mu.Lock()
		s.sendErr = err
		switch {
		case errors.Is(err, transports.ErrRetired): // a session would keep the batch for the other transport
		case err != nil:
			s.mu.Unlock()
			s.close(err)
			s.mu.Lock()
		case ready || s.ready: // Ready may have come before Send returned
			s.ready = true
			spoil(batch)
		default:
			s.lent = batch
		}
		s.changedLocked()
	}
	s.flushing = false
	s.changedLocked()
}

// spoil overwrites a batch that is the session's again. A conn that still
// reads from it sends this instead.
func spoil(batch []transports.Packet) {
	for i := range batch {
		if b := batch[i].Buffer; b != nil {
			copy(b.Data, bytes.Repeat([]byte{'~'}, len(b.Data)))
		}
		batch[i] = transports.Packet{Type: transports.Message, Data: []byte("from a batch that was no longer the conn's")}
	}
}

// close calls Close.
func (s *session) close(cause error) {
	s.mu.Lock()
	s.closing = true
	s.changedLocked()
	s.mu.Unlock()
	s.conn.Close(cause)
	s.mu.Lock()
	s.closing = false
	s.changedLocked()
	s.mu.Unlock()
}

// mayStraggle says that Close is about to be called while another goroutine
// may be about to call Receive. Nothing can hold that up: a conn must not hold
// a lock while it calls Receive.
func (s *session) mayStraggle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mayBeLate = 1
}

// checkSentLocked looks whether what was sent is unchanged.
func (s *session) checkSentLocked() {
	for _, r := range s.sent {
		if !bytes.Equal(r.data, r.want) {
			s.host.fault("the data of a packet that was sent was changed: %.40q became %.40q", r.want, r.data)
			return
		}
	}
}

// stateLocked describes the session, for whoever waits in vain.
func (s *session) stateLocked() string {
	return fmt.Sprintf("%d packets received, Receive runs: %t; Ready called %d times, conn is ready: %t, "+
		"Send runs: %t, batches waiting: %d, last error of Send: %v; Close runs: %t, Closed called with %v",
		len(s.received), s.receiving, s.readies, s.ready, s.flushing, len(s.outbox), s.sendErr, s.closing, s.causes)
}

func describe(p transports.Packet) string {
	kind := "text"
	if p.Binary {
		kind = "binary"
	}
	return fmt.Sprintf("%s %s of %d bytes %.40q", kind, p.Type, len(p.Data), p.Data)
}
