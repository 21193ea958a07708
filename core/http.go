package core

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
)

// ServeHTTP implements http.Handler. It answers requests below Options.Path
// and 404 to others. It blocks for as long as a poll is parked.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	srv.Serve(exchange.HTTP(w, r))
}

// ServeFastHTTP is a fasthttp.RequestHandler, for fasthttp servers and the
// frameworks on it. It blocks for as long as a poll is parked and, on a server
// that does not keep hijacked connections, for as long as a WebSocket lives.
func (srv *Server) ServeFastHTTP(ctx *fasthttp.RequestCtx) {
	srv.Serve(exchange.FastHTTP(ctx, false))
}

// Serve answers a request of any other HTTP server. ServeHTTP and ServeFastHTTP
// come down to it.
func (srv *Server) Serve(ex transports.Exchange) {
	rest, ok := srv.below(ex.Path())
	switch {
	case !ok:
		ex.SetHeader("Content-Type", "text/plain; charset=utf-8")
		_ = ex.Respond(http.StatusNotFound, []byte("not found\n")) // a client that has gone needs no answer
	case srv.bundle.has(rest):
		if !srv.options.CORS.Apply(ex) {
			srv.bundle.serve(ex, rest)
		}
	default:
		srv.manager.Serve(ex)
	}
}

// below returns what of a path is below the server's, and whether it is.
func (srv *Server) below(path string) (string, bool) {
	if path+"/" == srv.options.Path {
		return "", true
	}
	return strings.CutPrefix(path, srv.options.Path)
}

// doors are the HTTP servers that ListenAndServe started.
type doors struct {
	mu      sync.Mutex // guards what follows
	servers []*fasthttp.Server
	closed  bool
}

// ListenAndServe listens on a TCP address and serves nothing but this Server,
// on fasthttp, until Shutdown; it returns nil then. Several addresses may be
// served at once.
func (srv *Server) ListenAndServe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return srv.ServeListener(l)
}

// ServeListener is ListenAndServe on a listener, which it closes in the end.
func (srv *Server) ServeListener(l net.Listener) error {
	server := &fasthttp.Server{
		Handler:               func(ctx *fasthttp.RequestCtx) { srv.Serve(exchange.FastHTTP(ctx, true)) },
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		KeepHijackedConns:     true, // a WebSocket holds on to none of fasthttp's memory
		StreamRequestBody:     true, // an oversized body is answered, rather than the connection dropped
		ReadTimeout:           time.Minute,
		IdleTimeout:           2 * time.Minute,
		Logger:                discardLogger{},
	}
	srv.doors.mu.Lock()
	if srv.doors.closed {
		srv.doors.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	srv.doors.servers = append(srv.doors.servers, server)
	srv.doors.mu.Unlock()
	return server.Serve(l)
}

// discardLogger drops fasthttp's remarks on single connections.
type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}

// Draining reports whether Shutdown has begun: no new session opens, those there are
// may still work.
func (srv *Server) Draining() bool { return srv.manager.Closed() }

// Shutdown ends the server: it refuses new sessions, with status 503 and a
// Retry-After, delivers what was sent to those there are, closes them, spread
// over Options.ShutdownSpread, with the reason "server shutting down" (their
// clients see "transport close" and will reconnect elsewhere), waits for their
// handlers and OnDisconnect, and stops what ListenAndServe started. HTTP
// servers of others it leaves alone; shut them down after it, since it owns
// their long requests. When ctx ends first, what is left is cut off and ctx's
// error returned. A second call waits too.
func (srv *Server) Shutdown(ctx context.Context) error {
	err := srv.manager.Shutdown(ctx, &CloseError{Reason: ServerShuttingDown})
	select {
	case <-srv.workers.wait():
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	srv.workers.close()
	srv.closeRecovery()
	if srv.options.Adapter != nil {
		srv.adapterClosed.Do(func() { err = errors.Join(err, srv.options.Adapter.Close(ctx)) })
	}
	srv.doors.mu.Lock()
	srv.doors.closed = true
	servers := srv.doors.servers
	srv.doors.servers = nil
	srv.doors.mu.Unlock()
	for _, server := range servers {
		err = errors.Join(err, server.ShutdownWithContext(ctx))
	}
	return err
}
