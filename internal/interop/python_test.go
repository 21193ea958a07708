package interop

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// startPython starts a process for clients of python-socketio, which share no
// code with the official ones. Debian's interpreter comes first: the packages
// are installed for it.
func startPython(t *testing.T) *node {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(python, "-c", "import socketio, requests, websocket").Run() == nil {
			return startDriver(t, exec.Command(python, "client.py"))
		}
	}
	missing(t, "python-socketio (the Debian packages python3-socketio, python3-requests and python3-websocket)")
	return nil
}

// eachPythonRoute is eachRoute with clients of python-socketio.
func eachPythonRoute(t *testing.T, test func(t *testing.T, p *node, door string, way route)) {
	p := startPython(t)
	for _, door := range doors {
		for _, way := range routes {
			t.Run(door+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				test(t, p, door, way)
			})
		}
	}
}

// settled checks that both sides are where the route ends. There is nothing to
// wait for: this client asks for its namespaces when its upgrade is over.
func settled(t *testing.T, c *client, way route) {
	t.Helper()
	settle(t, c, route{ends: way.ends})
}

func TestPythonValues(t *testing.T) {
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, sid := connect(t, p, "a", a.url, way, nil)
		settled(t, c, way)
		for _, value := range []any{
			"", "plain", "snow ☃ and 🙂", "<&>\u2028", true, nil, -1.5,
			[]any{float64(1), []any{}},
			map[string]any{"☃": []any{nil}},
			[]byte{0, 1, 254, 255},
			map[string]any{"bytes": []any{[]byte("ab"), []byte{}, "cd"}},
		} {
			if d := diff([]any{value}, c.call(t, "echo", value)); d != "" {
				t.Errorf("echo (-sent +received):\n%s", d)
			}
		}
		parcel := map[string]any{
			"label": "all", "body": []byte{0, 255}, "parts": map[string]any{"large": make([]byte, 100_000)},
			"items": []any{map[string]any{"name": "i", "data": []byte("I")}},
		}
		c.emit(t, "parcel", parcel)
		if d := diff([]any{parcel}, c.message(t, "parcel").Args); d != "" {
			t.Errorf("parcel (-sent +received):\n%s", d)
		}

		// Several arguments, to the server and from it.
		c.call(t, "join", "red ☃")
		other, _ := connect(t, p, "b", a.url, way, nil)
		other.emit(t, "say", "red ☃", "hello 🙂")
		if got := c.message(t, "said").Args; !cmp.Equal(got, []any{"hello 🙂"}) {
			t.Errorf("said %v", got)
		}
		several := []any{float64(1), "two 🙂", []byte{3}, map[string]any{"four": []byte{4}}, nil}
		a.emit(t, "/", sid, "several ☃", several...)
		if d := diff(several, c.message(t, "several ☃").Args); d != "" {
			t.Errorf("several (-sent +received):\n%s", d)
		}
	})
}

func TestPythonOrder(t *testing.T) {
	const count = 500
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, _ := connect(t, p, "a", a.url, way, nil)
		c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": count})
		wantNumbers(t, a, c, count)
	})
}

func TestPythonAcks(t *testing.T) {
	type swapped = core.Args2[[]byte, string]
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		core.On(a.server.Of("/"), "swap",
			func(_ context.Context, _ *core.Socket, in core.Args2[string, []byte]) (swapped, error) {
				return swapped{A: in.B, B: in.A}, nil
			})
		c, sid := connect(t, p, "a", a.url, way, nil)

		// Many at once: each gets its own.
		replies := make([]<-chan any, 0, 50)
		for i := range cap(replies) {
			replies = append(replies, c.start(t, "call", map[string]any{"name": "echo", "args": []any{i}}))
		}
		for i, reply := range replies {
			if got := p.wait(t, reply); !cmp.Equal(got, []any{float64(i)}) {
				t.Errorf("ack %d is %v", i, got)
			}
		}
		if d := diff([]any{[]byte("b"), "☃"}, c.call(t, "swap", "☃", []byte("b"))); d != "" {
			t.Errorf("ack of two arguments (-want +got):\n%s", d)
		}
		if got := c.call(t, "join", "red"); len(got) != 0 {
			t.Errorf("ack without arguments is %v", got)
		}
		failure := map[string]any{"error": map[string]any{"code": "no_such_thing", "message": "there is no such thing"}}
		if d := diff([]any{failure}, c.call(t, "fail")); d != "" {
			t.Errorf("ack of a failed event (-want +got):\n%s", d)
		}

		// The client answers with what it was asked.
		var number int
		var text string
		var data []byte
		s := a.socket(t, "/", sid)
		if err := s.Call(t.Context(), "ask", []any{1, "☃", []byte{2}}, &number, &text, &data); err != nil {
			t.Fatal(err)
		}
		if number != 1 || text != "☃" || !slices.Equal(data, []byte{2}) {
			t.Errorf("answered %v %q %v", number, text, data)
		}
		if err := s.Call(t.Context(), "ask nothing", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestPythonNamespaces(t *testing.T) {
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		chat, admin := p.client("chat"), p.client("admin")
		main, mainID := connect(t, p, "main", a.url, withAuth(way, "token", "secret"),
			map[string]any{"others": map[string]any{chat.key: "/chat", admin.key: "/admin"}})
		chatID, adminID := chat.event(t, "connect").SID, admin.event(t, "connect").SID
		if mainID == chatID || mainID == adminID || chatID == adminID {
			t.Errorf("sockets share an id: %s %s %s", mainID, chatID, adminID)
		}
		if n := a.server.Sessions(); n != 1 {
			t.Errorf("%d sessions, want 1", n)
		}
		for i, c := range []*client{main, chat, admin} {
			c.emit(t, "up", i)
			if got := c.message(t, "down").Args; !cmp.Equal(got, []any{float64(i)}) {
				t.Errorf("client %s received %v", c.name, got)
			}
		}

		// One is told to leave, the others stay.
		a.disconnect(t, "/chat", chatID)
		chat.event(t, "disconnect")
		for _, c := range []*client{main, admin} {
			c.call(t, "echo", "still here")
			if extra := c.take(func(r report) bool { return r.Event == "disconnect" || r.Event == "message" }); len(extra) > 0 {
				t.Errorf("client %s: %+v", c.name, extra)
			}
		}
	})
}

