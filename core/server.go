// Package core is a Socket.IO server: typed events over sessions that open on
// HTTP long-polling and shift up to WebSocket when they can.
//
//	srv, err := core.New(core.Options{})
//	chat := srv.Of("/chat")
//	core.On(chat, "message", func(ctx context.Context, s *core.Socket, m Message) (Receipt, error) {
//		return Receipt{ID: id}, Posted.Emit(ctx, s.To(m.Room), m)
//	})
//	http.Handle("/socket.io/", srv)
//
// It speaks Socket.IO protocol 5 on Engine.IO 4, which every official client
// of version 3 and 4 does.
//
// # Order and waiting
//
// Events of one socket are handled in the order they were sent, one at a time.
// A handler may block, and may wait for an answer of its own client: answers
// and heartbeats do not queue behind it, and neither do other sockets or
// broadcasts. When too many of a socket's events wait, its client is not read
// from until some have been handled. An idle socket has no goroutine but that
// of its transport.
//
// # Lock order
//
// connection.mu, Socket.mu and rooms.mu are never held together, and no lock is
// held while a handler or a codec is called; constructors of middleware run under
// router.mu. recovery.mu comes before Server.mu, Socket.mu and rooms.mu, rooms.mu
// before the locks of a session, of which nothing that does more than queue is
// called under it; Server.mu before router.mu, and Socket.mu before workers.mu.
package core

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// A Server accepts clients and routes their events to namespaces. All methods
// are safe for concurrent use. It must not be copied.
type Server struct {
	options Options
	manager *session.Manager
	log     *slog.Logger
	bundle  bundle
	workers workers // of sockets that have something to do
	doors   doors

	stats counters

	recoveryBytes atomic.Int64                 // what all namespaces keep for recovery
	middleware    atomic.Pointer[[]Middleware] // replaced as a whole, under mu
	observers     atomic.Pointer[observers]    // the same; nil until there are any

	adapterClosed sync.Once

	mu           sync.RWMutex // guards what follows, the namespaces of families, and registration
	namespaces   map[string]*Namespace
	dynamics     []*Dynamic // replaced as a whole
	dynamicCount int        // namespaces of families
}

// New makes a Server. It listens nowhere until it is mounted on an HTTP server
// or ListenAndServe is called. The error names the field of Options that is
// wrong.
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	srv := &Server{
		options:    o,
		log:        o.Logger,
		bundle:     bundle{dir: o.ClientDir},
		namespaces: make(map[string]*Namespace),
	}
	srv.manager, err = session.New(srv, srv.sessionOptions())
	if err != nil {
		return nil, err
	}
	if o.Recovery != nil {
		if err := srv.checkOffsets(); err != nil {
			return nil, err
		}
	}
	if o.Adapter != nil {
		if err := o.Adapter.Attach(node{srv}); err != nil {
			return nil, fmt.Errorf("core: Options.Adapter: %w", err)
		}
	}
	srv.Of("/")
	return srv, nil
}

// Of returns the namespace with the given name, making it if there is none. A
// missing slash in front is added: "" is the main namespace "/". Clients can
// connect to a namespace from then on, and it stays. If a family that was added
// with OfPattern has such names, the namespace belongs to it.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n := srv.namespaces[name]
	for _, d := range srv.dynamics {
		if n != nil || !d.pure {
			continue
		}
		if params, ok := d.match(context.Background(), &NamespaceRequest{Name: name}); ok {
			n = srv.addChild(d, name, params)
		}
	}
	if n == nil {
		n = newNamespace(srv, name)
		srv.namespaces[name] = n
		srv.changed(name)
	}
	n.pinned = true
	return n
}

// changed tells the adapter of a namespace that has come to be or is gone. The
// lock is held.
func (srv *Server) changed(name string) {
	if srv.options.Adapter != nil {
		srv.options.Adapter.Changed(name)
	}
}

// Use adds middleware for connects and events of every namespace, those that
// are made later included. It runs before a namespace's own. It panics if one is
// nil.
func (srv *Server) Use(middleware ...Middleware) {
	checkMiddleware(middleware)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	all := slices.Concat(srv.chain(), middleware)
	srv.middleware.Store(&all)
	for _, n := range srv.namespaces {
		n.reset()
	}
	for _, d := range srv.dynamics {
		d.reset()
	}
}

// recompose makes the namespaces that inherit from r compose their routes anew.
func (srv *Server) recompose(r *router) {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	for _, n := range srv.namespaces {
		if n.base == r {
			n.reset()
		}
	}
}

func (srv *Server) chain() []Middleware {
	if m := srv.middleware.Load(); m != nil {
		return *m
	}
	return nil
}

// Path is Options.Path as it is in force, with a slash at both ends.
func (srv *Server) Path() string { return srv.options.Path }

// Adapter is Options.Adapter.
func (srv *Server) Adapter() Adapter { return srv.options.Adapter }

// SessionTag is Options.SessionTag.
func (srv *Server) SessionTag() string { return srv.options.SessionTag }

// Sessions is the number of client sessions, joined to a namespace or not.
func (srv *Server) Sessions() int { return srv.manager.Len() }

// AllSessions yields the sessions there are. One that opens or ends during the
// loop may be among them or not.
func (srv *Server) AllSessions() iter.Seq[*Session] { return srv.manager.All() }

// Namespaces returns the namespaces that exist, those of families included,
// sorted by name.
func (srv *Server) Namespaces() []*Namespace {
	srv.mu.RLock()
	all := slices.Collect(maps.Values(srv.namespaces))
	srv.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Namespace) int { return strings.Compare(a.name, b.name) })
	return all
}

// Open implements transports.Host: it takes a session from a transport that
// has connections of its own. The transport must be among Options.Transports.
func (srv *Server) Open(t transports.Transport, h Handshake, conn transports.Conn) (transports.Sink, error) {
	return srv.manager.Open(t, h, conn)
}

// MaxPayload implements transports.Host.
func (srv *Server) MaxPayload() int64 { return srv.manager.MaxPayload() }

var _ transports.Host = (*Server)(nil)

// report logs an error of user code. What was meant for the client is no
// news, and neither is a handler that stopped because its client had gone.
func (srv *Server) report(s *Socket, what, event string, err error) {
	level := slog.LevelError
	if clientError(err).Code != CodeInternal || s.ctx.Err() != nil {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("namespace", s.name), slog.String("event", event),
		slog.String("socket", s.id), slog.Any("error", err),
	}
	if p, ok := err.(*panicError); ok { //nolint:errorlint // guard returns it bare
		level = slog.LevelError
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	srv.log.LogAttrs(context.Background(), level, what, attrs...)
}

// reportMatch logs a panic of a function that was to say which namespaces
// exist.
func (srv *Server) reportMatch(name string, err error) {
	attrs := []slog.Attr{slog.String("namespace", name), slog.Any("error", err)}
	if p, ok := err.(*panicError); ok { //nolint:errorlint // guard returns it bare
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	srv.log.LogAttrs(context.Background(), slog.LevelError, "OfFunc failed", attrs...)
}
