package core

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/upshift-go/upshift/codec"
)

// A router has what is registered for a namespace or for a family of them:
// middleware, handlers and hooks. Its methods are those of Namespace and
// Dynamic, and safe for concurrent use, also while clients are connected.
type router struct {
	server *Server
	base   *router // of the family that a namespace belongs to; nil if it belongs to none

	mu           sync.Mutex // guards what follows; base.mu may be taken while it is held
	middleware   []Middleware
	registered   map[string]registration
	fallback     Handler
	onConnect    []func(ctx context.Context, s *Socket) error
	onDisconnect []func(ctx context.Context, s *Socket, cause error)
	onAny        []func(ctx context.Context, s *Socket, event string, args Args)
	onOutgoing   []func(s *Socket, event string, args []any)
	serverSide   map[string]func(ctx context.Context, args Args) (any, error)

	own      atomic.Bool            // something was registered here
	composed atomic.Pointer[routes] // from the above when it is needed; nil if it has changed since
}

// A registration is a handler as it was registered.
type registration struct {
	handler    Handler
	middleware []Middleware // of its group
}

// routes are the chains that requests run through. They never change.
type routes struct {
	connect      Handler // nil if there is no middleware
	events       map[string]Handler
	unknown      Handler
	onConnect    []func(ctx context.Context, s *Socket) error
	onDisconnect []func(ctx context.Context, s *Socket, cause error)
	onAny        []func(ctx context.Context, s *Socket, event string, args Args)
	onOutgoing   []func(s *Socket, event string, args []any)
	serverSide   map[string]func(ctx context.Context, args Args) (any, error)
}

func (r *routes) event(name string) Handler {
	if h, ok := r.events[name]; ok {
		return h
	}
	return r.unknown
}

// Use adds middleware, for connects to the namespace and for its events. It
// runs after the server's, and for handlers registered before as well. It panics
// if one is nil.
func (r *router) Use(middleware ...Middleware) {
	checkMiddleware(middleware)
	r.change(func() { r.middleware = append(r.middleware, middleware...) })
}

// Handle implements Registry. Most programs use On.
func (r *router) Handle(event string, h Handler) { r.handle(event, registration{handler: h}) }

// HandleUnknown registers the handler of events that have none. Without it
// they are ignored, and a client that waits for an answer is told
// "unknown_event".
func (r *router) HandleUnknown(h Handler) {
	r.change(func() { r.fallback = h })
}

// OnConnect adds a function that is called for each socket that has connected,
// before any of its events is handled. Events it emits arrive after the
// client knows that it is connected. An error disconnects the socket; to
// refuse a connection use middleware.
func (r *router) OnConnect(fn func(ctx context.Context, s *Socket) error) {
	r.change(func() { r.onConnect = append(r.onConnect, fn) })
}

// OnDisconnect adds a function that is called once for each socket that had
// connected, after the last of its events has been handled. The socket's Rooms
// are those it was in. ctx lives on; the cause is a *CloseError.
func (r *router) OnDisconnect(fn func(ctx context.Context, s *Socket, cause error)) {
	r.change(func() { r.onDisconnect = append(r.onDisconnect, fn) })
}

// OnAny adds a function that is called for each event that arrives, before
// middleware and whether or not there is a handler for it. It runs where the
// handler will, so a slow one delays the events of its socket. To stop, answer
// or change events use middleware.
func (r *router) OnAny(fn func(ctx context.Context, s *Socket, event string, args Args)) {
	r.change(func() { r.onAny = append(r.onAny, fn) })
}

// OnAnyOutgoing adds a function that is called for each event that is sent to a
// client, once for each client, with the arguments as they were passed to
// Emit. It is called also for volatile events that are then dropped, but not
// for acknowledgements and not for events that recovery replays. It runs on the
// goroutine that emits, must not block, and must not change the arguments.
func (r *router) OnAnyOutgoing(fn func(s *Socket, event string, args []any)) {
	r.change(func() { r.onOutgoing = append(r.onOutgoing, fn) })
}

// Group returns a Registry whose handlers run inside the given middleware,
// which runs after that of the namespace. It panics if one is nil.
func (r *router) Group(middleware ...Middleware) *Group {
	checkMiddleware(middleware)
	return &Group{router: r, middleware: middleware}
}

// A Group registers handlers that share middleware.
type Group struct {
	router     *router
	middleware []Middleware
}

// Handle implements Registry.
func (g *Group) Handle(event string, h Handler) {
	g.router.handle(event, registration{handler: h, middleware: g.middleware})
}

// Group returns a group inside this one.
func (g *Group) Group(middleware ...Middleware) *Group {
	checkMiddleware(middleware)
	return &Group{router: g.router, middleware: slices.Concat(g.middleware, middleware)}
}

func (r *router) handle(event string, reg registration) {
	if err := codec.CheckEvent(event); err != nil {
		panic("core: " + err.Error()) //nolint:forbidigo // a programmer's error, at registration
	}
	r.change(func() {
		if r.registered == nil {
			r.registered = make(map[string]registration)
		}
		r.registered[event] = reg
	})
}

// change makes a change, from which on everything is composed anew.
func (r *router) change(apply func()) {
	r.mu.Lock()
	apply()
	r.own.Store(true)
	r.composed.Store(nil)
	r.mu.Unlock()
	r.server.recompose(r)
}

// reset makes the next request compose the routes anew.
func (r *router) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.composed.Store(nil)
}

// load returns the routes. A namespace of a family for which nothing was
// registered by itself has those of the family.
func (r *router) load() *routes {
	if r.base != nil && !r.own.Load() {
		return r.base.load()
	}
	if c := r.composed.Load(); c != nil {
		return c
	}
	return r.compose()
}

func (r *router) compose() *routes {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.composed.Load(); c != nil {
		return c
	}
	c := &routes{
		events:     make(map[string]Handler),
		serverSide: make(map[string]func(context.Context, Args) (any, error)),
	}
	before := [][]Middleware{r.server.chain()}
	if r.base != nil {
		r.base.mu.Lock()
		defer r.base.mu.Unlock()
		before = append(before, r.base.middleware)
	}
	before = append(before, r.middleware)
	if slices.ContainsFunc(before, func(m []Middleware) bool { return len(m) > 0 }) {
		c.connect = chain(func(context.Context, *Request) error { return nil }, before...)
	}
	c.unknown = chain(unknownEvent, before...)
	if r.base != nil {
		c.include(r.base, before)
	}
	c.include(r, before)
	r.composed.Store(c)
	return c
}

// include adds what is registered with from, whose lock is held.
func (r *routes) include(from *router, before [][]Middleware) {
	for event, reg := range from.registered {
		r.events[event] = chain(reg.handler, append(slices.Clip(before), reg.middleware)...)
	}
	if h := from.fallback; h != nil {
		r.unknown = chain(h, before...)
	}
	r.onConnect = append(r.onConnect, from.onConnect...)
	r.onDisconnect = append(r.onDisconnect, from.onDisconnect...)
	r.onAny = append(r.onAny, from.onAny...)
	r.onOutgoing = append(r.onOutgoing, from.onOutgoing...)
	maps.Copy(r.serverSide, from.serverSide)
}

// unknownEvent ends the chain of an event without handler. The reference
// ignores such events; a client that waits for an answer is better told.
func unknownEvent(_ context.Context, r *Request) error {
	if r.acked {
		return &Error{Code: CodeUnknownEvent, Message: "no handler for this event"}
	}
	return nil
}
