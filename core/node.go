package core

import (
	"context"
	"iter"
	"log/slog"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
)

// A node is the server that its adapter sees.
type node struct{ server *Server }

var _ Node = node{}

// lookup returns the namespace with exactly this name, or nil.
func (srv *Server) lookup(name string) *Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.namespaces[name]
}

// target is whom a broadcast of another server is for, here.
func (d node) target(n *Namespace, b *Broadcast) Target {
	t := Target{namespace: n, in: b.In, except: b.Except, noCompress: b.NoCompress, local: true, offset: b.Offset}
	t.delivery = session.Delivery{Volatile: b.Volatile, Overflow: b.Overflow, Key: b.Key}
	return t
}

// Deliver implements Node.
func (d node) Deliver(ctx context.Context, b *Broadcast) error {
	n := d.server.lookup(b.Namespace)
	if n == nil {
		return nil // nobody is there
	}
	return d.target(n, b).Emit(ctx, b.Event, b.Args...)
}

// CallAll implements Node.
func (d node) CallAll(ctx context.Context, b *Broadcast, asked func(n int)) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		n := d.server.lookup(b.Namespace)
		if n == nil {
			asked(0)
			return
		}
		d.target(n, b).callAll(ctx, b.Event, b.Args, asked, yield)
	}
}

// Update implements Node.
func (d node) Update(ctx context.Context, u *Update) error {
	n := d.server.lookup(u.Namespace)
	if n == nil {
		return nil
	}
	t := Target{namespace: n, in: u.In, except: u.Except, local: true}
	var err error
	if len(u.Join) > 0 {
		err = t.Join(ctx, u.Join...)
	}
	if len(u.Leave) > 0 {
		_ = t.Leave(ctx, u.Leave...) // it has no errors but that sockets have left
	}
	switch {
	case u.CloseSession:
		t.CloseSessions()
	case u.Disconnect:
		t.Disconnect()
	}
	return err
}

// Describe implements Node.
func (d node) Describe(namespace string, in, except []string) []SocketInfo {
	n := d.server.lookup(namespace)
	if n == nil {
		return nil
	}
	return n.describe(in, except)
}

// Has implements Node.
func (d node) Has(namespace, room string) bool {
	n := d.server.lookup(namespace)
	return n != nil && (room == "" || n.rooms.has(room))
}

// Namespaces implements Node.
func (d node) Namespaces() []string {
	all := d.server.Namespaces()
	names := make([]string, 0, len(all))
	for _, n := range all {
		names = append(names, n.name)
	}
	return names
}

// Rooms implements Node.
func (d node) Rooms(namespace string) []string {
	n := d.server.lookup(namespace)
	if n == nil {
		return nil
	}
	return n.Rooms()
}

// Logger implements Node.
func (d node) Logger() *slog.Logger { return d.server.log }

// HandleServerEvent implements Node.
func (d node) HandleServerEvent(ctx context.Context, e *ServerEvent) (answer []any, ok bool, err error) {
	n := d.server.lookup(e.Namespace)
	if n == nil {
		return nil, false, nil
	}
	fn := n.load().serverSide[e.Event]
	if fn == nil {
		return nil, false, nil
	}
	args, err := d.server.rawArgs(e.Args)
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
