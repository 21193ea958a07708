package interop

import (
	"context"
	"slices"
	"testing"

	"github.com/upshift-go/upshift/core"
)

// The client takes the last argument of whatever it receives for its place in
// the log if it is a string, and the name of an event if that is all there is.
// None of it may keep it from coming back.
func TestRecoveryAfterText(t *testing.T) {
	eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
		a, _ := startRecovering(t, door, set, core.Recovery{})
		ns := a.server.Of("/")
		ns.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if r.Connect() {
					if err := r.Socket.Emit(ctx, "welcome", "text"); err != nil {
						return err
					}
				}
				return next(ctx, r)
			}
		})
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, eager(way, nil), nil)
		first := c.event(t, "connect")
		settle(t, c, way)
		s := ns.Socket(first.SID)
		answer := func(ask report) {
			n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": ask.Ack, "args": []any{"text"}}))
		}
		for _, last := range []struct {
			name string
			send func(t *testing.T)
		}{
			// It was sent one before it was connected.
			{"welcome", func(*testing.T) {}},
			{"event", func(t *testing.T) { mustEmit(t, s, "event", 1, "text") }},
			{"direct volatile", func(t *testing.T) { mustEmit(t, ns.Socket(first.SID).Self().Volatile(), "direct volatile", "text") }},
			{"event to all", func(t *testing.T) { mustEmit(t, ns, "event to all", "text") }},
			{"volatile", func(t *testing.T) { mustEmit(t, ns.To().Volatile(), "volatile", 1, "text") }},
			{"volatile without arguments", func(t *testing.T) { mustEmit(t, ns.To().Volatile(), "volatile without arguments") }},
			{"call", func(t *testing.T) {
				done := make(chan any, 1)
				go func() { done <- a.call(t, "/", first.SID, "call", "text") }()
				ask := c.message(t, "call")
				c.add(ask) // it is looked for below
				answer(ask)
				<-done
			}},
			{"call to all", func(t *testing.T) {
				done := make(chan error, 1)
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					var failed error
					for _, err := range ns.To().CallAll(ctx, "call to all", []any{"text"}) {
						failed = err
					}
					done <- failed
				}()
				ask := c.message(t, "call to all")
				c.add(ask)
				answer(ask)
				if err := <-done; err != nil {
					t.Error(err)
				}
			}},
		} {
			for len(c.take(isMessage(last.name))) == 0 { // a volatile event may be too early for a poll
				awaitPoll(t, wire, c)
				last.send(t)
				c.call(t, "echo", nil)
			}
			awaitPoll(t, wire, c)
			wire.snap(false)
			mustEmit(t, s, "missed", last.name)
			back := c.event(t, "connect")
			if !back.Recovered || back.SID != first.SID {
				t.Fatalf("after %q the client is back as %+v, was %s", last.name, back, first.SID)
			}
			if got := withoutOffset(t, c.message(t, "missed")); got.Args[0] != last.name {
				t.Errorf("after %q: %+v", last.name, got)
			}
			settle(t, c, way)
		}
		c.call(t, "echo", nil)
		if extra := c.take(func(r report) bool { return r.Event == "message" }); len(extra) > 0 {
			t.Errorf("too many: %+v", extra)
		}
	})
}

func mustEmit(t *testing.T, to interface {
	Emit(ctx context.Context, event string, args ...any) error
}, name string, args ...any,
) {
	t.Helper()
	if err := to.Emit(t.Context(), name, args...); err != nil {
		t.Errorf("emit %s: %v", name, err)
	}
}

// The client keeps its place in the log when it starts afresh, as after a
// restart of the server. Until it is sent something it comes back with a place
// in a log that is no more.
func TestRecoveryAfterARestart(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, _ := startRecovering(t, door, settings{}, core.Recovery{})
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, eager(way, nil), nil)
		sid := c.event(t, "connect").SID
		settle(t, c, way)
		mustEmit(t, a.server.Of("/").Socket(sid), "before")
		c.message(t, "before")
		a.shutdown(t)
		wire.aim(nowhere) // the port may be another's by now
		c.event(t, "disconnect")

		b := startApp(t, door, settings{options: func(o *core.Options) { o.Recovery = &core.Recovery{} }})
		wire.aim(b.addr)
		fresh := c.event(t, "connect")
		if fresh.Recovered || fresh.SID == sid {
			t.Errorf("client is back as %+v, was %s at another server", fresh, sid)
		}
		settle(t, c, way)
		s := b.server.Of("/").Socket(fresh.SID)
		awaitPoll(t, wire, c)
		wire.snap(false)
		mustEmit(t, s, "missed")
		back := c.event(t, "connect")
		if !back.Recovered || back.SID != fresh.SID {
			t.Errorf("client is back as %+v, was %s", back, fresh.SID)
		}
		c.message(t, "missed")
	})
}

// A client whose connection breaks again while it is given what it has missed
// keeps what has come by then, and keeps the same events again when it is given
// them again: it does not count what it has kept. The official client clears
// nothing by itself; a program that must not see an event twice empties
// socket.receiveBuffer when it is disconnected.
func TestRecoveryInterrupted(t *testing.T) {
	const events = 40
	text := string(slices.Repeat([]byte("x"), 1000))
	for _, clean := range []bool{true, false} {
		name := "receiveBuffer is emptied"
		if !clean {
			name = "receiveBuffer is left alone"
		}
		t.Run(name, func(t *testing.T) {
			n := startNode(t)
			a, _ := startRecovering(t, "nethttp", settings{}, core.Recovery{})
			p := startProxy(t, a.addr, 0, func(n int) fault {
				if n == 1 {
					return fault{up: unlimited, down: events * len(text) / 2, cut: true}
				}
				return healthy
			})
			// Not back before all events are in the log.
			more := map[string]any{"reconnectionDelay": 2000, "reconnectionDelayMax": 2000, "randomizationFactor": 0}
			c := n.open(t, "a", p.url, eager(routes[1], more), map[string]any{"clean": clean})
			first := c.event(t, "connect")
			s := a.server.Of("/").Socket(first.SID)
			mustEmit(t, s, "event", -1, text)
			p.conns.snap()
			c.event(t, "disconnect")
			for i := range events {
				mustEmit(t, s, "event", i, text)
			}
			back := c.event(t, "connect")
			if !back.Recovered || back.SID != first.SID {
				t.Fatalf("client is back as %+v, was %s", back, first.SID)
			}
			c.call(t, "echo", nil)
			counts := make([]int, events+1)
			for _, r := range c.take(isMessage("event")) {
				counts[int(r.Args[0].(float64))+1]++
			}
			once := slices.Repeat([]int{1}, events+1)
			if clean && !slices.Equal(counts, once) {
				t.Errorf("events came %v times", counts)
			}
			if !clean && (slices.Min(counts) < 1 || slices.Max(counts) < 2) {
				t.Errorf("events came %v times: the client has changed, this advice is not needed any more", counts)
			}
		})
	}
}
