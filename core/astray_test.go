package core_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// Code that ends its goroutine, as t.FailNow does, costs its client the
// connection and nobody anything else.
func TestGoexit(t *testing.T) {
	for name, register := range map[string]func(ns *core.Namespace){
		"in a handler": func(ns *core.Namespace) {
			ns.Handle("x", func(context.Context, *core.Request) error { runtime.Goexit(); return nil })
		},
		"in OnConnect": func(ns *core.Namespace) {
			ns.OnConnect(func(context.Context, *core.Socket) error {
				<-time.After(time.Second)
				runtime.Goexit()
				return nil
			})
		},
		"in OnDisconnect": func(ns *core.Namespace) {
			ns.Handle("x", func(_ context.Context, r *core.Request) error { r.Socket.Disconnect(); return nil })
			ns.OnDisconnect(func(context.Context, *core.Socket, error) { runtime.Goexit() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
				ns := srv.Of("/astray")
				var causes []error
				ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { causes = append(causes, cause) })
				register(ns)
				c := upshifttest.Dial(t, srv, "/astray", upshifttest.Options{})
				for range 3 { // answers to a burst wait for each other
					_ = c.Emit(t.Context(), "x") // the first may have ended it
				}
				if reason := c.WaitDisconnect(); reason != "io server disconnect" {
					t.Errorf("the client was disconnected for %q", reason)
				}
				synctest.Wait()
				if n := ns.Len(); n != 0 || len(causes) != 1 {
					t.Errorf("%d sockets are left, OnDisconnect was told %v", n, causes)
				}
				c.Join("/", nil) // the session has not suffered
			})
		})
	}
}

// Middleware that cannot be composed fails requests rather than the server.
func TestMiddlewareDoesNotWrap(t *testing.T) {
	for name, middleware := range map[string]core.Middleware{
		"panics":          func(core.Handler) core.Handler { panic("no configuration") },
		"returns nothing": func(core.Handler) core.Handler { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := upshifttest.NewServer(t, core.Options{})
				srv.Of("/broken").Use(middleware)
				err := upshifttest.Refused(t, srv, "/broken", upshifttest.Options{})
				if refused, ok := errors.AsType[*upshifttest.ConnectError](err); !ok || !strings.Contains(refused.Error(), core.CodeInternal) {
					t.Errorf("the client was told %v", err)
				}
				upshifttest.Dial(t, srv, "/", upshifttest.Options{})
			})
		})
	}
}
