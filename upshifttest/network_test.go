package upshifttest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/upshifttest"
)

var tick = event.New[int, event.None]("tick")

// bubble runs a test on a server with recovery, in a bubble.
func bubble(t *testing.T, test func(t *testing.T, srv *core.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}}))
	})
}

// ticks emits events numbered from first to last.
func ticks(t *testing.T, to event.Emitter, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := tick.Emit(t.Context(), to, i); err != nil {
			t.Fatal(err)
		}
	}
}

// expectTicks takes the same events.
func expectTicks(c *upshifttest.Client, first, last int) {
	for i := first; i <= last; i++ {
		c.Expect("tick", i)
	}
}

// reasons collects why the sockets of a namespace have left.
func reasons(ns *core.Namespace) <-chan core.Reason {
	all := make(chan core.Reason, 16)
	ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { all <- core.ReasonOf(cause) })
	return all
}

// Each fault comes between numbered events; then the client comes back, and
// gets what it has missed.
func TestFaultAndRecovery(t *testing.T) {
	for name, fault := range map[string]struct {
		fail   func(c *upshifttest.Client)
		client string
		server core.Reason
	}{
		"cut":            {func(c *upshifttest.Client) { c.Cut() }, "transport error", core.TransportError},
		"cut after five": {func(c *upshifttest.Client) { c.CutAfterReceived(5) }, "transport error", core.TransportError},
		"vanish":         {func(c *upshifttest.Client) { c.Vanish() }, "ping timeout", core.PingTimeout},
		"close":          {func(c *upshifttest.Client) { c.Close() }, "forced close", core.TransportClose},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, srv *core.Server) {
				ns := srv.Of("/chat")
				left := reasons(ns)
				ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
				id := ann.ID()
				ticks(t, ns, 1, 10)
				expectTicks(ann, 1, 10)
				fault.fail(ann)
				ticks(t, ns, 11, 20)
				if got := <-left; got != fault.server {
					t.Errorf("the server was told %q, want %q", got, fault.server)
				}
				if got := ann.WaitDisconnect(); got != fault.client {
					t.Errorf("the client was told %q, want %q", got, fault.client)
				}
				ticks(t, ns, 21, 30)
				<-time.After(time.Minute)
				ann.Reconnect()
				if !ann.Recovered() || ann.ID() != id {
					t.Errorf("not recovered: id %q, was %q", ann.ID(), id)
				}
				ticks(t, ns, 31, 40)
				expectTicks(ann, 11, 40)
				synctest.Wait()
				ann.ExpectNone()
			})
		})
	}
}

// n messages arrive, and no more.
func TestCutAfter(t *testing.T) {
	bubble(t, func(t *testing.T, srv *core.Server) {
		ns := srv.Of("/")
		var got []int
		core.OnEvent(ns, tick, func(_ context.Context, _ *core.Socket, i int) (core.None, error) {
			got = append(got, i)
			return core.None{}, nil
		})
		left := reasons(ns)
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		ann.CutAfterSent(3)
		for i := 1; i <= 5; i++ { // the last may notice
			if err := tick.Emit(t.Context(), ann, i); err != nil && !errors.Is(err, core.ErrDisconnected) {
				t.Error(err)
			}
		}
		if reason := <-left; reason != core.TransportError || !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("server received %v, and was told %q", got, reason)
		}
		if err := tick.Emit(t.Context(), ann, 6); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("error %v", err)
		}

		ann.Reconnect()
		ann.CutAfterReceived(2)
		ticks(t, ns, 1, 5)
		<-left
		if events := ann.Pending(); len(events) != 2 || ann.WaitDisconnect() != "transport error" {
			t.Errorf("client received %v", events)
		}
		ann.CutAfterReceived(1)
		ann.CutAfterReceived(0)
		ann.Reconnect() // would be cut in the middle
		expectTicks(ann, 3, 5)
	})
}

// A client that comes back before the server has missed it.
func TestReconnectEarly(t *testing.T) {
	for name, fail := range map[string]func(c *upshifttest.Client){
		"alive":  func(*upshifttest.Client) {},
		"vanish": func(c *upshifttest.Client) { c.Vanish() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, srv *core.Server) {
				ns := srv.Of("/chat")
				ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
				other := ann.Join("/", nil)
				ticks(t, ns, 1, 1)
				ann.Expect("tick", 1)
				fail(ann)
				ticks(t, ns, 2, 3)
				ann.Reconnect()
				if !ann.Recovered() {
					t.Error("not recovered")
				}
				expectTicks(ann, 2, 3)
				if err := srv.Of("/").Emit(t.Context(), "hello"); err != nil {
					t.Fatal(err)
				}
				other.Expect("hello") // has come back, too
				<-time.After(2 * time.Minute)
				ticks(t, ns, 4, 4)
				ann.Expect("tick", 4)
				if srv.Sessions() != 1 {
					t.Errorf("%d sessions", srv.Sessions())
				}
			})
		})
	}
}

// Too late: a client that comes back after the window starts afresh.
func TestReconnectLate(t *testing.T) {
	bubble(t, func(t *testing.T, srv *core.Server) {
		ns := srv.Of("/")
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		id := ann.ID()
		ticks(t, ns, 1, 1)
		ann.Expect("tick", 1)
		ann.Cut()
		<-time.After(5 * time.Minute)
		ann.SetAuth(map[string]string{"token": "x"})
		ann.Reconnect()
		var auth struct{ Token, Pid string }
		if err := ns.Socket(ann.ID()).Auth(&auth); err != nil || auth.Token != "x" || auth.Pid == "" {
			t.Errorf("auth %v, %v", auth, err)
		}
		if ann.Recovered() || ann.ID() == id {
			t.Error("recovered")
		}
	})
}

// Everything takes its time, both ways, and keeps its order when that changes.
func TestDelay(t *testing.T) {
	bubble(t, func(t *testing.T, srv *core.Server) {
		ns := srv.Of("/")
		core.On(ns, "echo", func(_ context.Context, _ *core.Socket, i int) (int, error) { return i, nil })
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		ann.Delay(3 * time.Second)
		start := time.Now()
		var got int
		if err := ann.Call(t.Context(), "echo", []any{7}, &got); err != nil || got != 7 {
			t.Errorf("answered %d, %v", got, err)
		}
		if took := time.Since(start); took != 6*time.Second {
			t.Errorf("took %s", took)
		}
		ticks(t, ns, 1, 2)
		synctest.Wait()
		ann.ExpectNone()
		ann.Delay(0)
		ticks(t, ns, 3, 3)
		expectTicks(ann, 1, 3)
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("took %s", took)
		}
		<-time.After(time.Hour) // heartbeats go on
		ann.Delay(time.Second)
		<-time.After(time.Hour)
		if srv.Sessions() != 1 {
			t.Error("the session has ended")
		}
	})
}

// What a stalled client has not read is read when it goes on.
func TestStall(t *testing.T) {
	bubble(t, func(t *testing.T, srv *core.Server) {
		ns := srv.Of("/")
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		ann.Stall()
		ticks(t, ns, 1, 3)
		synctest.Wait()
		ann.ExpectNone()
		ann.Resume()
		expectTicks(ann, 1, 3)
		ann.Stall()
		ticks(t, ns, 4, 4)
		ann.WaitDisconnect() // heartbeats are not answered
		ann.Reconnect()
		if !ann.Recovered() {
			t.Error("not recovered")
		}
		ticks(t, ns, 5, 5)
		expectTicks(ann, 4, 5)
	})
}
