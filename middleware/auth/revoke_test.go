package auth_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/upshifttest"
)

// A wire is an adapter of a cluster whose test sees the server as the adapter does.
type wire struct {
	core.Adapter
	node core.Node
	err  error // of events for the other servers
}

func join(bus *adaptertest.Bus) *wire {
	return &wire{Adapter: cluster.New(bus.Engine(), cluster.Options{})}
}

func (w *wire) Attach(node core.Node) error {
	w.node = node
	return w.Adapter.Attach(node)
}

func (w *wire) Emit(ctx context.Context, e *core.ServerEvent) error {
	if w.err != nil {
		return w.err
	}
	return w.Adapter.Emit(ctx, e)
}

// All sockets of a subject are closed, on all servers, and its tokens are
// refused unless they are new.
func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		one := newRig(t, core.Options{Adapter: join(bus)}, auth.Options{})
		two := newRig(t, core.Options{Adapter: join(bus)}, auth.Options{Verify: one.verify})
		one.Of("/chat")
		token := one.issue("ann", time.Hour)
		here := []*upshifttest.Client{one.dial(t, token), one.dial(t, one.issue("ann", 0)), one.dial(t, token).Join("/chat", map[string]any{"token": token})}
		there := two.dial(t, token)
		bob := two.dial(t, one.issue("bob", time.Hour))

		<-time.After(time.Second)
		if err := one.guard.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		for _, c := range here[:2] {
			one.closed(t, c, "revoked", auth.ErrRevoked)
		}
		here[2].Expect("auth:closed", map[string]any{"code": "unauthorized", "reason": "revoked"})
		two.closed(t, there, "revoked", auth.ErrRevoked)
		for _, r := range []*rig{one, two} {
			if code, reason := refused(t, r.Server, "/", with(token)); code != "unauthorized" || reason != "revoked" {
				t.Errorf("refused with %q, %q", code, reason)
			}
		}
		same := one.issue("ann", time.Hour) // in the moment of the revocation: it cannot be told
		<-time.After(time.Nanosecond)
		later := one.issue("ann", time.Hour)
		for _, r := range []*rig{one, two} {
			if _, reason := refused(t, r.Server, "/", with(same)); reason != "revoked" {
				t.Errorf("refused for %q", reason)
			}
			c := r.dial(t, later)
			if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", []any{token})); reason != "revoked" {
				t.Errorf("renewal refused for %q", reason)
			}
			if err := c.Call(t.Context(), "auth:renew", []any{later}); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		bob.ExpectNone()
	})
}

func TestRevokeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		w := join(bus)
		r := newRig(t, core.Options{Adapter: w}, auth.Options{})
		c := r.dial(t, r.issue("ann", 0))
		w.err = errors.New("broken")
		if err := r.guard.Revoke(t.Context(), "ann"); !errors.Is(err, w.err) {
			t.Errorf("error %v", err)
		}
		r.closed(t, c, "revoked", auth.ErrRevoked) // here it is done all the same
		if err := r.guard.Revoke(t.Context(), ""); err == nil {
			t.Error("nobody was revoked")
		}
		for _, args := range [][]any{{}, {7, 7}, {"ann", "x"}, {"", 7}} {
			_, ok, err := w.node.HandleServerEvent(t.Context(), &core.ServerEvent{Namespace: "/", Event: "auth:revoke", Args: args})
			if !ok || err == nil {
				t.Errorf("%v: %v, %v", args, ok, err)
			}
		}
	})
}

// A client that is about to connect does not.
func TestRevokeConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		r.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, q *core.Request) error {
				if err := r.guard.Revoke(ctx, "ann"); err != nil {
					t.Error(err)
				}
				return next(ctx, q)
			}
		})
		if code, reason := refused(t, r.Server, "/", with(r.issue("ann", 0))); code != "unauthorized" || reason != "revoked" {
			t.Errorf("refused with %q, %q", code, reason)
		}
	})
}

