package core

import (
	"context"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// A Target is a choice of sockets of one namespace. It is a value: its methods
// return a new one and leave it alone, so that it can be kept, shared and used
// from any goroutine. It is evaluated when something is sent to it.
type Target struct {
	namespace *Namespace
	in        []string
	except    []string
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

// Emit sends an event to the target. It is encoded once, and Emit returns when
// it is queued for everybody: a client that does not read delays nobody. The
// error says that the event cannot be encoded; clients that cannot be reached
// are no error. Two emits from one goroutine arrive in order at everybody who
// gets both. A ctx that has ended does not stop it: a handler may still tell
// others what its client did last.
//
// args are encoded by the server's codec; []byte anywhere in them arrives as
// binary. They are not kept after Emit returns.
func (t Target) Emit(_ context.Context, event string, args ...any) error {
	packets, err := t.namespace.server.encode(codec.Packet{
		Type: codec.Event, Namespace: t.namespace.name, Event: event, Args: args,
	})
	if err != nil {
		return err
	}
	defer packets.release()
	for i := range packets.list {
		packets.list[i].Shared = new(transports.Shared)
	}
	found := selections.Get().(*selection) //nolint:forcetypeassert // the pool holds nothing else
	found.sockets = t.find(found.sockets)
	for _, s := range found.sockets {
		// Who is gone misses it, who is too slow is closed for it.
		_ = s.conn.session.SendLater(packets.list...)
	}
	clear(found.sockets)
	found.sockets = found.sockets[:0]
	selections.Put(found)
	return nil
}

// Sockets returns the sockets of the target, in no order.
func (t Target) Sockets() []*Socket { return t.find(nil) }

func (t Target) find(dst []*Socket) []*Socket {
	return t.namespace.rooms.find(dst, t.in, t.except)
}

// A selection is the room that a broadcast needs for its recipients, so that
// none is allocated for each and no lock is held while sending.
type selection struct{ sockets []*Socket }

var selections = sync.Pool{New: func() any { return new(selection) }}
