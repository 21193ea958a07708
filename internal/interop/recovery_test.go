package interop

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
)

// startRecovering starts an app with recovery on and a short heartbeat. Its
// sockets have a value, which is the name of their client.
func startRecovering(t *testing.T, door string, set settings, o core.Recovery) (*app, *core.Key[string]) {
	t.Helper()
	set.pingInterval, set.pingTimeout = time.Second, 4*time.Second
	set.options = func(options *core.Options) { options.Recovery = &o }
	a := startApp(t, door, set)
	value := core.NewKey[string]("name")
	a.server.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
		if !s.Recovered() {
			value.Set(s, nameOf(s))
		}
		return nil
	})
	return a, value
}

// eager are options of a client that is back soon.
func eager(way route, more map[string]any) map[string]any {
	options := map[string]any{"reconnectionDelay": 20, "reconnectionDelayMax": 100, "auth": map[string]any{"name": "ann"}}
	maps.Copy(options, way.options)
	maps.Copy(options, more)
	return options
}

// A heard is an event at a client.
type heard struct {
	Name string
	Args []any
}

// hear takes out what has come to a client, and checks that it carries offsets
// unless it is volatile. Between the events it says where the client noticed
// that it was disconnected or connected.
func hear(t *testing.T, c *client) (all []heard) {
	t.Helper()
	for _, r := range c.take(func(r report) bool { return r.Event != "upgrade" }) {
		switch {
		case r.Event == "connect", r.Event == "disconnect":
			all = append(all, heard{Name: r.Event})
		case r.Event == "message" && r.Name == "volatile":
			all = append(all, heard{Name: r.Name})
		case r.Event == "message":
			all = append(all, withoutOffset(t, r))
		}
	}
	return all
}

// but leaves out events by their names.
func but(all []heard, names ...string) []heard {
	return slices.DeleteFunc(all, func(h heard) bool { return slices.Contains(names, h.Name) })
}

func withoutOffset(t *testing.T, r report) heard {
	t.Helper()
	last := len(r.Args) - 1
	if last < 0 {
		t.Fatalf("%+v has no offset", r)
	}
	if offset, ok := r.Args[last].(string); !ok || len(offset) != 10 {
		t.Fatalf("%+v has no offset", r)
	}
	return heard{r.Name, append([]any(nil), r.Args[:last]...)}
}

// sendAll sends events of all kinds, of which those that are returned are for
// s. It may have left already.
func sendAll(t *testing.T, a *app, s *core.Socket, n int) []heard {
	t.Helper()
	ns := a.server.Of("/")
	number := float64(n)
	data := []byte{byte(n), 0, 1, 255}
	var want []heard
	for _, e := range []struct {
		to interface {
			Emit(ctx context.Context, event string, args ...any) error
		}
		name string
		args []any
		lost bool // not for s
	}{
		{to: ns, name: "all", args: []any{number, "text"}},
		{to: ns.To("red"), name: "room", args: []any{number}},
		{to: ns.To("blue"), name: "another room", args: []any{number}, lost: true},
		{to: s, name: "direct", args: []any{"text"}},
		{to: ns.To(s.ID()), name: "by id", args: []any{map[string]any{"n": number}}},
		{to: ns, name: "binary to all", args: []any{data, map[string]any{"data": data}}},
		{to: ns.To().Volatile(), name: "volatile", args: []any{number}, lost: true},
		{to: s.Self().Volatile(), name: "volatile", args: []any{data}, lost: true},
		{to: ns.Except("red"), name: "except", args: []any{number}, lost: true},
		{to: s.Broadcast(), name: "own", args: []any{number}, lost: true},
		{to: ns.To("red", "blue").To(s.ID()), name: "union", args: nil},
		{to: s, name: "binary", args: []any{data}},
		{to: ns.To("red").Compress(false), name: "last", args: []any{nil}},
	} {
		err := e.to.Emit(t.Context(), e.name, e.args...)
		if err != nil && (e.name != "volatile" || !errors.Is(err, core.ErrDisconnected)) {
			t.Errorf("emit %s: %v", e.name, err)
		}
		if !e.lost {
			want = append(want, heard{e.name, append([]any(nil), e.args...)})
		}
	}
	return want
}