// One that has connected, but of which the guard has not been told, is closed.
func TestRevokeConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		r := &rig{Server: srv, book: new(book), gone: make(chan error, 1)}
		srv.Observe(core.Hooks{Connected: func(*core.Socket) { _ = r.guard.Revoke(context.Background(), "ann") }})
		var err error
		if r.guard, err = auth.New(srv, auth.Options{Verify: r.verify}); err != nil {
			t.Fatal(err)
		}
		srv.Use(r.guard.Middleware)
		srv.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { r.gone <- cause })
		token := r.issue("ann", 0)
		var trying sync.WaitGroup
		trying.Go(func() { upshifttest.Dial(tolerant{t}, srv, "/", with(token)) })
		if cause := <-r.gone; !errors.Is(cause, auth.ErrRevoked) {
			t.Errorf("cause %v", cause)
		}
		trying.Wait()
	})
}

// What is remembered is bounded, and to forget lets nobody back in.
func TestRevocationsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{MaxRevocations: 100, TokenLife: time.Hour})
		ann, old := r.issue("ann", 0), r.issue("old", 0)
		r.on("undated", func(context.Context) (auth.Identity, error) { return auth.Identity{Subject: "undated"}, nil })
		r.on("nobody", func(context.Context) (auth.Identity, error) { return auth.Identity{}, nil })
		revoke := func(subject string) {
			t.Helper()
			if err := r.guard.Revoke(t.Context(), subject); err != nil {
				t.Fatal(err)
			}
		}
		want := func(token, reason string) {
			t.Helper()
			if _, got := refused(t, r.Server, "/", with(token)); got != reason {
				t.Errorf("%s refused for %q, want %q", token, got, reason)
			}
		}
		<-time.After(time.Second)
		revoke("ann")
		r.dial(t, old) // older than the revocation, which is somebody else's
		r.dial(t, "undated")
		<-time.After(time.Second)
		between := r.issue("between", 0)
		<-time.After(time.Second)
		for i := range 100 {
			revoke(strconv.Itoa(i))
			revoke(strconv.Itoa(i)) // counts once
		}
		if n := r.guard.Remembered(); n != 100 {
			t.Errorf("%d revocations are remembered", n)
		}
		want(ann, "revoked")
		want(old, "revoked")
		want("undated", "revoked")
		r.dial(t, between)
		r.dial(t, "nobody")

		// An hour later they are of no use, and tokens of that age neither.
		<-time.After(time.Hour)
		r.dial(t, r.issue("7", 0))
		if n := r.guard.Remembered(); n != 0 {
			t.Errorf("%d revocations are remembered", n)
		}
		want(between, "revoked")
		want(ann, "revoked")
		r.dial(t, "undated")

		for i := range 100_000 {
			revoke(strconv.Itoa(i))
		}
		if n := r.guard.Remembered(); n != 100 {
			t.Errorf("%d revocations are remembered", n)
		}
	})
}

// The later of two revocations counts, in whatever order they are heard of.
func TestRevokedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		w := join(bus)
		r := newRig(t, core.Options{Adapter: w}, auth.Options{})
		early := time.Now()
		<-time.After(time.Second)
		token := r.issue("ann", 0)
		<-time.After(time.Second)
		for _, at := range []time.Time{time.Now(), early} {
			e := &core.ServerEvent{Namespace: "/", Event: "auth:revoke", Args: []any{"ann", at.UnixMicro()}}
			if _, _, err := w.node.HandleServerEvent(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if _, reason := refused(t, r.Server, "/", with(token)); reason != "revoked" {
			t.Errorf("refused for %q", reason)
		}
	})
}

// Sockets of one subject come and go in any order.
func TestMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		token := r.issue("ann", 0)
		for _, order := range []string{"012", "210", "102", "120", "021", "201"} {
			clients := []*upshifttest.Client{r.dial(t, token), r.dial(t, token), r.dial(t, token)}
			for i, which := range strings.Split(order, "") {
				clients[which[0]-'0'].Close()
				r.left(t)
				synctest.Wait()
				if n := r.guard.Members(); n != 2-i {
					t.Errorf("%s: %d members after %d have left", order, n, i+1)
				}
			}
		}
	})
}
