package session

import (
	"errors"
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// ErrOutboxFull is returned for packets sent with Refuse for which the outbox
// of their client has no room.
var ErrOutboxFull = errors.New("session: outbox is full")

// ErrDropped is returned for packets that were dropped because their Delivery
// allows it.
var ErrDropped = errors.New("session: dropped")

// A Delivery says what may become of packets whose client does not keep up.
// The zero Delivery is for what must arrive: nothing is dropped, and a client
// that falls too far behind is closed.
type Delivery struct {
	// Volatile packets are dropped unless the transport can take them now:
	// if it is not ready, or if more than Options.MaxVolatileBytes wait.
	Volatile bool
	// Overflow says what happens when the outbox is full.
	Overflow Overflow
	// Key is what packets sent with KeepLatest are the latest of.
	Key string
}

// Overflow is what happens to packets, and to their client, when the client's
// outbox has no room for them.
type Overflow uint8

const (
	// CloseSlow closes the session as a slow consumer.
	CloseSlow Overflow = iota
	// Refuse refuses the packets with ErrOutboxFull.
	Refuse
	// DropNewest drops the packets.
	DropNewest
	// DropOldest drops what has waited longest among what was sent with
	// DropOldest or KeepLatest, as much as is needed, and the packets
	// themselves if that is not enough.
	DropOldest
	// KeepLatest drops what waits under the same Key, full or not, and is
	// DropOldest for the rest.
	KeepLatest
)

// droppable reports whether the packets may be dropped while they wait.
func (d *Delivery) droppable() bool { return d.Overflow >= DropOldest }

// roomLocked makes room for more, as far as d allows, and reports whether the
// packets are to be queued. If not, the error is what their sender is told.
func (s *Session) roomLocked(d *Delivery, more load) (queue bool, err error) {
	o, counters := &s.outbox, &s.manager.counters
	if d.Volatile && !s.takesVolatileLocked(more) {
		counters.volatileDropped.Add(1)
		return false, ErrDropped
	}
	if d.Overflow == KeepLatest && o.batch != nil && o.dropKey(d.Key) {
		counters.replaced.Add(1)
	}
	if s.fitsLocked(more) {
		return true, nil
	}
	switch d.Overflow {
	case Refuse:
		counters.outboxRefused.Add(1)
		return false, ErrOutboxFull
	case DropNewest:
	case DropOldest, KeepLatest:
		for !s.fitsLocked(more) && o.batch != nil && o.dropOldest() {
			counters.overflowDropped.Add(1)
		}
		if s.fitsLocked(more) {
			return true, nil
		}
	case CloseSlow:
		o.overrun = true
		return false, transports.ErrSlowConsumer
	}
	counters.overflowDropped.Add(1)
	return false, ErrDropped
}

func (s *Session) fitsLocked(more load) bool {
	have, options := s.outbox.load, &s.manager.options
	return have.bytes+more.bytes <= options.MaxOutboxBytes && have.packets+more.packets <= options.MaxOutboxPackets
}

// takesVolatileLocked reports whether packets would leave without having to
// wait for the client. While somebody else is in the middle of a write, what
// the last one left behind is the best guess at what this one will.
func (s *Session) takesVolatileLocked(more load) bool {
	l, o := s.link, &s.outbox
	return (l.ready || o.flushing && l.prompt) && o.load.bytes+more.bytes <= s.manager.options.MaxVolatileBytes
}

// groups are the packets of a batch that may be dropped while they wait. A
// packet that is dropped leaves a gap, which is closed when the batch is sent
// or when there are many.
type groups struct {
	list   []group // in the order they were queued
	live   int     // index of the first that is not gone
	latest map[string]int
	gaps   int
}

// A group is packets that belong together: an event and its attachments.
type group struct {
	at    int // index of the first packet in the batch
	load  load
	key   string
	keyed bool
	gone  bool
}

// gap is the type of a packet that was dropped. It is never sent.
const gap transports.Type = 0xff

// pushGroup queues packets that may be dropped.
func (o *outbox) pushGroup(d *Delivery, packets []transports.Packet, more load) {
	at := 0
	if o.batch != nil {
		at = len(o.batch.packets)
	}
	o.push(packets...)
	b := o.batch
	if b.groups == nil {
		b.groups = new(groups)
	}
	g := group{at: at, load: more}
	if d.Overflow == KeepLatest {
		g.key, g.keyed = d.Key, true
		if b.groups.latest == nil {
			b.groups.latest = make(map[string]int)
		}
		b.groups.latest[d.Key] = len(b.groups.list)
	}
	b.groups.list = append(b.groups.list, g)
}

// dropKey drops the group that waits under key, and reports whether there was
// one. There is a batch.
func (o *outbox) dropKey(key string) bool {
	if o.batch.groups == nil {
		return false
	}
	i, ok := o.batch.groups.latest[key]
	if ok {
		o.dropGroup(i)
	}
	return ok
}

// dropOldest drops the group that has waited longest, and reports whether
// there was one. There is a batch.
func (o *outbox) dropOldest() bool {
	g := o.batch.groups
	if g == nil {
		return false
	}
	for g.live < len(g.list) && g.list[g.live].gone {
		g.live++
	}
	if g.live == len(g.list) {
		return false
	}
	o.dropGroup(g.live)
	return true
}

func (o *outbox) dropGroup(i int) {
	b := o.batch
	g := &b.groups.list[i]
	for at := range g.load.packets {
		b.packets[g.at+at] = transports.Packet{Type: gap}
	}
	g.gone = true
	if g.keyed {
		delete(b.groups.latest, g.key)
	}
	o.load.sub(g.load)
	b.groups.gaps += g.load.packets
	const few = 64
	if b.groups.gaps > few && b.groups.gaps > len(b.packets)/2 {
		b.sweep()
	}
}

// sweep closes the gaps.
func (b *batch) sweep() {
	g := b.groups
	if g.gaps == 0 {
		return
	}
	g.list = slices.DeleteFunc(g.list, func(g group) bool { return g.gone })
	g.live = 0
	closed, next := 0, 0 // gaps so far; the group that comes next
	kept := b.packets[:0]
	for at, p := range b.packets {
		if next < len(g.list) && g.list[next].at == at {
			if g.list[next].keyed {
				g.latest[g.list[next].key] = next
			}
			g.list[next].at -= closed
			next++
		}
		if p.Type == gap {
			closed++
			continue
		}
		kept = append(kept, p)
	}
	clear(b.packets[len(kept):])
	b.packets = kept
	g.gaps = 0
}

// shift says that n packets have come in front.
func (g *groups) shift(n int) {
	if g == nil {
		return
	}
	for i := range g.list {
		g.list[i].at += n
	}
}
