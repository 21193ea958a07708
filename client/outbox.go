package client

import (
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// packetOverhead is what a packet that waits counts for besides its data.
const packetOverhead = 64

// push queues the packets of one message, with nothing in between. It is
// followed by flush. limit bounds the outbox.
func (e *engine) push(packets []transports.Packet, limit int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pushLocked(packets, limit)
}

func (e *engine) pushLocked(packets []transports.Packet, limit int) error {
	if e.cause != nil || e.leaving {
		return errOver
	}
	if e.tooLargeLocked(packets) {
		return ErrTooLarge
	}
	size := sizeOfPackets(packets)
	if e.outboxBytes+size > limit {
		return ErrBufferFull
	}
	e.outbox = append(e.outbox, packets...)
	e.outboxBytes += size
	return nil
}

// tooLarge reports whether one of the packets is more than the server takes.
func (e *engine) tooLarge(packets []transports.Packet) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tooLargeLocked(packets)
}

func (e *engine) tooLargeLocked(packets []transports.Packet) bool {
	return e.maxPayload > 0 && slices.ContainsFunc(packets, func(p transports.Packet) bool {
		return e.wireSize(&p) > e.maxPayload
	})
}

// wireSize is what a packet counts for against the server's maxPayload.
func (e *engine) wireSize(p *transports.Packet) int64 {
	n := int64(len(p.Data))
	if p.Binary && e.link.name == Polling {
		n = (n + 2) / 3 * 4
	}
	return n + 1
}

// pong answers a heartbeat. One answer does for all that came before it was
// sent, so that a server that does not read cannot make the outbox grow.
func (e *engine) pong() {
	e.mu.Lock()
	if e.cause == nil && !e.leaving && !e.ponging {
		e.ponging = true
		e.outbox = append(e.outbox, transports.Packet{Type: transports.Pong})
		e.outboxBytes += packetOverhead
	}
	e.mu.Unlock()
	e.flush()
}

// writable reports whether what is pushed now leaves at once.
func (e *engine) writable() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause == nil && !e.leaving && !e.pausing && !e.sending &&
		len(e.outbox) == 0 && e.link != nil && e.link.ready
}

// flush hands over what is in the outbox, unless somebody else does it, and
// does what had to wait for that.
func (e *engine) flush() {
	e.mu.Lock()
	if e.sending {
		e.mu.Unlock()
		return // who is sending goes on
	}
	e.sending = true
	for e.sendableLocked() {
		l, batch := e.link, e.takeLocked()
		l.ready = false
		e.mu.Unlock()
		ready, err := l.conn.Send(batch)
		e.mu.Lock()
		if err != nil {
			e.sending = false
			e.mu.Unlock()
			l.Closed(err)
			return
		}
		if ready {
			l.ready = true
			if e.outbox == nil {
				clear(batch)
				e.outbox = batch[:0]
			}
		}
	}
	e.sending = false
	pause := e.pausing && e.candidate != nil && e.cause == nil
	l, candidate := e.link, e.candidate
	left := e.cause == nil && e.saidGoodbye && l.ready
	e.mu.Unlock()
	switch {
	case pause:
		l.pause(func() { e.commit(candidate) })
	case left && l.pause != nil:
		// The server answers the poll now; to cancel it would cost the
		// connection that carries it.
		l.pause(func() { e.end(&CloseError{Reason: ForcedClose}) })
	case left:
		e.end(&CloseError{Reason: ForcedClose})
	}
}

// sendableLocked reports whether there is a batch to send, and the link can take
// it.
func (e *engine) sendableLocked() bool {
	if e.cause != nil || e.pausing || !e.link.ready {
		return false
	}
	if len(e.outbox) == 0 && e.leaving && !e.saidGoodbye {
		// In a request of its own: the reference server handles what comes
		// with it only after the end. Polling has a packet to say it, others
		// skip it.
		e.outbox = append(e.outbox, transports.Packet{Type: transports.Close})
		e.saidGoodbye = true
	}
	return len(e.outbox) > 0
}

// takeLocked takes the next batch out of the outbox. A request must not be
// larger than the server takes; a single packet that is has been refused
// before.
func (e *engine) takeLocked() []transports.Packet {
	n := len(e.outbox)
	if e.link.name == Polling && e.maxPayload > 0 {
		size := int64(0)
		n = 0
		for i := range e.outbox {
			size += e.wireSize(&e.outbox[i]) + 1
			if i > 0 && size > e.maxPayload {
				break
			}
			n++
		}
	}
	batch := e.outbox[:n:n]
	if e.ponging {
		e.ponging = slices.ContainsFunc(e.outbox[n:], func(p transports.Packet) bool { return p.Type == transports.Pong })
	}
	if n == len(e.outbox) {
		e.outbox, e.outboxBytes = nil, 0
		return batch
	}
	for i := range batch {
		e.outboxBytes -= packetOverhead + len(batch[i].Data)
	}
	e.outbox = slices.Clone(e.outbox[n:])
	return batch
}
