package core

import (
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// A returning client is on its way back.
type returning struct {
	privateID string
	from      uint64 // the number of the first event that is held for it
}

// A heldEvent was delivered while a client was on its way back.
type heldEvent struct {
	entry
	offset Offset
}

// minHeld is how many events are held at least before it is looked for whom.
const minHeld = 64

// enter makes s the one that returns under a private id. If there is another, which is
// connected or returns itself, that is lost and must be over first: it returns that,
// and what is closed then.
func (r *clusterRecovery) enter(s *Socket, privateID string) (old *Socket, over <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.live[privateID]; old != nil {
		return old, old.finished
	}
	if old := r.claimants[privateID]; old != nil {
		return old, old.ctx.Done()
	}
	r.returning[s] = &returning{privateID, r.heldFrom + uint64(len(r.held))}
	r.claimants[privateID] = s
	return nil, nil
}

// arrive takes s off those who are returning, if it is one. The lock is held.
func (r *clusterRecovery) arrive(s *Socket) {
	back := r.returning[s]
	if back == nil {
		return
	}
	delete(r.returning, s)
	if r.claimants[back.privateID] == s {
		delete(r.claimants, back.privateID)
	}
	if len(r.returning) == 0 {
		r.heldFrom += uint64(len(r.held))
		r.held = nil
	}
}

// hold keeps an event for those who are on their way back. The lock is held.
func (r *clusterRecovery) hold(t *Target, packets []transports.Packet) {
	if len(r.returning) == 0 || t.offset.IsZero() {
		return
	}
	e := heldEvent{entry{packets: slices.Clone(packets), in: t.in, except: t.except, key: t.delivery.Key}, t.offset}
	for i := range e.packets {
		e.packets[i].Shared = nil
	}
	// They are many when a server has died: an event is held once for all of them.
	r.held = append(r.held, e)
	if len(r.held) == cap(r.held) {
		r.trim()
	}
}

// trim drops what is held for nobody any more. The lock is held.
func (r *clusterRecovery) trim() {
	first := r.heldFrom + uint64(len(r.held))
	for _, back := range r.returning {
		first = min(first, back.from)
	}
	rest := r.held[first-r.heldFrom:]
	r.held = append(make([]heldEvent, 0, 2*len(rest)+minHeld), rest...)
	r.heldFrom = first
}
