package proflabels_test

import (
	"context"
	"runtime/pprof"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/proflabels"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		var seen []string
		srv.Use(proflabels.New(), func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				namespace, _ := pprof.Label(ctx, "namespace")
				event, _ := pprof.Label(ctx, "event")
				seen = append(seen, namespace+" "+event)
				return next(ctx, r)
			}
		})
		core.On(srv.Of("/chat"), "say", func(context.Context, *core.Socket, string) (int, error) { return 0, core.Errorf("known", "") })
		srv.OfPattern("/rooms/{room}")
		srv.OfFunc(func(context.Context, *core.NamespaceRequest) bool { return true })
		c := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		if err := c.Call(t.Context(), "say", nil); err == nil {
			t.Error("the error is lost")
		}
		_ = c.Call(t.Context(), "made up", nil)
		c.Join("/rooms/1", nil)
		c.Join("/any", nil)
		want := []string{"/chat connect", "/chat say", "/chat other", "/rooms/{room} connect", "other connect"}
		for i := range want {
			if i >= len(seen) || seen[i] != want[i] {
				t.Errorf("labels %q, want %q", seen, want)
				break
			}
		}
	})
}
