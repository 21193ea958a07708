package auth_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/upshifttest"
)

// A client is told, renews, is told again, does nothing, and is closed.
func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		start := time.Now()
		c := r.dial(t, r.issue("ann", 10*time.Minute, "admin"))
		s := r.Of("/").Socket(c.ID())

		<-time.After(9*time.Minute - time.Second)
		synctest.Wait()
		c.ExpectNone()
		<-time.After(time.Second)
		c.Expect("auth:expiring", expiringMap(start.Add(10*time.Minute), time.Minute))

		<-time.After(59 * time.Second)
		var answer struct{ Expires int64 }
		if err := c.Call(t.Context(), "auth:renew", []any{r.issue("ann", 5*time.Minute)}, &answer); err != nil {
			t.Fatal(err)
		}
		end := start.Add(10*time.Minute - time.Second + 5*time.Minute)
		if answer.Expires != end.UnixMilli() {
			t.Errorf("renewed until %v", time.UnixMilli(answer.Expires))
		}
		if id, _ := auth.From(s); id.HasRole("admin") || !id.Expires.Equal(end) {
			t.Errorf("identity %+v", id)
		}
		<-time.After(4*time.Minute - time.Millisecond)
		synctest.Wait()
		c.ExpectNone()
		<-time.After(time.Millisecond)
		c.Expect("auth:expiring", expiringMap(end, time.Minute))
		<-time.After(time.Minute - time.Millisecond)
		synctest.Wait()
		c.ExpectNone()
		if !s.Connected() {
			t.Error("closed too early")
		}
		<-time.After(time.Millisecond)
		r.closed(t, c, "expired", auth.ErrExpired)
	})
}

func expiringMap(at time.Time, in time.Duration) map[string]any {
	return map[string]any{"expires": at.UnixMilli(), "in": in.Milliseconds()}
}

// Names and lead can be chosen, and a token that is for ever ends the worry.
func TestLifecycleOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{
			Lead: 10 * time.Minute, ExpiringEvent: "hurry", RenewEvent: "here", ClosedEvent: "bye",
		})
		c := r.dial(t, r.issue("ann", time.Hour))
		<-time.After(50 * time.Minute)
		if e := c.Next(); e.Name != "hurry" {
			t.Errorf("told by %s", e)
		}
		answer := map[string]any{}
		if err := c.Call(t.Context(), "here", []any{r.issue("ann", 0)}, &answer); err != nil || len(answer) > 0 {
			t.Errorf("answer %v, %v", answer, err)
		}
		<-time.After(24 * time.Hour)
		synctest.Wait()
		c.ExpectNone()
		if err := c.Call(t.Context(), "here", []any{r.issue("ann", time.Second)}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"hurry", "bye"} {
			if e := c.Next(); e.Name != name {
				t.Errorf("event %s, want %s", e, name)
			}
		}
	})
}

// Who has short tokens is not told at once, to renew at once, and again.
func TestShortTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		start := time.Now()
		c := r.dial(t, r.issue("ann", 10*time.Second))
		for range 5 {
			c.Next()
			if err := c.Call(t.Context(), "auth:renew", []any{r.issue("ann", 10*time.Second)}); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != 25*time.Second {
			t.Errorf("told 5 times in %v", got)
		}
	})
}

// A renewal that fails leaves everything as it was.
func TestRenewRefused(t *testing.T) {
	errNo := errors.New("reason of the program")
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{
			OnRenew: func(_ context.Context, _ *core.Socket, before, after auth.Identity) error {
				if before.HasRole("admin") && !after.HasRole("admin") {
					return errNo
				}
				return nil
			},
		})
		r.on("panic", func(context.Context) (auth.Identity, error) { panic("of the program") })
		r.on("blocks", func(ctx context.Context) (auth.Identity, error) {
			<-ctx.Done()
			return auth.Identity{Subject: "ann"}, nil
		})
		r.on("expired", func(context.Context) (auth.Identity, error) {
			return auth.Identity{Subject: "ann", Expires: time.Now().Add(-time.Second)}, nil
		})
		r.on("nobody", func(context.Context) (auth.Identity, error) { return auth.Identity{}, nil })
		c := r.dial(t, r.issue("ann", time.Hour, "admin"))
		s := r.Of("/").Socket(c.ID())
		was, _ := auth.From(s)
		for _, test := range []struct {
			token        any
			code, reason string
		}{
			{r.issue("bob", time.Hour, "admin"), "unauthorized", "other_subject"},
			{"nobody", "unauthorized", "other_subject"},
			{"expired", "unauthorized", "expired"},
			{"?", "unauthorized", "invalid"},
			{"", "unauthorized", "missing"},
			{nil, "unauthorized", "missing"},
			{7, "bad_payload", ""},
			{map[string]any{"token": "x"}, "bad_payload", ""},
			{r.issue("ann", time.Hour), "forbidden", ""},
			{"panic", "internal", ""},
			{"blocks", "internal", ""},
		} {
			err := c.Call(t.Context(), "auth:renew", []any{test.token})
			if code, reason := reasonOf(t, err); code != test.code || reason != test.reason {
				t.Errorf("%v: answered %q, %q", test.token, code, reason)
			}
			if id, _ := auth.From(s); id.Expires != was.Expires || !id.HasRole("admin") {
				t.Errorf("%v: identity %+v", test.token, id)
			}
		}
		if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", nil)); reason != "missing" {
			t.Errorf("without arguments: %q", reason)
		}

		nobody := r.dial(t, "nobody") // nor can who has no subject be renewed
		if _, reason := reasonOf(t, nobody.Call(t.Context(), "auth:renew", []any{"nobody"})); reason != "other_subject" {
			t.Errorf("nobody renewed: %q", reason)
		}
		<-time.After(time.Hour)
		c.Next()
		r.closed(t, c, "expired", auth.ErrExpired)
	})
}

