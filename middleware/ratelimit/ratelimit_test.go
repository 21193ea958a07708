package ratelimit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/ratelimit"
	"github.com/upshift-go/upshift/upshifttest"
)

// A site counts what gets through to its handlers.
type site struct {
	*core.Server
	t       *testing.T
	handled atomic.Int32
	causes  chan error // why sockets have left
}

func newSite(t *testing.T, limits ...ratelimit.Options) *site {
	t.Helper()
	s := &site{Server: upshifttest.NewServer(t, core.Options{}), t: t, causes: make(chan error, 100)}
	for _, o := range limits {
		s.Use(ratelimit.New(o))
	}
	ns := s.Of("/")
	ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { s.causes <- cause })
	for _, event := range []string{"x", "y"} {
		core.On(ns, event, func(context.Context, *core.Socket, string) (bool, error) { s.handled.Add(1); return true, nil })
	}
	return s
}

func (s *site) dial() *upshifttest.Client {
	return upshifttest.Dial(s.t, s.Server, "/", upshifttest.Options{})
}

// asked returns how many of n calls pass, and the last refusal.
func (s *site) asked(c *upshifttest.Client, n int, event, arg string) (passed int, refusal *core.Error) {
	s.t.Helper()
	for range n {
		err := c.Call(s.t.Context(), event, []any{arg})
		told, ok := errors.AsType[*core.Error](err)
		switch {
		case err == nil:
			passed++
		case ok && told.Code == ratelimit.Code:
			refusal = told
		default:
			s.t.Error(err)
		}
	}
	return passed, refusal
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 2, Burst: 5})
		ann, ben := s.dial(), s.dial()
		passed, refusal := s.asked(ann, 8, "x", "")
		if passed != 5 || s.handled.Load() != 5 || refusal == nil {
			t.Fatalf("%d passed, %d handled, refused with %v", passed, s.handled.Load(), refusal)
		}
		if data, ok := refusal.Data.(map[string]any); !ok || data["retryAfter"] != 501.0 {
			t.Errorf("data of the refusal: %v", refusal.Data)
		}
		if passed, _ := s.asked(ben, 8, "y", ""); passed != 5 { // has a limit of its own
			t.Errorf("another socket: %d", passed)
		}
		<-time.After(501 * time.Millisecond) // as it was told
		if passed, _ := s.asked(ann, 8, "x", ""); passed != 1 {
			t.Errorf("later: %d", passed)
		}
		<-time.After(time.Hour)
		if passed, _ := s.asked(ann, 8, "x", ""); passed != 5 {
			t.Errorf("much later: %d", passed)
		}
	})
}

func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 1000, Burst: 3000, Unit: ratelimit.Bytes})
		c := s.dial()
		kilo := strings.Repeat("x", 998) // with the quotes
		if passed, _ := s.asked(c, 5, "x", kilo); passed != 3 {
			t.Errorf("%d passed", passed)
		}
		<-time.After(time.Second)
		if passed, _ := s.asked(c, 5, "x", kilo); passed != 1 {
			t.Errorf("later: %d", passed)
		}
		<-time.After(time.Hour)
		passed, refusal := s.asked(c, 1, "x", strings.Repeat("x", 3001))
		if passed != 0 || refusal.Data != nil {
			t.Errorf("more than ever passes: %d, %+v", passed, refusal)
		}
	})
}

func TestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 0.001, Burst: 2, Key: ratelimit.SocketEvent})
		c := s.dial()
		for _, event := range []string{"x", "y"} {
			if passed, _ := s.asked(c, 4, event, ""); passed != 2 {
				t.Errorf("%s: %d passed", event, passed)
			}
		}
		all := newSite(t, ratelimit.Options{Rate: 0.001, Burst: 3, Key: func(*core.Request) string { return "all" }})
		one, _ := all.asked(all.dial(), 2, "x", "")
		two, _ := all.asked(all.dial(), 2, "x", "")
		if one+two != 3 {
			t.Errorf("of all together %d and %d passed", one, two)
		}
	})
}