func TestPythonRefusal(t *testing.T) {
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		admin, unknown := p.client("admin"), p.client("unknown")
		main, _ := connect(t, p, "main", a.url, withAuth(way, "token", "guess"),
			map[string]any{"others": map[string]any{admin.key: "/admin", unknown.key: "/nowhere"}})
		refused := admin.event(t, "connect_error")
		if refused.Message != "not for you" {
			t.Errorf("message = %q", refused.Message)
		}
		if d := diff(any(map[string]any{"code": "not_for_you"}), refused.Data); d != "" {
			t.Errorf("data (-want +got):\n%s", d)
		}
		if got := unknown.event(t, "connect_error").Message; got != "Invalid namespace" {
			t.Errorf("message = %q", got)
		}
		main.call(t, "echo", "still here")
		if connects := a.take(func(s served) bool { return s.Kind == "connect" }); len(connects) != 1 {
			t.Errorf("the server saw %d sockets, want 1: %+v", len(connects), connects)
		}
	})
}

func TestPythonDisconnect(t *testing.T) {
	for _, end := range []struct {
		name string
		act  func(t *testing.T, a *app, c *client, sid string)
		want []string
	}{
		{
			name: "by the client",
			act:  func(t *testing.T, _ *app, c *client, _ string) { c.do(t, "disconnect", nil) },
			// It may close a WebSocket before it has sent that it leaves.
			want: []string{"client namespace disconnect", "transport close"},
		},
		{
			name: "by the server",
			act:  func(t *testing.T, a *app, _ *client, sid string) { a.disconnect(t, "/", sid) },
			want: []string{"server namespace disconnect"},
		},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
				a := startApp(t, door, settings{})
				c, sid := connect(t, p, "a", a.url, way, nil)
				c.call(t, "join", "red")
				end.act(t, a, c, sid)
				c.event(t, "disconnect")
				gone := a.await(t, "disconnect at the server", isDisconnect)
				if gone.ID != sid || !cmp.Equal(gone.Rooms, []string{"red"}) {
					t.Errorf("socket %s in rooms %v, want %s in [red]", gone.ID, gone.Rooms, sid)
				}
				want := end.want
				if way.ends == "polling" {
					want = want[:1]
				}
				if !slices.Contains(want, gone.Reason) {
					t.Errorf("server says %q, want one of %q", gone.Reason, want)
				}
			})
		})
	}
}

// A client whose network is cut comes back by itself when there is one again.
func TestPythonReconnect(t *testing.T) {
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{})
		wire := startLink(t, a.addr)
		t.Cleanup(func() { a.shutdown(t) }) // while a client that closes still reaches it
		c, first := connect(t, p, "a", wire.url, withAuth(way, "name", "ann"), nil)
		settled(t, c, way)
		awaitPoll(t, wire, c)
		wire.cut()
		c.event(t, "disconnect")
		gone := a.await(t, "end of the lost session", isDisconnect)
		if want := map[string]string{"polling": "transport error", "websocket": "transport close"}[way.ends]; gone.Reason != want {
			t.Errorf("server says %q, want %q", gone.Reason, want)
		}
		wire.refused.await(t, "an attempt in vain", func(struct{}) bool { return true })
		wire.mend()

		if second := c.event(t, "connect").SID; second == first {
			t.Error("a new session has the id of the old one")
		}
		settled(t, c, way)
		for _, joined := range a.awaitN(t, 2, "connect at the server", func(s served) bool { return s.Kind == "connect" }) {
			if joined.Name != "ann" {
				t.Errorf("auth did not come along: %+v", joined)
			}
		}
		c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": 10})
		wantNumbers(t, a, c, 10)
	})
}

// Each ping but the first says that the server has got the pong before.
func TestPythonHeartbeats(t *testing.T) {
	eachPythonRoute(t, func(t *testing.T, p *node, door string, way route) {
		a := startApp(t, door, settings{pingInterval: 50 * time.Millisecond, pingTimeout: patience})
		c, _ := connect(t, p, "a", a.url, way, nil)
		c.awaitN(t, 6, "pings", func(r report) bool { return r.Event == "ping" })
		settled(t, c, way)
		if ends := a.take(isDisconnect); len(ends) > 0 {
			t.Errorf("the session has ended: %+v", ends)
		}
	})
}

func isDisconnect(s served) bool { return s.Kind == "disconnect" }

// withAuth is the route of a client with one thing to say about itself.
func withAuth(way route, key, value string) route {
	way.options = maps.Clone(way.options)
	if way.options == nil {
		way.options = make(map[string]any)
	}
	way.options["auth"] = map[string]any{key: value}
	return way
}