// A renewal that is verified when the time is up is too late.
func TestRenewTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		verifying := make(chan struct{})
		r.on("slow", func(context.Context) (auth.Identity, error) {
			close(verifying)
			<-time.After(5 * time.Second)
			return auth.Identity{Subject: "ann"}, nil
		})
		c := r.dial(t, r.issue("ann", time.Hour))
		s := r.Of("/").Socket(c.ID())
		<-time.After(time.Hour - time.Second)
		c.Next()
		if err := c.Emit(t.Context(), "auth:renew", "slow"); err != nil {
			t.Fatal(err)
		}
		<-verifying
		r.closed(t, c, "expired", auth.ErrExpired)
		if id, _ := auth.From(s); id.Expires.IsZero() {
			t.Error("renewed after the end")
		}
	})
}

// Nor does a renewal count that OnRenew has let through when the old token, or
// the new one, had ended.
func TestOnRenewTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := make(chan struct{}, 1)
		r := newRig(t, core.Options{}, auth.Options{
			OnRenew: func(context.Context, *core.Socket, auth.Identity, auth.Identity) error {
				<-time.After(10 * time.Second)
				renewed <- struct{}{}
				return nil
			},
		})
		c := r.dial(t, r.issue("ann", time.Hour))
		s := r.Of("/").Socket(c.ID())
		was, _ := auth.From(s)
		if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", []any{r.issue("ann", 5*time.Second)})); reason != "expired" {
			t.Errorf("refused for %q", reason)
		}
		<-renewed
		<-time.After(time.Until(was.Expires) - time.Second)
		c.Next()
		if err := c.Emit(t.Context(), "auth:renew", r.issue("ann", 2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		r.closed(t, c, "expired", auth.ErrExpired)
		<-renewed
		synctest.Wait()
		if id, _ := auth.From(s); id.Expires != was.Expires {
			t.Error("renewed after the end")
		}
	})
}

// No timer is left when a client has gone, not even if it has renewed last.
func TestTimersStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan struct{})
		r := newRig(t, core.Options{}, auth.Options{
			OnRenew: func(context.Context, *core.Socket, auth.Identity, auth.Identity) error {
				<-left
				return nil
			},
		})
		ann, bob := r.dial(t, r.issue("ann", time.Hour)), r.dial(t, r.issue("bob", time.Hour))
		sockets := []*core.Socket{r.Of("/").Socket(ann.ID()), r.Of("/").Socket(bob.ID())}
		if err := bob.Emit(t.Context(), "auth:renew", r.issue("bob", time.Hour)); err != nil {
			t.Fatal(err)
		}
		ann.Close()
		r.left(t)
		synctest.Wait()
		bob.Close()
		synctest.Wait()
		close(left)
		r.left(t)
		synctest.Wait()
		for _, s := range sockets {
			if auth.Watched(s) {
				t.Error("a timer is left")
			}
		}
	})
}

// Renewals and the end at the same moment: whoever is first has its way, and a
// client that was told that it is renewed stays.
func TestRenewRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		const n = 50
		clients := make([]*upshifttest.Client, n)
		tokens := make([]string, n)
		for i := range clients {
			clients[i] = r.dial(t, r.issue("ann", time.Hour))
		}
		for i := range tokens {
			tokens[i] = r.issue("ann", 2*time.Hour)
		}
		<-time.After(59 * time.Minute)
		synctest.Wait()
		renewed := make([]bool, n)
		var all sync.WaitGroup
		for i, c := range clients {
			all.Go(func() {
				<-time.After(time.Minute)
				renewed[i] = c.Call(t.Context(), "auth:renew", []any{tokens[i]}) == nil
			})
		}
		all.Wait()
		<-time.After(time.Minute)
		synctest.Wait()
		closed := 0
		for i, c := range clients {
			if s := r.Of("/").Socket(c.ID()); renewed[i] != (s != nil) {
				t.Errorf("client %d: renewed %v, connected %v", i, renewed[i], s != nil)
			} else if s == nil {
				closed++
			}
		}
		for range closed {
			if cause := <-r.gone; !errors.Is(cause, auth.ErrExpired) {
				t.Errorf("cause %v", cause)
			}
		}
	})
}

