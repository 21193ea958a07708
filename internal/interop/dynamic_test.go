package interop

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// C24, C25, C26, C27: namespaces that are made when clients ask for them.
func TestDynamicNamespaces(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		family := a.server.OfPattern("/rooms/{room}")
		core.On(family, "where", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
			return s.Namespace().Param("room"), nil
		})
		core.On(family, "enter", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
			return core.None{}, s.Join(ctx, room)
		})
		inside := func(name, namespace string) *client {
			c, _ := connect(t, n, name, a.url, way, map[string]any{"namespace": namespace})
			return c
		}
		ann, ben, cleo := inside("ann", "/rooms/a"), inside("ben", "/rooms/a"), inside("cleo", "/rooms/ü b")
		for c, want := range map[*client]string{ann: "a", ben: "a", cleo: "ü b"} {
			if got := c.call(t, "where"); !cmp.Equal(got, []any{want}) {
				t.Errorf("%s is in %v, want %q", c.name, got, want)
			}
		}
		if len(family.Namespaces()) != 2 {
			t.Errorf("%d namespaces, want 2", len(family.Namespaces()))
		}

		ann.call(t, "enter", "red")
		cleo.call(t, "enter", "red")
		for _, step := range []struct {
			to   core.Target
			want string
		}{
			{family.To(), "ann ben cleo"},
			{family.To("red"), "ann cleo"},
			{family.Except("red"), "ben"},
			{a.server.Of("/rooms/a").To(), "ann ben"},
		} {
			if err := step.to.Emit(t.Context(), "news", step.want, []byte{1}); err != nil {
				t.Error(err)
			}
			for _, c := range []*client{ann, ben, cleo} {
				c.call(t, "where")
				var want []any
				if slices.Contains(strings.Fields(step.want), c.name) {
					want = []any{step.want, []byte{1}}
				}
				var got []any
				for _, r := range c.take(isMessage("news")) {
					got = append(got, r.Args...)
				}
				if d := diff(want, got); d != "" {
					t.Errorf("news for %q at %s (-want +got):\n%s", step.want, c.name, d)
				}
			}
		}

		// One that everybody has left goes, and is made again.
		cleo.do(t, "disconnect", nil)
		await(t, "end of a namespace", func() bool {
			return !slices.ContainsFunc(family.Namespaces(), func(ns *core.Namespace) bool { return ns.Param("room") == "ü b" })
		})
		cleo.do(t, "connect", nil)
		cleo.event(t, "connect")
		if got := cleo.call(t, "where"); !cmp.Equal(got, []any{"ü b"}) {
			t.Errorf("cleo is in %v", got)
		}

		stranger := n.open(t, "stranger", a.url, way.options, map[string]any{"namespace": "/rooms/a/b"})
		if got := stranger.event(t, "connect_error").Message; got != "Invalid namespace" {
			t.Errorf("refused with %q", got)
		}
	})
}

// C25: a function decides, for two clients at once, about a namespace that is
// not there yet.
func TestNamespacesByFunction(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		asked, decide := make(chan struct{}, 2), make(chan struct{})
		family := a.server.OfFunc(func(ctx context.Context, r *core.NamespaceRequest) bool {
			var auth struct{ Token string }
			if err := r.Auth(&auth); err != nil || auth.Token != "secret" {
				return false
			}
			asked <- struct{}{}
			select {
			case <-decide:
			case <-ctx.Done():
			}
			return true
		})
		auth := func(token string) map[string]any {
			options := map[string]any{"auth": map[string]any{"token": token}}
			maps.Copy(options, way.options)
			return options
		}
		where := map[string]any{"namespace": "/made/up"}
		ann, ben := n.open(t, "ann", a.url, auth("secret"), where), n.open(t, "ben", a.url, auth("secret"), where)
		<-asked
		<-asked
		close(decide)
		ann.event(t, "connect")
		ben.event(t, "connect")
		if len(family.Namespaces()) != 1 {
			t.Errorf("%d namespaces, want 1", len(family.Namespaces()))
		}
		if err := family.Emit(t.Context(), "news"); err != nil {
			t.Error(err)
		}
		ann.message(t, "news")
		ben.message(t, "news")
		where["namespace"] = "/something/else" // one that is there is not asked about
		refused := n.open(t, "cleo", a.url, auth("guess"), where).event(t, "connect_error")
		if refused.Message != "Invalid namespace" {
			t.Errorf("refused with %q", refused.Message)
		}
	})
}
