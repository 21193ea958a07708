package core

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
)

// An Adapter connects a server with the others of its cluster: what is sent to
// a Target reaches the sockets of the others too, and servers can send each
// other events. A server without one is alone.
//
// All methods but Attach are called from any goroutine, and must not keep what
// they are passed after they have returned. A message of one server reaches
// another in the order in which it was sent, or not at all.
type Adapter interface {
	// Attach is called once, by New, before anything else. The adapter passes
	// what the other servers send to node. An error makes New fail.
	Attach(node Node) error
	// Broadcast sends an event on to the other servers. It does not wait for
	// them. The sockets of this server get it whether or not there is an
	// error.
	Broadcast(ctx context.Context, b *Broadcast) error
	// Emit sends an event to the other servers themselves. It does not wait
	// for them.
	Emit(ctx context.Context, e *ServerEvent) error
	// Call sends an event to the other servers and yields what each of them
	// answers, or why there is no answer, until ctx ends.
	Call(ctx context.Context, e *ServerEvent) iter.Seq2[Args, error]
	// Close is called once, when the server has shut down. ctx limits how
	// long it may take.
	Close(ctx context.Context) error
}

// A Node is a server as its Adapter sees it. Its methods are safe for
// concurrent use.
type Node interface {
	// Deliver sends what another server has broadcast to the sockets of this
	// one. It does not wait for them.
	Deliver(ctx context.Context, b *Broadcast) error
	// HandleServerEvent runs the handler of an event of another server. It
	// blocks for as long as the handler takes. ok is false if there is no
	// handler.
	HandleServerEvent(ctx context.Context, e *ServerEvent) (answer []any, ok bool, err error)
}

// A Broadcast is an event on its way to a target on other servers.
type Broadcast struct {
	Namespace  string
	In, Except []string // rooms; no In means everybody
	Event      string
	Args       []any // a single value of type Args stands for all of them
	Volatile   bool
	NoCompress bool
	Overflow   Overflow // as it was passed to Target.Overflow, or what Latest has set
	Key        string   // of Target.Latest
}

// A ServerEvent is an event that one server sends the others. It does not reach
// clients.
type ServerEvent struct {
	Namespace string
	Event     string
	Args      []any
}

// Errors of events between servers.
var (
	// ErrNoAdapter: there is no Options.Adapter, so there are no other
	// servers that could be reached.
	ErrNoAdapter = errors.New("core: no adapter to other servers")
	// ErrReservedEvent: the name is reserved by the protocol.
	ErrReservedEvent = codec.ErrReservedEvent
)

// Local keeps to the sockets of this server. Without an adapter there are no
// others.
func (t Target) Local() Target {
	t.local = true
	return t
}

// publish sends an event on to the other servers, if they are meant. There is an
// adapter.
func (t *Target) publish(ctx context.Context, n *Namespace, event string, args []any) error {
	if t.local {
		return nil
	}
	b := &Broadcast{
		Namespace: n.name, In: t.in, Except: t.except, Event: event, Args: args,
		Volatile: t.delivery.Volatile, NoCompress: t.noCompress,
		Overflow: t.delivery.Overflow, Key: t.delivery.Key,
	}
	if t.self != nil {
		b.In = append([]string{t.self.id}, t.in...)
	}
	if err := n.server.options.Adapter.Broadcast(ctx, b); err != nil {
		return fmt.Errorf("core: other servers were not reached: %w", err)
	}
	return nil
}

// Deliver implements Node.
func (srv *Server) Deliver(ctx context.Context, b *Broadcast) error {
	srv.mu.RLock()
	n := srv.namespaces[b.Namespace]
	srv.mu.RUnlock()
	if n == nil {
		return nil // nobody is there
	}
	t := Target{namespace: n, in: b.In, except: b.Except, noCompress: b.NoCompress, local: true}
	t.delivery = session.Delivery{Volatile: b.Volatile, Overflow: b.Overflow, Key: b.Key}
	return t.Emit(ctx, b.Event, b.Args...)
}

// ServerSideEmit sends an event to the other servers of the cluster, where the
// function that was registered for it with OnServerSide gets it. It reaches
// neither this server nor any client. It does not wait, and returns ErrNoAdapter
// if the server is alone.
func (n *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if err := checkServerSide(event); err != nil {
		return err
	}
	if n.server.options.Adapter == nil {
		return ErrNoAdapter
	}
	return n.server.options.Adapter.Emit(ctx, &ServerEvent{Namespace: n.name, Event: event, Args: args})
}

// ServerSideCall sends an event to the other servers of the cluster and yields
// what each of them answers, until ctx ends. It yields nothing if the server is
// alone.
func (n *Namespace) ServerSideCall(ctx context.Context, event string, args ...any) iter.Seq2[Args, error] {
	return func(yield func(Args, error) bool) {
		if err := checkServerSide(event); err != nil {
			yield(Args{}, err)
			return
		}
		if n.server.options.Adapter == nil {
			return
		}
		n.server.options.Adapter.Call(ctx, &ServerEvent{Namespace: n.name, Event: event, Args: args})(yield)
	}
}

// OnServerSide registers the function that is called for an event that another
// server has sent with ServerSideEmit or ServerSideCall. What it returns is the
// answer. It runs on a goroutine of the adapter. It replaces an earlier one.
func (r *router) OnServerSide(event string, fn func(ctx context.Context, args Args) (answer any, err error)) {
	if err := checkServerSide(event); err != nil {
		panic(err.Error()) //nolint:forbidigo // a programmer's error, at registration
	}
	r.change(func() {
		if r.serverSide == nil {
			r.serverSide = make(map[string]func(context.Context, Args) (any, error))
		}
		r.serverSide[event] = fn
	})
}

// checkServerSide refuses the names that the reference uses between servers.
func checkServerSide(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("core: %w: %q", ErrReservedEvent, event)
	}
	return nil
}

// HandleServerEvent implements Node.
func (srv *Server) HandleServerEvent(ctx context.Context, e *ServerEvent) (answer []any, ok bool, err error) {
	srv.mu.RLock()
	n := srv.namespaces[e.Namespace]
	srv.mu.RUnlock()
	if n == nil {
		return nil, false, nil
	}
	fn := n.load().serverSide[e.Event]
	if fn == nil {
		return nil, false, nil
	}
	args, err := srv.rawArgs(e.Args)
	if err != nil {
		return nil, true, err
	}
	err = guard(func() error {
		value, err := fn(ctx, args)
		answer = []any{value}
		return err
	})
	if err != nil {
		return nil, true, err
	}
	return answer, true, nil
}

// rawArgs returns values in the form that handlers bind.
func (srv *Server) rawArgs(values []any) (Args, error) {
	if len(values) == 1 {
		if args, ok := values[0].(Args); ok {
			return args, nil
		}
	}
	frames, err := srv.options.Codec.Encode(nil, &codec.Packet{Type: codec.Event, Args: values})
	if err != nil {
		return Args{}, err
	}
	decoder := srv.options.Codec.NewDecoder()
	for _, f := range frames {
		r, complete, err := decoder.Decode(f)
		if err != nil || complete {
			return r.Args, err
		}
	}
	return Args{}, nil
}