// A client that has lost its connection comes back to its id, rooms and values
// and is given what it has missed, once and in order, before it is told that it
// is connected: also what was sent before anybody had noticed, and also if it
// had never been sent anything (C49, C50).
func TestRecovery(t *testing.T) {
	for _, loss := range []struct {
		name string
		act  func(l *link)
	}{
		{"network is cut", (*link).cut},
		{"connection is reset", (*link).reset},
		{"network goes dead", (*link).die},
	} {
		t.Run(loss.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
				a, value := startRecovering(t, door, set, core.Recovery{})
				wire := startLink(t, a.addr)
				c := n.open(t, "a", wire.url, eager(way, nil), nil)
				first := c.event(t, "connect")
				if first.Recovered {
					t.Error("recovered the first time")
				}
				settle(t, c, way)
				c.call(t, "join", "red")
				for round := range 2 { // it has heard nothing before the first
					s := a.server.Of("/").Socket(first.SID)
					isGone := func(s served) bool { return s.Kind == "disconnect" }
					a.take(func(served) bool { return true })
					hear(t, c)
					awaitPoll(t, wire, c)

					loss.act(wire)
					want := sendAll(t, a, s, 2*round)
					gone := a.await(t, "disconnect at the server", isGone)
					if gone.ID != first.SID {
						t.Errorf("disconnected: %+v", gone)
					}
					want = append(want, sendAll(t, a, s, 2*round+1)...)
					c.seen(t, 1, "disconnect of the client", func(r report) bool { return r.Event == "disconnect" })
					wire.mend()

					back := c.await(t, "connect", func(r report) bool { return r.Event == "connect" })
					if !back.Recovered || back.SID != first.SID {
						t.Fatalf("client is back as %+v, was %s", back, first.SID)
					}
					connected := a.await(t, "connect at the server", func(s served) bool { return s.Kind == "connect" })
					if !connected.Recovered || connected.ID != first.SID {
						t.Errorf("the app was told: %+v", connected)
					}
					c.call(t, "echo", nil) // whatever comes too often would come before
					want = append([]heard{{Name: "disconnect"}}, want...)
					if d := diff(want, hear(t, c)); d != "" {
						t.Errorf("missed events (-want +got):\n%s", d)
					}
					again := a.server.Of("/").Socket(first.SID)
					if again == nil || again == s || !again.Recovered() {
						t.Fatalf("socket %v", again)
					}
					if got, _ := value.Get(again); got != "ann" {
						t.Errorf("value is %q", got)
					}
					// And on it goes, also for those who know the old socket.
					settle(t, c, way)
					want = sendAll(t, a, s, 9)
					c.seen(t, 1, "last event", isMessage("last"))
					if d := diff(want, but(hear(t, c), "volatile")); d != "" {
						t.Errorf("later events (-want +got):\n%s", d)
					}
				}
				if stats := a.server.Stats(); stats.Recovered != 2 || stats.RecoveryFailed != 0 {
					t.Errorf("stats %+v", stats)
				}
			})
		})
	}
}

