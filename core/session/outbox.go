package session

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// An outbox holds the packets of one session that its transport has not taken
// yet. Its bytes and packets are bounded. An idle outbox holds no memory.
type outbox struct {
	batch    *batch // waiting; nil when there is nothing
	load     load   // what waits, and what the Conn has not reported ready for
	unsettle load   // the part of load that the Conn has
	lent     *batch // what the Conn has until it reports ready; nil if nothing
	corks    int    // while > 0, a flush is left to whoever removes the last cork
	flushing bool   // somebody is sending
	queued   bool   // the flusher has this session on its list
	timed    bool   // the flusher has it on its list of corked sessions
	noop     bool   // release a parked poll
	goodbye  bool   // the close packet is to follow when nothing waits
	overrun  bool   // the next flush is to end the session: its client is too slow
}

// A load is what packets count for.
type load struct{ bytes, packets int }

func loadOf(packets []transports.Packet) load {
	l := load{packets: len(packets)}
	l.bytes = l.packets * PacketOverhead
	for i := range packets {
		l.bytes += len(packets[i].Data)
	}
	return l
}

// PacketOverhead is what a queued packet costs besides its data, in bytes, so that a
// flood of empty packets is bounded too.
const PacketOverhead = 64

func (l *load) add(more load) {
	l.bytes += more.bytes
	l.packets += more.packets
}

func (l *load) sub(less load) {
	l.bytes -= less.bytes
	l.packets -= less.packets
}

type batch struct {
	packets []transports.Packet
	groups  *groups // of them that may be dropped; nil if none
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (o *outbox) empty() bool { return o.batch == nil }

func (o *outbox) push(packets ...transports.Packet) {
	if o.batch == nil {
		o.batch = batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
	}
	o.batch.packets = append(o.batch.packets, packets...)
	o.load.add(loadOf(packets))
}

// take removes everything that waits, to be sent. It returns nil if there is
// nothing.
func (o *outbox) take() *batch {
	b := o.batch
	o.batch = nil
	o.unsettle = o.load
	if b != nil && b.groups != nil {
		b.sweep()
		b.groups = nil
		if len(b.packets) == 0 { // all of it was dropped
			b.recycle()
			return nil
		}
	}
	return b
}

// sign returns a batch of what has no message in it, or nil if nothing is to be
// said. The close packet is not in one payload with messages: official clients
// act upon it before they handle those, which are lost then.
func (o *outbox) sign() *batch {
	if !o.noop && !o.goodbye {
		return nil
	}
	b := batches.Get().(*batch) //nolint:forcetypeassert // the pool holds nothing else
	if o.noop {
		b.packets = append(b.packets, transports.Packet{Type: transports.Noop})
	}
	if o.goodbye {
		b.packets = append(b.packets, transports.Packet{Type: transports.Close})
		o.goodbye = false
	}
	return b
}

// settle says that what the Conn was given has left, or is at least the
// Conn's no more.
func (o *outbox) settle() {
	o.load.sub(o.unsettle)
	o.unsettle = load{}
	if b := o.lent; b != nil {
		o.lent = nil
		b.through()
	}
}

// abandon is settle for a Conn that is not used any more. It may still have what
// it was given.
func (o *outbox) abandon() {
	o.lent = nil
	o.settle()
}

// restore puts a batch that could not be sent back in front.
func (o *outbox) restore(b *batch) {
	if o.unsettle == (load{}) { // the session has moved to another Conn meanwhile
		o.load.add(loadOf(b.packets))
	}
	o.unsettle = load{}
	if o.batch != nil {
		o.batch.groups.shift(len(b.packets))
		b.groups = o.batch.groups
		b.packets = append(b.packets, o.batch.packets...)
		o.batch.groups = nil
		o.batch.recycle()
	}
	o.batch = b
}

func (o *outbox) drop() {
	if o.batch != nil {
		o.batch.groups = nil
		o.batch.recycle()
		o.batch = nil
	}
	o.load, o.unsettle, o.lent = load{}, load{}, nil
}

// through says that a batch has been sent.
func (b *batch) through() {
	for i := range b.packets {
		b.packets[i].Buffer.Release()
	}
	b.recycle()
}

func (b *batch) recycle() {
	if cap(b.packets) > 1024 {
		return // one burst should not keep its peak in the pool
	}
	clear(b.packets)
	b.packets = b.packets[:0]
	batches.Put(b)
}

// Send is Deliver with the zero Delivery: packets that must arrive, to a client
// that is closed if it has fallen too far behind.
func (s *Session) Send(packets ...transports.Packet) error { return s.Deliver(Delivery{}, packets...) }

// Deliver queues packets, which stay together and in order, and writes what is
// queued if the transport can take it. It returns ErrClosed after the session
// ended, and ErrTooLarge if the packets alone are over the limit of the outbox.
// What it does when there is no room beside what waits already, d says; it may
// return ErrDropped, ErrOutboxFull or transports.ErrSlowConsumer then.
func (s *Session) Deliver(d Delivery, packets ...transports.Packet) error {
	by, err := s.enqueue(d, packets, caller)
	s.arrange(by)
	return err
}

// SendLater is Send for somebody who sends to many sessions: everything but
// the queueing is left to a goroutine that writes once to each session,
// however much has gathered for it meanwhile. Nothing is called before it
// returns, so the caller may hold locks.
func (s *Session) SendLater(packets ...transports.Packet) error {
	return s.DeliverLater(Delivery{}, packets...)
}

// DeliverLater is to Deliver what SendLater is to Send.
func (s *Session) DeliverLater(d Delivery, packets ...transports.Packet) error {
	by, err := s.enqueue(d, packets, deferred)
	s.arrange(by)
	return err
}

// Queue is Deliver for somebody who holds a lock: it queues and calls nothing.
// The caller calls Flush when it has let go of the lock.
func (s *Session) Queue(d Delivery, packets ...transports.Packet) error {
	_, err := s.enqueue(d, packets, nobody)
	return err
}

// A writer is who writes what has been queued.
type writer uint8

const (
	nobody   writer = iota // somebody else will, or it is not possible now
	caller                 // who has queued it
	deferred               // the flusher
	uncorker               // who removes the cork, or the flusher's timer
)

// maxCorked is how many bytes gather behind a cork. Answers that are large gain
// nothing by leaving together.
const maxCorked = 32 << 10

func (s *Session) arrange(by writer) {
	switch by {
	case caller:
		s.Flush()
	case deferred:
		s.flusher.add(s)
	case uncorker:
		s.flusher.addCorked(s)
	case nobody:
	}
}

var errSlowConsumer = &transports.CloseError{Reason: transports.TransportError, Err: transports.ErrSlowConsumer}

// Cork makes Send gather packets until the matching Uncork, so that replies to
// a burst leave in one write. Packets do not wait for an Uncork that is long in
// coming: for a millisecond at most, and not when much has gathered.
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
		s.Flush()
	}
}

