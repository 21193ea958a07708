package session

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// An outbox holds the packets of one session that its transport has not taken
// yet. Its bytes are bounded. An idle outbox holds no memory.
type outbox struct {
	batch    *batch // waiting; nil when there is nothing
	bytes    int    // of what waits, and of what the Conn has not reported ready for
	unsettle int    // the part of bytes that the Conn has
	corks    int    // while > 0, a flush is left to whoever removes the last cork
	flushing bool   // somebody is sending
	queued   bool   // the flusher has this session on its list
	noop     bool   // release a parked poll
	overrun  bool   // the flusher is to end the session: its client is too slow
}

type batch struct{ packets []transports.Packet }

var batches = sync.Pool{New: func() any { return new(batch) }}

// packetOverhead is what a queued packet costs besides its data, so that a
// flood of empty packets is bounded too.
const packetOverhead = 64

func (o *outbox) empty() bool { return o.batch == nil }

func (o *outbox) push(packets ...transports.Packet) {
	if o.batch == nil {
		o.batch = batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
	}
	o.batch.packets = append(o.batch.packets, packets...)
	o.bytes += sizeOf(packets)
}

// take removes everything that waits, to be sent.
func (o *outbox) take() *batch {
	b := o.batch
	o.batch = nil
	o.unsettle = o.bytes
	return b
}

// settle says that what the Conn was given has left, or is at least the
// Conn's no more.
func (o *outbox) settle() {
	o.bytes -= o.unsettle
	o.unsettle = 0
}

// restore puts a batch that could not be sent back in front.
func (o *outbox) restore(b *batch) {
	o.unsettle = 0
	if o.batch != nil {
		b.packets = append(b.packets, o.batch.packets...)
		o.batch.recycle()
	}
	o.batch = b
}

func (o *outbox) drop() {
	if o.batch != nil {
		o.batch.recycle()
		o.batch = nil
	}
	o.bytes, o.unsettle = 0, 0
}

func (b *batch) recycle() {
	if cap(b.packets) > 1024 {
		return // one burst should not keep its peak in the pool
	}
	clear(b.packets)
	b.packets = b.packets[:0]
	batches.Put(b)
}

func sizeOf(packets []transports.Packet) int {
	n := len(packets) * packetOverhead
	for i := range packets {
		n += len(packets[i].Data)
	}
	return n
}

// Send queues packets, which stay together and in order, and writes what is
// queued if the transport can take it. It returns ErrClosed after the
// session ended, ErrTooLarge if the packets alone are over the limit, and an
// error that wraps transports.ErrSlowConsumer if the client has fallen too far
// behind: the session is then closed with that cause.
func (s *Session) Send(packets ...transports.Packet) error {
	later, err := s.enqueue(packets, false)
	switch {
	case errors.Is(err, transports.ErrSlowConsumer):
		s.fail(errSlowConsumer)
	case err == nil && !later:
		s.flush()
	}
	return err
}

// SendLater is Send for somebody who sends to many sessions: everything but
// the queueing is left to a goroutine that writes once to each session,
// however much has gathered for it meanwhile. Nothing is called before it
// returns, so the caller may hold locks.
func (s *Session) SendLater(packets ...transports.Packet) error {
	_, err := s.enqueue(packets, true)
	return err
}

var errSlowConsumer = &transports.CloseError{Reason: transports.TransportError, Err: transports.ErrSlowConsumer}

// Cork makes Send gather packets until the matching Uncork, so that replies to
// a burst leave in one write. It is a hint, not a promise: packets do not
// wait for an Uncork that is long in coming, because the flusher takes them
// as soon as it gets to run.
func (s *Session) Cork() {
	s.mu.Lock()
	s.outbox.corks++
	s.mu.Unlock()
}

// Uncork undoes one Cork and, when it is the last, writes what has gathered.
func (s *Session) Uncork() {
	s.mu.Lock()
	s.outbox.corks--
	last := s.outbox.corks == 0
	s.mu.Unlock()
	if last {
		s.flush()
	}
}

// enqueue queues packets and reports whether the flusher will write them.
func (s *Session) enqueue(packets []transports.Packet, later bool) (bool, error) {
	size := sizeOf(packets)
	limit := s.manager.options.MaxOutboxBytes
	s.mu.Lock()
	switch {
	case s.state != open:
		s.mu.Unlock()
		return false, ErrClosed
	case size > limit:
		s.mu.Unlock()
		return false, ErrTooLarge
	}
	var err error
	if s.outbox.bytes+size > limit {
		err = transports.ErrSlowConsumer
		s.outbox.overrun = later
	} else {
		s.outbox.push(packets...)
		later = later || s.outbox.corks > 0
	}
	add := later && !s.outbox.queued && (s.link.ready || s.outbox.overrun)
	if add {
		s.outbox.queued = true
	}
	s.mu.Unlock()
	if add {
		s.flusher.add(s)
	}
	return later, err
}

// flush gives what is queued to the transport, batch by batch, until there is
// nothing left or the transport is busy. One goroutine does so at a time;
// what others queue meanwhile leaves with its next batch.
func (s *Session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbox.flushing {
		return
	}
	s.outbox.flushing = true
	for s.state != closed && s.link.ready {
		b := s.outbox.take()
		if b == nil {
			if !s.outbox.noop {
				break
			}
			b = batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
			b.packets = append(b.packets, transports.Packet{Type: transports.Noop})
		}
		s.outbox.noop = false // any answer releases the poll
		if !s.sendBatch(b) {
			break
		}
	}
	s.outbox.flushing = false
}

// sendBatch sends one batch and reports whether to go on. It is called with
// the lock held and gives it up around calls to others.
func (s *Session) sendBatch(b *batch) bool {
	l := s.link
	last := s.state == closing // the close packet is in this batch
	l.ready = false
	s.mu.Unlock()
	ready, err := l.conn.Send(b.packets)
	s.mu.Lock()
	switch {
	case errors.Is(err, transports.ErrRetired):
		s.outbox.restore(b)
		return true
	case err != nil:
		s.mu.Unlock()
		s.fail(transports.AsCloseError(err))
		s.mu.Lock()
		return false
	case ready:
		l.ready = true
		s.outbox.settle()
		b.recycle()
	}
	if last {
		cause := s.cause
		s.mu.Unlock()
		s.fail(cause)
		s.mu.Lock()
		return false
	}
	return true
}
