package interop

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// Namespaces that are made when clients ask for them (C24), found by the
// program (C27), and gone when they are empty (C26).
func TestFamily(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		family := a.server.OfPattern("/orgs/{org}/rooms/{room...}")
		calls := newJournal[string]()
		family.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if r.Connect() && r.Socket.Namespace().Param("org") == "closed" {
					return &core.Error{Message: "closed", Data: map[string]any{"until": []any{"monday", 9}}}
				}
				return next(ctx, r)
			}
		})
		family.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "lobby") })
		family.OnDisconnect(func(_ context.Context, s *core.Socket, _ error) { calls.add("left " + s.Namespace().Name()) })
		core.On(family, "where", func(_ context.Context, s *core.Socket, _ core.None) (core.Args2[string, string], error) {
			return core.Args2[string, string]{A: s.Namespace().Param("org"), B: s.Namespace().Param("room")}, nil
		})
		names := func() (all []string) {
			for _, n := range family.Namespaces() {
				all = append(all, n.Name())
			}
			slices.Sort(all)
			return all
		}
		main, _ := connect(t, n, "main", a.url, way, nil)
		in := func(namespace string) *client {
			return n.open(t, namespace, "", nil, map[string]any{"shares": main, "namespace": namespace})
		}
		red, blue := in("/orgs/7/rooms/red"), in("/orgs/7/rooms/blue ☃/x")
		red.event(t, "connect")
		blue.event(t, "connect")
		for c, want := range map[*client][]any{red: {"7", "red"}, blue: {"7", "blue ☃/x"}} {
			if got := c.call(t, "where"); !cmp.Equal(got, want) {
				t.Errorf("%s is %v", c.name, got)
			}
		}
		other, _ := connect(t, n, "other", a.url, way, map[string]any{"namespace": "/orgs/7/rooms/red"})
		if got := len(family.Namespaces()); got != 2 {
			t.Errorf("%d namespaces, want 2", got)
		}
		mustEmit(t, family, "all")
		mustEmit(t, family.To("lobby").Except("none"), "lobby", []byte("bytes"))
		mustEmit(t, a.server.Of("/orgs/7/rooms/red"), "red")
		for _, c := range []*client{red, blue, other} {
			c.message(t, "all")
			c.message(t, "lobby")
		}
		red.message(t, "red")
		other.message(t, "red")
		blue.call(t, "where")
		if extra := blue.take(isMessage("red")); len(extra) > 0 {
			t.Errorf("blue got %v", extra)
		}

		// Refused by the family, by nobody's wish, and by middleware with data.
		if got := in("/orgs/7/rooms/").event(t, "connect_error"); got.Message != "Invalid namespace" {
			t.Errorf("refused with %q", got.Message)
		}
		closed := in("/orgs/closed/rooms/1").event(t, "connect_error")
		if d := diff(any(map[string]any{"until": []any{"monday", 9.0}}), closed.Data); closed.Message != "closed" || d != "" {
			t.Errorf("refused with %q (-want +got):\n%s", closed.Message, d)
		}

		// Of has made the first one stay; the other goes with its last client.
		kept := []string{"/orgs/7/rooms/red"}
		blue.do(t, "disconnect", nil)
		await(t, "end of blue", func() bool { return cmp.Equal(names(), kept) })
		blue.do(t, "connect", nil)
		blue.event(t, "connect")
		if got := blue.call(t, "where"); !cmp.Equal(got, []any{"7", "blue ☃/x"}) {
			t.Errorf("after it was made again it is %v", got)
		}
		// One that the program has asked for by name belongs to the family.
		if got := a.server.Of("/orgs/8/rooms/x").Param("org"); got != "8" {
			t.Errorf("the parameter is %q", got)
		}
		eight := in("/orgs/8/rooms/x")
		eight.event(t, "connect")
		if got := eight.call(t, "where"); !cmp.Equal(got, []any{"8", "x"}) {
			t.Errorf("the program's own is %v", got)
		}
		calls.await(t, "OnDisconnect", func(s string) bool { return s == "left /orgs/7/rooms/blue ☃/x" })
	})
}

// Two clients that wait for the decision on one name get one namespace, from a
// function that asks for their auth (C24, C25).
func TestFamilyByDecision(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		asked := newJournal[string]()
		decide := make(chan struct{})
		family := a.server.OfFunc(func(ctx context.Context, r *core.NamespaceRequest) bool {
			var auth struct{ Token string }
			err := r.Auth(&auth)
			asked.add(r.Name)
			select {
			case <-decide:
			case <-ctx.Done():
			}
			return err == nil && auth.Token == "secret"
		})
		core.On(family, "echo", func(_ context.Context, _ *core.Socket, v any) (any, error) { return v, nil })
		open := func(name, token string) *client {
			main, _ := connect(t, n, "main", a.url, way, nil)
			return n.open(t, name, "", map[string]any{"auth": map[string]any{"token": token}}, map[string]any{"shares": main, "namespace": "/mine"})
		}
		ann, ben, eve := open("ann", "secret"), open("ben", "secret"), open("eve", "guess")
		asked.awaitN(t, 3, "decision", func(name string) bool { return name == "/mine" })
		close(decide)
		ann.event(t, "connect")
		ben.event(t, "connect")
		if got := family.Namespaces(); len(got) != 1 || got[0].Len() != 2 {
			t.Errorf("%d namespaces", len(got))
		}
		mustEmit(t, family, "both")
		ann.message(t, "both")
		ben.message(t, "both")
		// Who is asked when the namespace is there already is nobody.
		if ann.call(t, "echo", 1); len(asked.all()) > 0 {
			t.Errorf("asked again: %v", asked.all())
		}
		if got := eve.event(t, "connect_error").Message; got != "Invalid namespace" {
			t.Errorf("eve is refused with %q", got)
		}
	})
}
