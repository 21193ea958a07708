package recoverer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/recoverer"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestRecoverer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		var reported []*recoverer.PanicError
		srv.Use(recoverer.New(recoverer.Options{
			Report: func(_ context.Context, p *recoverer.PanicError) { reported = append(reported, p) },
			Answer: func(p *recoverer.PanicError) error {
				if errors.Is(p, io.ErrUnexpectedEOF) {
					return core.Errorf("broken", "try later")
				}
				return p
			},
		}))
		ns := srv.Of("/")
		core.On(ns, "panic", func(_ context.Context, _ *core.Socket, known bool) (bool, error) {
			if known {
				panic(io.ErrUnexpectedEOF)
			}
			panic("at the disco")
		})
		core.On(ns, "fine", func(context.Context, *core.Socket, core.None) (bool, error) { return true, nil })
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		for known, code := range map[bool]string{true: "broken", false: core.CodeInternal} {
			reported = nil
			err := c.Call(t.Context(), "panic", []any{known})
			if told, ok := errors.AsType[*core.Error](err); !ok || told.Code != code {
				t.Errorf("panic was answered with %v, want %q", err, code)
			}
			synctest.Wait()
			if len(reported) != 1 {
				t.Fatalf("%d panics were reported", len(reported))
			}
			p := reported[0]
			if p.Event != "panic" || p.Namespace != "/" || p.SocketID != c.ID() || !strings.Contains(string(p.Stack), "recoverer_test.go") {
				t.Errorf("reported %+v", p)
			}
		}
		var fine bool
		if err := c.Call(t.Context(), "fine", nil, &fine); err != nil || !fine {
			t.Errorf("afterwards: %t, %v", fine, err)
		}
	})
}

// A connect that panics is refused.
func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		srv.Use(recoverer.New(recoverer.Options{}), func(core.Handler) core.Handler {
			return func(context.Context, *core.Request) error { panic("no") }
		})
		if err := upshifttest.Refused(t, srv, "/", upshifttest.Options{}); err == nil {
			t.Error("the client has connected")
		}
	})
}