// A socket whose time is watched has no goroutine for it, and leaves nothing
// behind.
func TestNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := upshifttest.NewServer(t, core.Options{})
		r := newRig(t, core.Options{}, auth.Options{})
		const n = 20
		goroutines := func(dial func() *upshifttest.Client) int {
			synctest.Wait()
			before := runtime.NumGoroutine()
			clients := make([]*upshifttest.Client, n)
			for i := range clients {
				clients[i] = dial()
			}
			synctest.Wait()
			added := runtime.NumGoroutine() - before
			for _, c := range clients {
				c.Close()
			}
			return added
		}
		want := goroutines(func() *upshifttest.Client { return upshifttest.Dial(t, plain, "/", upshifttest.Options{}) })
		got := goroutines(func() *upshifttest.Client { return r.dial(t, r.issue("ann", time.Hour)) })
		if got >= want+n {
			t.Errorf("%d goroutines for %d sockets, %d without a guard", got, n, want)
		}
		synctest.Wait()
		if n := r.guard.Members(); n != 0 {
			t.Errorf("%d members are left", n)
		}
	})
}

// A client that is refused after the guard has let it in leaves nothing either.
func TestRefusedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		r.Use(auth.AnyRole("admin"))
		if code, _ := refused(t, r.Server, "/", with(r.issue("ann", time.Hour))); code != "forbidden" {
			t.Errorf("refused with %q", code)
		}
		synctest.Wait()
		if n := r.guard.Members(); n != 0 {
			t.Errorf("%d members are left", n)
		}
	})
}

// A client that comes back by recovery has its token looked at, or, if it comes
// back past the middleware, what was known of it.
func TestRecovery(t *testing.T) {
	for _, run := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{Recovery: &core.Recovery{Window: time.Hour, RunMiddleware: run}}, auth.Options{})
			c := r.dial(t, r.issue("ann", 10*time.Minute))
			c.Cut()
			r.left(t)
			<-time.After(time.Minute)
			c.Reconnect()
			if !c.Recovered() {
				t.Fatal("not recovered")
			}
			synctest.Wait()
			if n := r.guard.Members(); n != 1 {
				t.Errorf("%d members", n)
			}
			<-time.After(8 * time.Minute)
			if e := c.Next(); e.Name != "auth:expiring" {
				t.Errorf("event %s", e)
			}
			<-time.After(time.Minute)
			closedRecovering(t, r, c, auth.ErrExpired)
		})
	}
}

// closedRecovering waits for the end where events have offsets.
func closedRecovering(t *testing.T, r *rig, c *upshifttest.Client, want error) {
	t.Helper()
	if e := c.Next(); e.Name != "auth:closed" {
		t.Errorf("event %s", e)
	}
	if got := c.WaitDisconnect(); got != "io server disconnect" {
		t.Errorf("the client says %q", got)
	}
	if cause := <-r.gone; !errors.Is(cause, want) {
		t.Errorf("cause %v, want %v", cause, want)
	}
}

// Who has expired or was revoked while its connection was lost does not stay.
func TestRecoveryTooLate(t *testing.T) {
	for _, want := range []error{auth.ErrExpired, auth.ErrRevoked} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{Recovery: &core.Recovery{Window: time.Hour}}, auth.Options{})
			c := upshifttest.Dial(tolerant{t}, r.Server, "/", with(r.issue("ann", 10*time.Minute)))
			c.Cut()
			r.left(t)
			if want == auth.ErrRevoked { //nolint:errorlint // it is the one of the table
				if err := r.guard.Revoke(t.Context(), "ann"); err != nil {
					t.Fatal(err)
				}
			} else {
				<-time.After(10 * time.Minute)
			}
			var trying sync.WaitGroup
			trying.Go(c.Reconnect)
			trying.Wait()
			closedRecovering(t, r, c, want)
			synctest.Wait()
			if n := r.guard.Members(); n != 0 {
				t.Errorf("%d members", n)
			}
		})
	}
}

// A tolerant test goes on when a client fails it.
type tolerant struct{ testing.TB }

func (tolerant) Fatalf(string, ...any) { runtime.Goexit() }

// A recovered socket has the rooms of the one it was: they are not for others.
func TestRecoveryOtherSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{Recovery: &core.Recovery{RunMiddleware: true}}, auth.Options{})
		refusals := make(chan error, 1)
		r.Observe(core.Hooks{ConnectRefused: func(_ *core.Session, _ string, _ *core.Socket, err error) { refusals <- err }})
		c := upshifttest.Dial(tolerant{t}, r.Server, "/", with(r.issue("ann", 0)))
		c.Cut()
		r.left(t)
		c.SetAuth(map[string]any{"token": r.issue("bob", 0)})
		var trying sync.WaitGroup
		trying.Go(c.Reconnect)
		if err := <-refusals; !errors.Is(err, auth.ErrOtherSubject) {
			t.Errorf("refused for %v", err)
		}
		trying.Wait()
	})
}
