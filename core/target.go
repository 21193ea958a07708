package core

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/core/session"
)

// A Target is a choice of sockets, and how to send to them. It is a value: its
// methods return a new one and leave it alone, so that it can be kept, shared
// and used from any goroutine. It is evaluated when something is sent to it.
type Target struct {
	namespace *Namespace
	family    *Dynamic // instead of namespace: all namespaces of it
	self      *Socket  // is in the target, besides what the rooms say
	in        []string
	except    []string

	delivery   session.Delivery
	noCompress bool
	local      bool
	offset     Offset // of an event that the broker keeps
}

// To adds rooms: the target is everybody who is in at least one. A socket's id
// is a room too.
func (t Target) To(rooms ...string) Target {
	t.in = slices.Concat(t.in, rooms)
	return t
}

// In is To.
func (t Target) In(rooms ...string) Target { return t.To(rooms...) }

// Except leaves out whoever is in one of the rooms.
func (t Target) Except(rooms ...string) Target {
	t.except = slices.Concat(t.except, rooms)
	return t
}

// Volatile sends to those only who can take it now: for a client whose
// transport is not ready, or for whom more than Options.MaxVolatileBytes wait,
// the event is dropped. It is not kept for recovery either, and clients do not
// get it after they have come back.
func (t Target) Volatile() Target {
	t.delivery.Volatile = true
	return t
}

// Compress says whether transports may spend compression on what is sent. They
// may unless it is called with false. Whether they compress at all is a matter
// of their options.
func (t Target) Compress(compress bool) Target {
	t.noCompress = !compress
	return t
}

// Overflow says what happens when what waits for a client has reached
// Options.MaxOutboxBytes or MaxOutboxPackets. The default is CloseSlow.
func (t Target) Overflow(o Overflow) Target {
	t.delivery.Overflow = o
	return t
}

// Latest sends events of which only the newest matters, such as a price: one
// that still waits for a client is dropped for one that is sent later with the
// same key, by the same name. A slow client gets the latest of each key and not
// the backlog. If there is no room it is as with DropOldest.
func (t Target) Latest(key string) Target {
	t.delivery.Overflow, t.delivery.Key = session.KeepLatest, key
	return t
}

// Overflow is what happens to an event, and to the client it is for, when the
// client reads so slowly that its outbox is full.
type Overflow = session.Overflow

// What can happen. Latest is another.
const (
	// CloseSlow disconnects the client as a slow consumer. This is the
	// default: nothing is lost silently.
	CloseSlow = session.CloseSlow
	// Refuse does not send the event to the client, and Emit returns
	// ErrOutboxFull.
	Refuse = session.Refuse
	// DropNewest drops the event.
	DropNewest = session.DropNewest
	// DropOldest drops the oldest events that were sent with DropOldest or
	// Latest, and the event itself if there are not enough of them.
	DropOldest = session.DropOldest
)

// Sockets returns the sockets of the target on this server, in no order. Fetch
// is for those of all servers.
func (t Target) Sockets() []*Socket {
	var all []*Socket
	for _, n := range t.namespaces() {
		all = t.find(all, n)
	}
	return all
}

// Join puts the target into rooms, on all servers. The error is that of the
// sockets of this server for which it was too much, see Socket.Join, or that the
// other servers were not reached; sockets that leave meanwhile are no error.
func (t Target) Join(ctx context.Context, rooms ...string) error {
	err := t.update(ctx, Update{Join: rooms})
	return errors.Join(t.each(func(s *Socket) error { return s.Join(ctx, rooms...) }), err)
}

// Leave takes the target out of rooms, on all servers.
func (t Target) Leave(ctx context.Context, rooms ...string) error {
	err := t.update(ctx, Update{Leave: rooms})
	t.settle()
	return errors.Join(t.each(func(s *Socket) error { return s.Leave(ctx, rooms...) }), err)
}

// Disconnect disconnects the target from its namespace, on all servers. See
// Socket.Disconnect. If other servers cannot be reached that is logged.
func (t Target) Disconnect() {
	t.updateOrLog(Update{Disconnect: true})
	t.settle()
	for _, s := range t.Sockets() {
		s.disconnect(nil)
	}
}

// CloseSessions ends the sessions of the target, with all their namespaces, on
// all servers. See Socket.CloseSession.
func (t Target) CloseSessions() {
	t.updateOrLog(Update{Disconnect: true, CloseSession: true})
	t.settle()
	for _, s := range t.Sockets() {
		s.closeSession()
	}
}

// settle waits until what was sent to the target before is queued for those here. What
// another server does to them comes in the order of the broker anyway.
func (t *Target) settle() {
	if t.local {
		return
	}
	for _, n := range t.namespaces() {
		n.settle()
		return // it is the same for all
	}
}

func (t *Target) updateOrLog(change Update) {
	if err := t.update(context.Background(), change); err != nil {
		for _, n := range t.namespaces()[:1] {
			n.server.log.ErrorContext(context.Background(), "sockets of other servers were not disconnected",
				slog.String("namespace", n.name), slog.Any("error", err))
		}
	}
}

func (t Target) each(do func(s *Socket) error) error {
	var failed error
	for _, s := range t.Sockets() {
		if err := do(s); err != nil && !errors.Is(err, ErrDisconnected) {
			failed = err
		}
	}
	return failed
}

func (t *Target) namespaces() []*Namespace {
	if t.family != nil {
		return t.family.Namespaces()
	}
	return []*Namespace{t.namespace}
}

// find appends the sockets of the target that are in n.
func (t *Target) find(dst []*Socket, n *Namespace) []*Socket {
	switch {
	case t.self == nil:
		return n.rooms.find(dst, t.in, t.except)
	case len(t.in) == 0 && len(t.except) == 0:
		return append(dst, t.self)
	}
	return n.rooms.find(dst, append(slices.Clip(t.in), t.self.id), t.except)
}

// A selection is the room that a broadcast needs for its recipients, so that
// none is allocated for each and no lock is held while sending.
type selection struct{ sockets []*Socket }

var selections = sync.Pool{New: func() any { return new(selection) }}

func (f *selection) release() {
	clear(f.sockets)
	f.sockets = f.sockets[:0]
	selections.Put(f)
}
