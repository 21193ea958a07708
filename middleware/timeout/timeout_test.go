package timeout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/timeout"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		handler func(ctx context.Context) error
		code    string
		cause   error
	}{
		"in time":        {handler: func(context.Context) error { <-time.After(time.Second); return nil }},
		"fails in time":  {handler: func(context.Context) error { return errors.New("broken") }, code: core.CodeInternal},
		"heeds":          {handler: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, code: timeout.Code, cause: timeout.ErrTimeout},
		"does not heed":  {handler: func(context.Context) error { <-time.After(3 * time.Second); return nil }},
		"has its answer": {handler: func(ctx context.Context) error { <-ctx.Done(); return core.Errorf("later", "come back") }, code: "later"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := upshifttest.NewServer(t, core.Options{})
				ns := srv.Of("/")
				var failed error
				ns.Use(func(next core.Handler) core.Handler {
					return func(ctx context.Context, r *core.Request) error {
						err := next(ctx, r)
						failed = err
						return err
					}
				}, timeout.New(2*time.Second))
				ns.Handle("x", func(ctx context.Context, _ *core.Request) error { return tt.handler(ctx) })
				c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
				began := time.Now()
				err := c.Call(t.Context(), "x", nil)
				code := ""
				if told, ok := errors.AsType[*core.Error](err); ok {
					code = told.Code
				}
				synctest.Wait()
				switch {
				case code != tt.code:
					t.Errorf("the client was told %v, want %q", err, tt.code)
				case tt.cause != nil && !errors.Is(failed, tt.cause):
					t.Errorf("the event failed with %v", failed)
				case tt.code == timeout.Code && time.Since(began) != 2*time.Second:
					t.Errorf("it took %v of the bubble's time", time.Since(began))
				}
			})
		})
	}
}

// A client that leaves is no timeout.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		ns := srv.Of("/")
		var failed error
		ns.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				err := next(ctx, r)
				failed = err
				return err
			}
		}, timeout.New(time.Hour))
		ns.Handle("x", func(ctx context.Context, _ *core.Request) error { <-ctx.Done(); return ctx.Err() })
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := c.Emit(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if failed == nil || errors.Is(failed, timeout.ErrTimeout) {
			t.Errorf("the event failed with %v", failed)
		}
	})
}