// A process that is stopped for so long that its heartbeat is missed finds
// everything as it was when it goes on.
func TestRecoveryOfAPausedProcess(t *testing.T) {
	n := startNode(t)
	type pausedClient struct {
		name   string
		way    route
		app    *app
		client *client
		socket *core.Socket
		want   []heard
	}
	all := make([]*pausedClient, 0, len(doors)*len(routes))
	for _, door := range doors {
		for _, way := range routes {
			a, _ := startRecovering(t, door, settings{}, core.Recovery{})
			wire := startLink(t, a.addr)
			c := n.open(t, door+" "+way.name, wire.url, eager(way, nil), nil)
			p := &pausedClient{name: door + "/" + way.name, way: way, app: a, client: c}
			p.socket = a.server.Of("/").Socket(c.event(t, "connect").SID)
			settle(t, c, way)
			c.call(t, "join", "red")
			all = append(all, p)
		}
	}
	n.pause(t)
	for _, p := range all {
		p.want = sendAll(t, p.app, p.socket, 0)
	}
	for _, p := range all {
		gone := p.app.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
		if gone.Reason != "ping timeout" {
			t.Errorf("%s: %+v", p.name, gone)
		}
		p.want = append(p.want, sendAll(t, p.app, p.socket, 1)...)
	}
	n.resume(t)
	for _, p := range all {
		c := p.client
		back := c.event(t, "connect")
		if !back.Recovered || back.SID != p.socket.ID() {
			t.Errorf("%s: client is back as %+v, was %s", p.name, back, p.socket.ID())
		}
		c.call(t, "echo", nil)
		// What was on the way to the process may still arrive before it sees
		// the end, volatile events among it.
		if d := diff(p.want, but(hear(t, c), "volatile", "disconnect")); d != "" {
			t.Errorf("%s: missed events (-want +got):\n%s", p.name, d)
		}
	}
}

// A client that notices the loss before the server does takes its place over.
func TestRecoveryOfALossThatTheServerDoesNotNotice(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, _ := startRecovering(t, door, settings{}, core.Recovery{})
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, eager(way, nil), nil)
		sid := c.event(t, "connect").SID
		settle(t, c, way)
		c.call(t, "join", "red")
		s := a.server.Of("/").Socket(sid)
		awaitPoll(t, wire, c)
		wire.vanish()
		want := sendAll(t, a, s, 0)
		back := c.event(t, "connect")
		if !back.Recovered || back.SID != sid {
			t.Fatalf("client is back as %+v, was %s", back, sid)
		}
		gone := a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
		if gone.Reason != "transport close" {
			t.Errorf("disconnected: %+v", gone)
		}
		settle(t, c, way)
		want = append(want, sendAll(t, a, s, 1)...)
		c.seen(t, 2, "last event", isMessage("last"))
		if d := diff(want, but(hear(t, c), "volatile", "disconnect")); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
	})
}

// Losses of all kinds while numbers go both ways, and to the client also by a
// room and directly.
func TestRecoveryAgainAndAgain(t *testing.T) {
	const losses, gap = 6, 40
	eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
		a, _ := startRecovering(t, door, set, core.Recovery{})
		ns := a.server.Of("/")
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, eager(way, nil), nil)
		sid := c.event(t, "connect").SID
		settle(t, c, way)
		c.call(t, "join", "red")
		s := ns.Socket(sid)
		sent := 0
		send := func() {
			for range gap {
				var err error
				switch sent % 3 {
				case 0:
					err = ns.Emit(t.Context(), "n", sent)
				case 1:
					err = ns.To("red").Emit(t.Context(), "n", sent, []byte{1, 2, 3})
				default:
					err = s.Emit(t.Context(), "n", sent)
				}
				if err != nil {
					t.Errorf("emit %d: %v", sent, err)
				}
				sent++
			}
		}
		for i := range losses {
			send()
			awaitPoll(t, wire, c)
			switch i % 3 {
			case 0:
				wire.snap(false)
			case 1:
				wire.snap(true)
			default:
				wire.vanish()
			}
			send()
			back := c.event(t, "connect")
			if !back.Recovered || back.SID != sid {
				t.Fatalf("client is back as %+v, was %s", back, sid)
			}
			settle(t, c, way)
		}
		send()
		for i, r := range c.messages(t, "n", sent) {
			if got := withoutOffset(t, r).Args[0]; got != float64(i) {
				t.Fatalf("number %d is %v", i, got)
			}
		}
		c.call(t, "echo", nil)
		if extra := c.take(isMessage("n")); len(extra) > 0 {
			t.Errorf("too many: %+v", extra)
		}
	})
}

