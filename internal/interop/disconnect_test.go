package interop

import (
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// How a connection ends, and what each side calls it.
func TestDisconnectReasons(t *testing.T) {
	for _, end := range []struct {
		name string
		act  func(t *testing.T, a *app, wire *link, c *client, sid string)
		// What each side may say, on polling and on WebSocket.
		client, server [2][]string
		// silent: the heartbeat may have to find out.
		silent bool
	}{
		{
			name:   "client disconnects",
			act:    func(t *testing.T, _ *app, _ *link, c *client, _ string) { c.do(t, "disconnect", nil) },
			client: [2][]string{{"io client disconnect"}, {"io client disconnect"}},
			server: [2][]string{{"client namespace disconnect"}, {"client namespace disconnect"}},
		},
		{
			name:   "server disconnects",
			act:    func(t *testing.T, a *app, _ *link, _ *client, sid string) { a.disconnect(t, "/", sid) },
			client: [2][]string{{"io server disconnect"}, {"io server disconnect"}},
			server: [2][]string{{"server namespace disconnect"}, {"server namespace disconnect"}},
		},
		{
			name: "server shuts down",
			act:  func(t *testing.T, a *app, _ *link, _ *client, _ string) { a.shutdown(t) },
			// A client that is between two polls is not told, and finds
			// nobody the next time.
			client: [2][]string{{"transport close", "transport error"}, {"transport close"}},
			server: [2][]string{{"server shutting down"}, {"server shutting down"}},
		},
		{
			name: "network is cut",
			act: func(t *testing.T, _ *app, wire *link, c *client, _ string) {
				awaitPoll(t, wire, c)
				wire.cut()
			},
			// Polling sees a failed request, WebSocket the end of its
			// connection.
			client: [2][]string{{"transport error"}, {"transport close"}},
			server: [2][]string{{"transport error"}, {"transport close"}},
		},
		{
			name: "connection is reset",
			act: func(t *testing.T, _ *app, wire *link, c *client, _ string) {
				awaitPoll(t, wire, c)
				wire.reset()
			},
			// A poll that the server has not read yet is taken back.
			client: [2][]string{{"transport error"}, {"transport close"}},
			server: [2][]string{{"transport error", "ping timeout"}, {"transport close"}},
			silent: true,
		},
		{
			name:   "network goes dead",
			act:    func(_ *testing.T, _ *app, wire *link, _ *client, _ string) { wire.die() },
			client: [2][]string{{"ping timeout"}, {"ping timeout"}},
			server: [2][]string{{"ping timeout"}, {"ping timeout"}},
			silent: true,
		},
	} {
		t.Run(end.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
				if end.silent {
					set.pingInterval, set.pingTimeout = time.Second, 5*time.Second
				}
				a := startApp(t, door, set)
				wire := startLink(t, a.addr)
				t.Cleanup(func() { a.shutdown(t) }) // while a client that closes still reaches it
				options := map[string]any{"reconnection": false}
				maps.Copy(options, way.options)
				c := n.open(t, "a", wire.url, options, nil)
				sid := c.event(t, "connect").SID
				settle(t, c, way)
				c.call(t, "join", "red")

				end.act(t, a, wire, c, sid)

				i := slices.Index([]string{"polling", "websocket"}, way.ends)
				if got := c.event(t, "disconnect"); !slices.Contains(end.client[i], got.Reason) {
					t.Errorf("client says %q (%s), want one of %q", got.Reason, got.Message, end.client[i])
				}
				got := a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
				if !slices.Contains(end.server[i], got.Reason) {
					t.Errorf("server says %q, want one of %q", got.Reason, end.server[i])
				}
				if got.ID != sid || !cmp.Equal(got.Rooms, []string{"red"}) {
					t.Errorf("socket %s in rooms %v, want %s in [red]", got.ID, got.Rooms, sid)
				}
				// Nothing ends twice.
				if extra := a.take(func(s served) bool { return s.Kind == "disconnect" }); len(extra) > 0 {
					t.Errorf("more ends at the server: %+v", extra)
				}
			})
		})
	}
}

// awaitPoll waits, if the client polls, until a poll is on its way: between two
// polls the server cannot notice anything.
func awaitPoll(t *testing.T, wire *link, c *client) {
	t.Helper()
	if c.transport(t) == "polling" {
		wire.polls.seen(t, 1, "poll on its way", func(net.Conn) bool { return true })
	}
}

// A client finds its server again after a restart, by itself.
func TestReconnect(t *testing.T) {
	eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
		options := map[string]any{"reconnectionDelay": 20, "reconnectionDelayMax": 100, "auth": map[string]any{"name": "ann"}}
		maps.Copy(options, way.options)
		a := startApp(t, door, set)
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, options, nil)
		first := c.event(t, "connect").SID
		settle(t, c, way)

		a.shutdown(t)
		wire.aim(nowhere) // the port may be another's by now
		c.event(t, "disconnect")
		c.emit(t, "up", 0) // kept by the client until it is connected again
		b := startApp(t, door, set)
		wire.aim(b.addr)
		if second := c.event(t, "connect").SID; second == first {
			t.Error("a new session has the id of the old one")
		}
		settle(t, c, way)
		wantNumbers(t, b, c, 1)
		joined := b.await(t, "connect at the server", func(s served) bool { return s.Kind == "connect" })
		if joined.Name != "ann" {
			t.Errorf("auth did not come along: %+v", joined)
		}
	})
}

// What is said last is heard, though the session is closed right behind it.
func TestLastWords(t *testing.T) {
	eachWay(t, func(t *testing.T, n *node, door string, set settings, way route) {
		a := startApp(t, door, set)
		first, id := connect(t, n, "first", a.url, way, nil)
		s := a.socket(t, "/", id)
		for i := range 3 {
			a.emit(t, "/", id, "bye", i, []byte("bytes"))
		}
		s.CloseSession()
		first.messages(t, "bye", 3)
		if got := first.event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("client says %q", got)
		}

		second, id := connect(t, n, "second", a.url, way, nil)
		a.emit(t, "/", id, "bye")
		a.shutdown(t)
		second.message(t, "bye")
	})
}
