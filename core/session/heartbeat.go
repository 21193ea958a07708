package session

import (
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// A heartbeat keeps the deadlines of all sessions of a manager: when to ping,
// and until when the pong must come. Each of the intervals is the same
// for every session, so a list in order of insertion is in order of deadline,
// and one timer per list, set to its head, is enough. No session owns a timer
// or a goroutine, and a server without sessions wakes up for nothing.
type heartbeat struct {
	epoch time.Time

	mu       sync.Mutex // guards what follows, and the beat of every session
	pings    deadlines
	timeouts deadlines
	silences deadlines // of clients that ping by themselves
}

// A beat is a session's place on one of the lists.
type beat struct {
	list       *deadlines // nil: on neither
	prev, next *Session
	at         time.Duration // since epoch
}

type deadlines struct {
	after      time.Duration
	head, tail *Session
	timer      *time.Timer
	due        func(s *Session)
}

func newHeartbeat(interval, timeout time.Duration) *heartbeat {
	h := &heartbeat{epoch: time.Now()}
	h.pings.after = interval
	h.pings.due = h.ping
	h.timeouts.after = timeout
	h.timeouts.due = h.timeout
	h.silences.after = interval + timeout
	h.silences.due = h.timeout
	return h
}

// start begins the heartbeats of a session that has opened. In revision 3 it is
// the client that pings.
func (h *heartbeat) start(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.revision == transports.Revision3 {
		h.put(&h.silences, s)
	} else {
		h.put(&h.pings, s)
	}
}

// beaten says that the client's part of a heartbeat has come. The interval
// starts anew, whether or not it was asked for.
func (h *heartbeat) beaten(s *Session) { h.start(s) }

// upgraded gives an outstanding pong its full time again: the client may have
// buffered it while it paused polling. The reference loses the timer here,
// and with it a client that goes silent at this moment.
func (h *heartbeat) upgraded(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.beat.list == &h.timeouts {
		h.put(&h.timeouts, s)
	}
}

// remove ends the heartbeats of a session. Nothing is called for it after.
func (h *heartbeat) remove(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unlink(s)
}

// ping sends a ping and starts the wait for its pong at once, whether or not
// the ping could be written: a client that has stopped polling must not live
// for ever.
func (h *heartbeat) ping(s *Session) {
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	h.mu.Lock()
	h.put(&h.timeouts, s)
	h.mu.Unlock()
	s.mu.Unlock()
	// An error means that the session has ended.
	_ = s.SendLater(transports.Packet{Type: transports.Ping})
}

func (h *heartbeat) timeout(s *Session) {
	s.mu.Lock()
	h.mu.Lock()
	alive := s.beat.list != nil // the pong came just now
	if !alive && s.state == open && s.inMessage.Load() {
		// The pong may be waiting behind a message that we have not taken
		// yet. That is not the client's fault.
		h.put(&h.timeouts, s)
		alive = true
	}
	h.mu.Unlock()
	s.mu.Unlock()
	if alive {
		return
	}
	s.fail(&transports.CloseError{Reason: transports.PingTimeout})
}

// put moves s to the end of list d. The lock is held.
func (h *heartbeat) put(d *deadlines, s *Session) {
	h.unlink(s)
	s.beat = beat{list: d, prev: d.tail, at: time.Since(h.epoch) + d.after}
	if d.tail != nil {
		d.tail.beat.next = s
		d.tail = s
		return
	}
	d.head, d.tail = s, s
	if d.timer == nil {
		d.timer = time.AfterFunc(d.after, func() { h.expire(d) })
	} else {
		d.timer.Reset(d.after)
	}
}

// unlink takes s off its list. The lock is held.
func (h *heartbeat) unlink(s *Session) {
	d, prev, next := s.beat.list, s.beat.prev, s.beat.next
	if d == nil {
		return
	}
	if prev != nil {
		prev.beat.next = next
	} else {
		d.head = next
	}
	if next != nil {
		next.beat.prev = prev
	} else {
		d.tail = prev
	}
	s.beat = beat{}
	if d.head == nil {
		d.timer.Stop()
	}
}

// expire handles every session of d whose time has come and sets the timer
// for the next.
func (h *heartbeat) expire(d *deadlines) {
	for {
		h.mu.Lock()
		s := d.head
		if s == nil {
			h.mu.Unlock()
			return
		}
		if wait := s.beat.at - time.Since(h.epoch); wait > 0 {
			d.timer.Reset(wait)
			h.mu.Unlock()
			return
		}
		h.unlink(s)
		h.mu.Unlock()
		d.due(s)
	}
}
