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
// connection.mu, Socket.mu and rooms.mu are never held together, nor while a
// handler or a codec is called. Socket.mu comes before workers.mu, and rooms.mu
// before the locks of a session, of which nothing but SendLater, which only
// queues, is called under it.
package core

import (
	"context"
	"log/slog"
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

	middleware atomic.Pointer[[]Middleware] // replaced as a whole, under mu

	mu         sync.RWMutex // guards namespaces, and registration
	namespaces map[string]*Namespace
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
	srv.manager, err = session.New(srv, o.session())
	if err != nil {
		return nil, err
	}
	srv.Of("/")
	return srv, nil
}

// Of returns the namespace with the given name, making it if there is none. A
// missing slash in front is added: "" is the main namespace "/". Clients can
// connect to a namespace from then on.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	n := srv.namespaces[name]
	if n == nil {
		n = newNamespace(srv, name)
		srv.namespaces[name] = n
	}
	return n
}

// namespace returns the namespace with exactly this name, or nil.
func (srv *Server) namespace(name string) *Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	return srv.namespaces[name]
}

// Use adds middleware for connects and events of every namespace, those that
// are made later included. It runs before a namespace's own.
func (srv *Server) Use(middleware ...Middleware) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	all := slices.Concat(srv.chain(), middleware)
	srv.middleware.Store(&all)
	for _, n := range srv.namespaces {
		n.compose(func() {})
	}
}

func (srv *Server) chain() []Middleware {
	if m := srv.middleware.Load(); m != nil {
		return *m
	}
	return nil
}

// Sessions is the number of client sessions, joined to a namespace or not.
func (srv *Server) Sessions() int { return srv.manager.Len() }

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
		slog.String("namespace", s.namespace.name), slog.String("event", event),
		slog.String("socket", s.id), slog.Any("error", err),
	}
	if p, ok := err.(*panicError); ok { //nolint:errorlint // guard returns it bare
		level = slog.LevelError
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	srv.log.LogAttrs(context.Background(), level, what, attrs...)
}