// A request has to pass all limits.
func TestSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 0.001, Burst: 3}, ratelimit.Options{Rate: 0.001, Burst: 2, Key: ratelimit.SocketEvent})
		c := s.dial()
		x, _ := s.asked(c, 2, "x", "")
		y, _ := s.asked(c, 2, "y", "")
		if x != 2 || y != 1 {
			t.Errorf("%d and %d passed", x, y)
		}
	})
}

func TestConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 1, Burst: 3, Unit: ratelimit.Connects})
		for range 3 {
			s.dial()
		}
		err := upshifttest.Refused(t, s.Server, "/", upshifttest.Options{})
		if refused, ok := errors.AsType[*upshifttest.ConnectError](err); !ok || !strings.Contains(string(refused.Data.Bytes()), ratelimit.Code) {
			t.Errorf("refused with %#v", err)
		}
		<-time.After(time.Second)
		c := s.dial()
		if passed, _ := s.asked(c, 20, "x", ""); passed != 20 {
			t.Errorf("%d events passed", passed)
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		excesses := 0
		s := newSite(t, ratelimit.Options{
			Rate: 1, Burst: 1, Excess: ratelimit.Delay, MaxDelay: 3 * time.Second,
			OnExcess: func(context.Context, *core.Request) { excesses++ },
		})
		c := s.dial()
		began := time.Now()
		if passed, _ := s.asked(c, 5, "x", ""); passed != 5 || time.Since(began) != 4*time.Second || excesses != 4 {
			t.Errorf("%d passed in %v, %d in excess", passed, time.Since(began), excesses)
		}
		for range 3 {
			if err := c.Emit(t.Context(), "x", ""); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		c.Close() // who leaves does not wait for its turn
		synctest.Wait()
		if n := s.Of("/").Len(); n != 0 || len(s.causes) != 1 {
			t.Errorf("%d sockets, %d have left", n, len(s.causes))
		}
	})
}

// Who would have to wait for too long is refused.
func TestMaxDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{
			Rate: 1, Burst: 1, Excess: ratelimit.Delay, MaxDelay: 2 * time.Second, Key: func(*core.Request) string { return "" },
		})
		results := make(chan int)
		for range 5 {
			c := s.dial()
			go func() { passed, _ := s.asked(c, 1, "x", ""); results <- passed }()
		}
		passed := 0
		for range 5 {
			passed += <-results
		}
		if passed != 3 {
			t.Errorf("%d passed, at once, after 1 s and after 2 s", passed)
		}
	})
}

func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 0.001, Burst: 2, Excess: ratelimit.Drop})
		c := s.dial()
		for range 5 {
			if err := c.Emit(t.Context(), "x", ""); err != nil {
				t.Fatal(err)
			}
		}
		if passed, refusal := s.asked(c, 1, "x", ""); passed != 0 || refusal == nil || s.handled.Load() != 2 {
			t.Errorf("%d handled; who waits for an answer got %v", s.handled.Load(), refusal)
		}
	})
}

func TestDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, ratelimit.Options{Rate: 0.001, Burst: 2, Excess: ratelimit.Disconnect})
		c := s.dial()
		for range 5 {
			_ = c.Emit(t.Context(), "x", "") // the last ones may come after the end
		}
		if reason := c.WaitDisconnect(); reason != "io server disconnect" {
			t.Errorf("reason %q", reason)
		}
		synctest.Wait()
		if cause := <-s.causes; s.handled.Load() != 2 || !errors.Is(cause, ratelimit.ErrExceeded) {
			t.Errorf("%d handled, cause %v", s.handled.Load(), cause)
		}
	})
}

func TestNoRate(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a limit without a rate was made")
		}
	}()
	ratelimit.New(ratelimit.Options{})
}
