package routers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(
		m,
		// fasthttp keeps the current date up to date from its first answer on,
		// and sweeps a stopped server's workers some seconds later.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// A door serves a listener until stop, which returns when every request has
// been answered.
type door struct {
	serve func(l net.Listener) error
	stop  func(ctx context.Context) error
}

func netHTTP(h http.Handler) door {
	server := &http.Server{Handler: h}
	return door{server.Serve, server.Shutdown}
}

// TestMounts runs the same client against each way of mounting a server: a
// session that opens on polling, moves up to WebSocket with events both ways
// on either, and ends with the server.
func TestMounts(t *testing.T) {
	mounts := []struct {
		name string
		door func(srv *core.Server) door
	}{
		{"net/http", func(srv *core.Server) door { return netHTTP(NetHTTP(srv)) }},
		{"chi", func(srv *core.Server) door { return netHTTP(Chi(srv)) }},
		{"chi with middleware that wraps the ResponseWriter", func(srv *core.Server) door {
			r := chi.NewRouter()
			r.Use(middleware.Recoverer, wrapWriter)
			r.Mount("/", Chi(srv))
			return netHTTP(r)
		}},
		{"gin", func(srv *core.Server) door { return netHTTP(Gin(srv)) }},
		{"echo", func(srv *core.Server) door { return netHTTP(Echo(srv)) }},
		{"fiber", func(srv *core.Server) door {
			app := Fiber(srv)
			return door{
				func(l net.Listener) error {
					return app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
				},
				app.ShutdownWithContext,
			}
		}},
		{"fasthttp", func(srv *core.Server) door {
			server := &fasthttp.Server{Handler: FastHTTP(srv)}
			return door{server.Serve, server.ShutdownWithContext}
		}},
	}
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			left := make(chan core.Reason, 1)
			srv := newServer(t, left)
			c := serve(ctx, t, m.door(srv), srv)

			c.opens(ctx)
			c.talksOnPolling(ctx)
			c.movesUp(ctx)
			c.talksOnWebSocket(ctx)
			if err := srv.Of("/").Emit(ctx, "news", "all"); err != nil {
				t.Errorf("broadcast: %v", err)
			}
			c.receives(ctx, `42["news","all"]`)
			c.hello(ctx)

			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			c.endsWithTheServer(ctx)
			if reason := <-left; reason != core.ServerShuttingDown {
				t.Errorf("OnDisconnect got %q", reason)
			}
		})
	}
}

// wrapWriter passes on chi's own ResponseWriter, as its logger does.
func wrapWriter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(middleware.NewWrapResponseWriter(w, r.ProtoMajor), r)
	})
}

func newServer(t *testing.T, left chan<- core.Reason) *core.Server {
	t.Helper()
	srv, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	main := srv.Of("/")
	core.On(main, "echo", func(ctx context.Context, s *core.Socket, text string) (string, error) {
		return text, s.Emit(ctx, "echoed", text)
	})
	main.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { left <- core.ReasonOf(cause) })
	return srv
}

// serve starts d and returns a client for it. Both end with the test, in the
// order that Shutdown asks for: srv, then the HTTP server.
func serve(ctx context.Context, t *testing.T, d door, srv *core.Server) *client {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.serve(l) }()
	c := newClient(t, l.Addr().String())
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		c.close()
		if err := d.stop(end); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return c
}
