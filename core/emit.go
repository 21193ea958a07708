package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// Emit sends an event to the target. It is encoded once, and Emit returns when
// it is queued for everybody: a client that does not read delays nobody. The
// error says that the event cannot be encoded, that it is larger than an outbox
// (ErrTooLarge) or, with Overflow(Refuse), that some clients had no room for it
// (ErrOutboxFull); clients that cannot be reached are no error. Two emits from one
// goroutine arrive in order at everybody who gets both. A ctx that has ended does
// not stop it: a handler may still tell others what its client did last.
//
// args are encoded by the server's codec; []byte anywhere in them arrives as
// binary. They are not kept after Emit returns.
func (t Target) Emit(ctx context.Context, event string, args ...any) error {
	if t.family == nil {
		return t.emit(ctx, t.namespace, event, args)
	}
	var failed error
	for _, n := range t.family.Namespaces() {
		one := t // emit scopes its key
		if err := one.emit(ctx, n, event, args); err != nil {
			failed = err
		}
	}
	return failed
}

// emit sends an event to those of the target who are in n, on all servers.
func (t *Target) emit(ctx context.Context, n *Namespace, event string, args []any) error {
	if t.self != nil && len(t.in) == 0 && len(t.except) == 0 {
		return t.self.emit(t, event, args)
	}
	if n.cluster != nil {
		if kept, err := n.cluster.keep(ctx, t, event, args); kept {
			return err
		}
	}
	if n.server.options.Adapter != nil {
		if err := codec.CheckEvent(event); err != nil {
			return err // others would take it for something that is no message
		}
		return errors.Join(t.publish(ctx, n, event, args), t.emitHere(ctx, n, event, args))
	}
	return t.emitHere(ctx, n, event, args)
}

// emitHere sends an event to those of the target who are in n, on this server.
func (t *Target) emitHere(ctx context.Context, n *Namespace, event string, args []any) error {
	started := since(n.server.watchers().broadcasts)
	recipients, err := t.sendHere(n, event, args)
	n.server.broadcasted(ctx, Broadcasted{Namespace: n, Event: event, Recipients: recipients, Started: started, Err: err})
	return err
}

// sendHere returns how many sockets it has sent to.
func (t *Target) sendHere(n *Namespace, event string, args []any) (int, error) {
	t.scope(n, event)
	if n.recovery != nil {
		kept := *t // as in Socket.emit
		return n.recovery.broadcast(&kept, event, args)
	}
	packets, err := n.server.encode(codec.Packet{Type: codec.Event, Namespace: n.name, Event: event, Args: args})
	if err != nil {
		return 0, err
	}
	defer packets.release()
	if !n.server.fits(packets.list) {
		return 0, ErrTooLarge
	}
	packets.share(t.noCompress)
	found := selections.Get().(*selection) //nolint:forcetypeassert // the pool holds nothing else
	defer found.release()
	found.sockets = t.find(found.sockets, n)
	n.tellOutgoing(found.sockets, event, args)
	refused := 0
	for _, s := range found.sockets {
		// Who is gone misses it, who is too slow is dealt with as t says.
		if err := s.conn.session.DeliverLater(t.delivery, packets.list...); errors.Is(err, session.ErrOutboxFull) {
			refused++
		}
	}
	return len(found.sockets), refusedError(refused, len(found.sockets))
}

// scope makes the key of Latest one of this event. t is the caller's own.
func (t *Target) scope(n *Namespace, event string) {
	if t.delivery.Overflow == session.KeepLatest {
		t.delivery.Key = n.name + "," + event + "\x00" + t.delivery.Key
	}
}

func refusedError(refused, all int) error {
	if refused == 0 {
		return nil
	}
	return fmt.Errorf("%w, for %d of %d clients", ErrOutboxFull, refused, all)
}

// tellOutgoing calls the OnAnyOutgoing functions.
func (n *Namespace) tellOutgoing(sockets []*Socket, event string, args []any) {
	n.server.eventSent(sockets, event, args)
	for _, fn := range n.load().onOutgoing {
		for _, s := range sockets {
			err := guard(func() error {
				fn(s, event, args)
				return nil
			})
			if err != nil {
				n.server.report(s, "OnAnyOutgoing failed", event, err)
			}
		}
	}
}

// tellOutgoing is that of the namespace for one socket.
func (s *Socket) tellOutgoing(event string, args []any) {
	if len(s.namespace.load().onOutgoing) > 0 || s.namespace.server.watchers().sent {
		s.namespace.tellOutgoing([]*Socket{s}, event, args)
	}
}

// Emit sends an event to the client. It returns when the event is queued, and
// does not wait for the client. See Target.Emit for the arguments. The error
// says that the event cannot be encoded, that it is larger than the outbox
// (ErrTooLarge), that the client is too slow and has been disconnected for it
// (ErrSlowConsumer), or that the socket has left (ErrDisconnected). With
// recovery, an event for a client that may still come back is kept for it,
// and there is no error.
func (s *Socket) Emit(_ context.Context, event string, args ...any) error {
	return s.emit(&Target{namespace: s.namespace, self: s}, event, args)
}

// Self returns a target: this client alone. It is for what Emit has no words
// for, as in s.Self().Volatile().Emit(…); its Emit returns the errors of
// Socket.Emit.
func (s *Socket) Self() Target { return Target{namespace: s.namespace, self: s} }

// emit sends an event to this socket as t says.
func (s *Socket) emit(t *Target, event string, args []any) error {
	n := s.namespace
	t.scope(n, event)
	s.tellOutgoing(event, args)
	if n.recovery != nil {
		if s.hasConnected() {
			kept := *t // what goes through an interface is on the heap, and need not be without recovery
			return n.recovery.send(s, &kept, event, args)
		}
		// There is no offset yet. Clients take the last element of an event for
		// it if it is text, the event's name included.
		args = append(slices.Clip(args), nil)
	}
	err := s.deliver(t.delivery, t.noCompress, codec.Packet{Type: codec.Event, Namespace: n.name, Event: event, Args: args})
	if errors.Is(err, session.ErrDropped) {
		return nil
	}
	return err
}

// deliver sends a packet to a socket that has not left.
func (s *Socket) deliver(d session.Delivery, noCompress bool, p codec.Packet) error {
	if s.hasLeft() {
		return ErrDisconnected
	}
	packets, err := s.namespace.server.encodeOnce(p)
	if err != nil {
		return err
	}
	defer packets.release()
	if noCompress {
		packets.noCompress()
	}
	return sessionError(s.conn.session.Deliver(d, packets.list...))
}

func (s *Socket) hasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.cause != nil
}

// hasConnected reports whether the client has been told that it is connected.
func (s *Socket) hasConnected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.stage > joining
}

// share prepares packets to be sent to many.
func (e *encoded) share(noCompress bool) {
	for i := range e.list {
		e.list[i].Shared = new(transports.Shared)
		e.list[i].NoCompress = noCompress
	}
}

func (e *encoded) noCompress() {
	for i := range e.list {
		e.list[i].NoCompress = true
	}
}