// enqueue queues packets and returns who is to write them, which is by unless
// there is a reason to leave it to somebody else. The caller passes it to
// arrange.
func (s *Session) enqueue(d Delivery, packets []transports.Packet, by writer) (writer, error) {
	more := loadOf(packets)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.outbox
	switch {
	case s.state != open:
		return nobody, ErrClosed
	case o.overrun:
		// Something is missing already: what follows must not arrive without it,
		// though it may have room.
		return nobody, transports.ErrSlowConsumer
	case more.bytes > s.manager.options.MaxOutboxBytes || more.packets > s.manager.options.MaxOutboxPackets:
		return nobody, ErrTooLarge
	}
	queue, err := s.roomLocked(&d, more)
	switch {
	case queue && d.droppable():
		o.pushGroup(&d, packets, more)
	case queue:
		o.push(packets...)
	case !o.overrun:
		return nobody, err
	}
	if by == caller && o.corks > 0 && o.load.bytes < maxCorked {
		by = uncorker
	}
	listed := &o.queued
	switch by {
	case nobody, caller:
		return by, err
	case uncorker:
		listed = &o.timed
	case deferred:
	}
	if *listed || !s.link.ready && !o.overrun {
		return nobody, err
	}
	*listed = true
	return by, err
}

// Flush gives what is queued to the transport, batch by batch, until there is
// nothing left or the transport is busy. One goroutine does so at a time;
// what others queue meanwhile leaves with its next batch. Only who has called
// Queue needs it.
func (s *Session) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbox.overrun && s.state == open {
		s.mu.Unlock()
		s.fail(errSlowConsumer)
		s.mu.Lock()
	}
	if s.outbox.flushing {
		return
	}
	s.outbox.flushing = true
	for s.state != closed && s.link.ready {
		b := s.outbox.take()
		if b == nil {
			if b = s.outbox.sign(); b == nil {
				break
			}
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
	last := b.packets[len(b.packets)-1].Type == transports.Close
	l.ready = false
	s.mu.Unlock()
	size := loadOf(b.packets)
	ready, err := l.conn.Send(b.packets)
	s.mu.Lock()
	l.prompt = ready
	if err == nil {
		s.sentLocked(size)
	}
	switch {
	case errors.Is(err, transports.ErrRetired):
		s.outbox.restore(b)
		return true
	case err != nil:
		s.mu.Unlock()
		s.fail(transports.AsCloseError(err))
		s.mu.Lock()
		return false
	case l != s.link: // the session has moved, and Ready will not say it
	case ready || l.ready: // Ready may have come before Send returned
		l.ready = true
		s.outbox.lent = b
		s.outbox.settle()
	default:
		s.outbox.lent = b
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
