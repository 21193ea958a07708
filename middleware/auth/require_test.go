package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/upshifttest"
)

// What a client may do is looked at for each event, with what it is by then.
func TestRequire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		main := r.Of("/")
		var seen []string
		ok := func(context.Context, *core.Socket, core.None) (string, error) { return "done", nil }
		core.On(main.Group(auth.AnyRole("admin", "editor")), "edit", ok)
		core.On(main.Group(auth.AnyRole()), "never", ok)
		core.On(main.Group(auth.AllScopes("read", "write")), "write", ok)
		core.On(main.Group(auth.AllScopes()), "anybody", ok)
		core.On(main.Group(auth.Require(func(_ context.Context, s *core.Socket, event string) error {
			id, _ := auth.From(s)
			seen = append(seen, id.Subject+" "+event)
			return errors.New("secret")
		})), "ask", ok)
		core.On(main.Group(auth.Require(func(context.Context, *core.Socket, string) error {
			return core.Errorf("too_late", "the poll is closed")
		})), "vote", ok)
		core.On(main.Group(auth.Require(func(context.Context, *core.Socket, string) error {
			return fmt.Errorf("database: %w", auth.ErrUnavailable)
		})), "unavailable", ok)
		core.On(main.Group(auth.Require(func(context.Context, *core.Socket, string) error { panic("of the program") })), "panic", ok)

		r.on("all", func(context.Context) (auth.Identity, error) {
			return auth.Identity{Subject: "ann", Roles: []string{"editor"}, Scopes: []string{"write", "read"}}, nil
		})
		r.on("less", func(context.Context) (auth.Identity, error) {
			return auth.Identity{Subject: "ann", Roles: []string{"reader"}, Scopes: []string{"read"}}, nil
		})
		c := r.dial(t, "all")
		want := func(event, code string) {
			t.Helper()
			var answer string
			err := c.Call(t.Context(), event, nil, &answer)
			if code == "" {
				if err != nil || answer != "done" {
					t.Errorf("%s: %q, %v", event, answer, err)
				}
				return
			}
			if got, _ := reasonOf(t, err); got != code {
				t.Errorf("%s: answered %q, want %q", event, got, code)
			}
		}
		for _, event := range []string{"edit", "write", "anybody"} {
			want(event, "")
		}
		want("never", "forbidden")
		want("ask", "forbidden")
		want("vote", "too_late")
		want("unavailable", "internal")
		want("panic", "internal")
		if err := c.Call(t.Context(), "auth:renew", []any{"less"}); err != nil {
			t.Fatal(err)
		}
		want("edit", "forbidden")
		want("write", "forbidden")
		want("anybody", "")
		if len(seen) != 1 || seen[0] != "ann ask" {
			t.Errorf("asked about %q", seen)
		}
	})
}

// Used for a namespace it decides about the connect too. Without a guard in
// front nobody is known.
func TestRequireConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		r.Of("/admin").Use(auth.AnyRole("admin"))
		if code, reason := refused(t, r.Server, "/admin", with(r.issue("ann", time.Hour))); code != "forbidden" || reason != "" {
			t.Errorf("refused with %q, %q", code, reason)
		}
		upshifttest.Dial(t, r.Server, "/admin", with(r.issue("ann", time.Hour, "admin")))

		free := upshifttest.NewServer(t, core.Options{})
		free.Of("/roles").Use(auth.AnyRole("admin"))
		free.Of("/scopes").Use(auth.AllScopes())
		for _, namespace := range []string{"/roles", "/scopes"} {
			if code, reason := refused(t, free, namespace, upshifttest.Options{}); code != "unauthorized" || reason != "missing" {
				t.Errorf("%s: refused with %q, %q", namespace, code, reason)
			}
		}
	})
}
