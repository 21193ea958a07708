package interop

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamespaces(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		wire := startLink(t, a.addr)
		main, mainID := connect(t, n, "main", wire.url, way, nil)
		settle(t, main, way)
		before := wire.accepted.Load()

		share := func(name, namespace string, auth map[string]any) (*client, string) {
			return connect(t, n, name, "", route{options: map[string]any{"auth": auth}},
				map[string]any{"shares": main, "namespace": namespace})
		}
		chat, chatID := share("chat", "/chat", nil)
		admin, adminID := share("admin", "/admin", map[string]any{"token": "secret"})
		if way.ends == "websocket" && wire.accepted.Load() != before {
			t.Error("a namespace opened a connection of its own")
		}
		if mainID == chatID || mainID == adminID || chatID == adminID {
			t.Errorf("sockets share an id: %s %s %s", mainID, chatID, adminID)
		}

		// Each namespace has its own events.
		for i, c := range []*client{main, chat, admin} {
			c.emit(t, "up", i)
			if got := c.message(t, "down").Args; !cmp.Equal(got, []any{float64(i)}) {
				t.Errorf("client %s received %v", c.name, got)
			}
		}
		a.emit(t, "/chat", chatID, "hello")
		chat.message(t, "hello")

		// One leaves, the others stay.
		chat.do(t, "disconnect", nil)
		gone := a.await(t, "end of the /chat socket", func(s served) bool { return s.Kind == "disconnect" })
		if gone.Namespace != "/chat" || gone.Reason != "client namespace disconnect" {
			t.Errorf("disconnected: %+v", gone)
		}
		for _, c := range []*client{main, admin} {
			c.call(t, "echo", "still here")
			if extra := slices.Concat(c.take(isMessage("down")), c.take(isMessage("hello"))); len(extra) > 0 {
				t.Errorf("client %s received events of another namespace: %+v", c.name, extra)
			}
		}
		// It may come back, as another socket.
		chat.do(t, "connect", nil)
		if again := chat.event(t, "connect").SID; again == chatID {
			t.Error("the same id after a reconnect")
		}
	})
}

func TestRefusal(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		c := n.open(t, "a", a.url, way.options, map[string]any{"namespace": "/admin"})
		refused := c.event(t, "connect_error")
		if refused.Message != "not for you" {
			t.Errorf("message = %q", refused.Message)
		}
		if d := diff(map[string]any{"code": "not_for_you"}, refused.Data); d != "" {
			t.Errorf("data (-want +got):\n%s", d)
		}

		// The connection is there still, and may be used with another token.
		c.do(t, "connect", map[string]any{"auth": map[string]any{"token": "secret"}})
		c.event(t, "connect")

		unknown := n.open(t, "b", "", nil, map[string]any{"shares": c, "namespace": "/nowhere"})
		if got := unknown.event(t, "connect_error").Message; got != "Invalid namespace" {
			t.Errorf("message = %q", got)
		}
		c.call(t, "echo", "still here")
		if connects := a.take(func(s served) bool { return s.Kind == "connect" }); len(connects) != 1 {
			t.Errorf("the server saw %d sockets, want 1: %+v", len(connects), connects)
		}
	})
}

func TestRooms(t *testing.T) {
	eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
		a := startApp(t, door, set)
		members := map[string]*client{}
		for name, rooms := range map[string][]any{"ann": {"red"}, "ben": {"red", "blue"}, "cleo": {"blue"}, "dan": nil} {
			members[name], _ = connect(t, n, name, a.url, way, nil)
			for _, room := range rooms {
				members[name].call(t, "join", room)
			}
		}
		for _, step := range []struct {
			by, event, room string
			want            []string
		}{
			{"ann", "say", "red", []string{"ben"}},           // all in the room but who says it
			{"ann", "tell", "red", []string{"ann", "ben"}},   // all in the room
			{"dan", "say", "red", []string{"ann", "ben"}},    // from outside
			{"ben", "say", "blue", []string{"cleo"}},         //
			{"cleo", "tell", "none", nil},                    // a room without members
			{"ben", "leave", "red", nil},                     //
			{"ann", "tell", "red", []string{"ann"}},          // who left hears nothing
			{"dan", "tell", "blue", []string{"ben", "cleo"}}, // but still what is said elsewhere
		} {
			text := step.by + " " + step.event + " " + step.room
			if step.event == "leave" {
				members[step.by].call(t, "leave", step.room)
				continue
			}
			members[step.by].emit(t, step.event, step.room, text)
			members[step.by].call(t, "echo", nil) // handled by now
			for name, c := range members {
				c.call(t, "echo", nil) // what was sent to c comes before the answer
				var want []any
				if slices.Contains(step.want, name) {
					want = []any{text}
				}
				var got []any
				for _, r := range c.take(isMessage("said")) {
					got = append(got, r.Args...)
				}
				if d := diff(want, got); d != "" {
					t.Errorf("%q at %s (-want +got):\n%s", text, name, d)
				}
			}
		}
	})
}