// Who comes back too late starts afresh, with an id of its own and without its
// rooms, and the app is told so (C52).
func TestRecoveryExpired(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, value := startRecovering(t, door, settings{}, core.Recovery{Window: time.Millisecond})
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, eager(way, nil), nil)
		sid := c.event(t, "connect").SID
		settle(t, c, way)
		c.call(t, "join", "red")
		s := a.server.Of("/").Socket(sid)
		a.take(func(served) bool { return true })
		awaitPoll(t, wire, c)
		wire.cut()
		a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
		// There are 10 ms between two attempts to connect, at least.
		isAny := func(struct{}) bool { return true }
		wire.refused.take(isAny)
		wire.refused.seen(t, 2, "attempts to connect", isAny)
		if err := a.server.Of("/").Emit(t.Context(), "missed"); err != nil {
			t.Error(err)
		}
		wire.mend()
		back := c.event(t, "connect")
		if back.Recovered || back.SID == sid {
			t.Errorf("client is back as %+v, was %s", back, sid)
		}
		connected := a.await(t, "connect at the server", func(s served) bool { return s.Kind == "connect" })
		if connected.Recovered || connected.ID != back.SID {
			t.Errorf("the app was told: %+v", connected)
		}
		if rooms := a.server.Of("/").Socket(back.SID).Rooms(); !slices.Equal(rooms, []string{back.SID}) {
			t.Errorf("rooms %v", rooms)
		}
		if got, _ := value.Get(a.server.Of("/").Socket(back.SID)); got != "ann" {
			t.Errorf("value is %q: OnConnect has not set it anew", got)
		}
		if err := s.Emit(t.Context(), "to the old socket"); err == nil {
			t.Error("an event for a client that cannot come back was accepted")
		}
		if err := a.server.Of("/").Emit(t.Context(), "live"); err != nil {
			t.Error(err)
		}
		c.message(t, "live")
		if got := c.take(func(r report) bool { return r.Event == "message" }); len(got) > 0 {
			t.Errorf("events of the time between: %+v", got)
		}
		if stats := a.server.Stats(); stats.Recovered != 0 || stats.RecoveryFailed == 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

// Who was sent away, or has left, is not expected back.
func TestNoRecoveryAfterDisconnect(t *testing.T) {
	for _, end := range []struct {
		name string
		act  func(t *testing.T, a *app, c *client, sid string)
	}{
		{"by the client", func(t *testing.T, _ *app, c *client, _ string) { c.do(t, "disconnect", nil) }},
		{"by the server", func(t *testing.T, a *app, _ *client, sid string) { a.disconnect(t, "/", sid) }},
		{"of the session by the server", func(t *testing.T, a *app, _ *client, sid string) {
			if s := a.socket(t, "/", sid); s != nil {
				s.CloseSession()
			}
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachRoute(t, func(t *testing.T, n *node, door string, way route) {
				a, _ := startRecovering(t, door, settings{}, core.Recovery{})
				c := n.open(t, "a", a.url, eager(way, nil), nil)
				sid := c.event(t, "connect").SID
				settle(t, c, way)
				c.call(t, "join", "red")
				s := a.server.Of("/").Socket(sid)
				if err := s.Emit(t.Context(), "before"); err != nil {
					t.Error(err)
				}
				c.message(t, "before")
				end.act(t, a, c, sid)
				c.event(t, "disconnect")
				a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
				if err := s.Emit(t.Context(), "after"); err == nil {
					t.Error("an event for a client that is not expected back was accepted")
				}
				c.do(t, "connect", nil)
				back := c.event(t, "connect")
				if back.Recovered || back.SID == sid {
					t.Errorf("client is back as %+v, was %s", back, sid)
				}
				if stats := a.server.Stats(); stats.Recovered != 0 || stats.RecoveryFailed != 1 {
					t.Errorf("stats %+v", stats)
				}
			})
		})
	}
}
