package core

import (
	"context"
	"sync/atomic"
)

// A Namespace is a part of the server that clients connect to by name, with
// its own handlers, middleware and rooms. All methods are safe for concurrent
// use.
type Namespace struct {
	router
	name     string
	params   map[string]string // what a pattern has matched
	rooms    rooms
	recovery keeper           // nil if it is off
	cluster  *clusterRecovery // the same, if the broker of the cluster keeps the events
	acks     atomic.Uint64    // the id of the next ack; shared by all sockets, as the wire allows

	dynamic *Dynamic // the family it was made by a client's wish for; nil for one that the program asked for

	// Guarded by server.mu, for a namespace of a family.
	members int  // sockets in it or on their way, and states kept for recovery
	pinned  bool // the program has asked for it by name
}

func newNamespace(server *Server, name string) *Namespace {
	n := &Namespace{router: router{server: server}, name: name}
	if server.options.Recovery != nil {
		if r, ok := server.options.Adapter.(Recoverer); ok {
			n.cluster = newClusterRecovery(n, r)
			n.recovery = n.cluster
		} else {
			n.recovery = newRecovery(n)
		}
	}
	if a := server.options.Adapter; a != nil {
		n.rooms.changed = func(room string) { a.Changed(name, room) }
	}
	return n
}

// Name is the namespace's name, as in "/chat".
func (n *Namespace) Name() string { return n.name }

// Param is what the named part of the pattern stands for in the name of this
// namespace, as in "7" for "room" if "/rooms/7" was made by OfPattern with
// "/rooms/{room}". It is empty if there is no such part.
func (n *Namespace) Param(name string) string { return n.params[name] }

// OtherLabel is the label of everything whose name clients make up.
const OtherLabel = "other"

// Label is a name for logs and metrics that clients cannot make up: the namespace's
// own, or the pattern of the family that it belongs to, or OtherLabel for one of
// OfFunc.
func (n *Namespace) Label() string {
	switch {
	case n.dynamic == nil:
		return n.name
	case n.dynamic.pattern != "":
		return n.dynamic.pattern
	default:
		return OtherLabel
	}
}

// EventLabel is the same for an event: its name if there is a handler for it, that of
// HandleUnknown not counted, and otherwise OtherLabel.
func (n *Namespace) EventLabel(event string) string {
	if n.load().events[event] == nil {
		return OtherLabel
	}
	return event
}

// Len is the number of connected sockets.
func (n *Namespace) Len() int { return n.rooms.len() }

// Socket returns the connected socket with the given id, or nil.
func (n *Namespace) Socket(id string) *Socket { return n.rooms.socket(id) }

// Sockets returns the connected sockets of this server, in no order.
func (n *Namespace) Sockets() []*Socket { return n.To().Sockets() }

// Rooms returns the names of the rooms that somebody is in, in no order. The
// rooms that are named after a socket are not among them.
func (n *Namespace) Rooms() []string { return n.rooms.names() }

// To returns a target: everybody who is in one of the rooms, or everybody in
// the namespace if there are none.
func (n *Namespace) To(rooms ...string) Target { return Target{namespace: n}.To(rooms...) }

// In is To.
func (n *Namespace) In(rooms ...string) Target { return n.To(rooms...) }

// Except returns a target: everybody who is in none of the rooms.
func (n *Namespace) Except(rooms ...string) Target { return n.To().Except(rooms...) }

// Emit sends an event to every socket of the namespace. See Target.Emit.
func (n *Namespace) Emit(ctx context.Context, event string, args ...any) error {
	return n.To().Emit(ctx, event, args...)
}
