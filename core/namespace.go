package core

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/upshift-go/upshift/codec"
)

// A Namespace is a part of the server that clients connect to by name, with
// its own handlers, middleware and rooms. All methods are safe for concurrent
// use.
type Namespace struct {
	server *Server
	name   string
	rooms  rooms
	acks   atomic.Uint64 // the id of the next ack; shared by all sockets, as the wire allows

	mu           sync.Mutex // guards what follows, and registration
	middleware   []Middleware
	registered   map[string]registration
	onConnect    []func(ctx context.Context, s *Socket) error
	onDisconnect []func(ctx context.Context, s *Socket, cause error)

	routes atomic.Pointer[routes] // composed from the above, replaced as a whole
}

// A registration is a handler as it was registered.
type registration struct {
	handler    Handler
	middleware []Middleware // of its group
}

// routes are the chains that requests run through. They never change.
type routes struct {
	connect      Handler
	events       map[string]Handler
	unknown      Handler
	onConnect    []func(ctx context.Context, s *Socket) error
	onDisconnect []func(ctx context.Context, s *Socket, cause error)
}

func newNamespace(server *Server, name string) *Namespace {
	n := &Namespace{server: server, name: name, registered: make(map[string]registration)}
	n.compose(func() {})
	return n
}

// Name is the namespace's name, as in "/chat".
func (n *Namespace) Name() string { return n.name }

// Use adds middleware, for connects to the namespace and for its events. It
// runs after the server's, and for handlers registered before as well.
func (n *Namespace) Use(middleware ...Middleware) {
	n.compose(func() { n.middleware = append(n.middleware, middleware...) })
}

// Handle implements Registry. Most programs use On.
func (n *Namespace) Handle(event string, h Handler) { n.handle(event, registration{handler: h}) }

// OnConnect adds a function that is called for each socket that has connected,
// before any of its events is handled. Events it emits arrive after the
// client knows that it is connected. An error disconnects the socket; to
// refuse a connection use middleware.
func (n *Namespace) OnConnect(fn func(ctx context.Context, s *Socket) error) {
	n.compose(func() { n.onConnect = append(n.onConnect, fn) })
}

// OnDisconnect adds a function that is called once for each socket that had
// connected, after the last of its events has been handled. The socket's Rooms
// are those it was in. ctx lives on; the cause is a *CloseError.
func (n *Namespace) OnDisconnect(fn func(ctx context.Context, s *Socket, cause error)) {
	n.compose(func() { n.onDisconnect = append(n.onDisconnect, fn) })
}

// Group returns a Registry whose handlers run inside the given middleware,
// which runs after the namespace's.
func (n *Namespace) Group(middleware ...Middleware) *Group {
	return &Group{namespace: n, middleware: middleware}
}

// A Group registers handlers of a namespace that share middleware.
type Group struct {
	namespace  *Namespace
	middleware []Middleware
}

// Handle implements Registry.
func (g *Group) Handle(event string, h Handler) {
	g.namespace.handle(event, registration{handler: h, middleware: g.middleware})
}

// Group returns a group inside this one.
func (g *Group) Group(middleware ...Middleware) *Group {
	return &Group{namespace: g.namespace, middleware: slices.Concat(g.middleware, middleware)}
}

func (n *Namespace) handle(event string, r registration) {
	if err := codec.CheckEvent(event); err != nil {
		panic("core: " + err.Error()) //nolint:forbidigo // a programmer's error, at registration
	}
	n.compose(func() { n.registered[event] = r })
}

// compose makes a change and then the routes anew.
func (n *Namespace) compose(change func()) {
	server := n.server.chain()
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
	r := &routes{
		connect:      chain(func(context.Context, *Request) error { return nil }, server, n.middleware),
		unknown:      chain(unknownEvent, server, n.middleware),
		events:       make(map[string]Handler, len(n.registered)),
		onConnect:    slices.Clone(n.onConnect),
		onDisconnect: slices.Clone(n.onDisconnect),
	}
	for event, reg := range maps.All(n.registered) {
		r.events[event] = chain(reg.handler, server, n.middleware, reg.middleware)
	}
	n.routes.Store(r)
}

// unknownEvent ends the chain of an event without handler. The reference
// ignores such events; a client that waits for an answer is better told.
func unknownEvent(_ context.Context, r *Request) error {
	if r.acked {
		return &Error{Code: CodeUnknownEvent, Message: "no handler for this event"}
	}
	return nil
}

func (r *routes) event(name string) Handler {
	if h, ok := r.events[name]; ok {
		return h
	}
	return r.unknown
}

// Len is the number of connected sockets.
func (n *Namespace) Len() int { return n.rooms.len() }

// Socket returns the connected socket with the given id, or nil.
func (n *Namespace) Socket(id string) *Socket { return n.rooms.socket(id) }

// Sockets returns the connected sockets, in no order.
func (n *Namespace) Sockets() []*Socket { return n.To().Sockets() }

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
