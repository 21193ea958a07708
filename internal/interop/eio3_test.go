package interop

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// Clients of Socket.IO 2 speak revision 3 of Engine.IO.
var version2 = map[string]any{"version": 2}

// withOldClients are the settings of a server that lets them in.
func withOldClients() settings {
	return settings{options: func(o *core.Options) { o.AllowEIO3 = true }}
}

func TestOldClientValues(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		c, sid := connect(t, n, "a", a.url, way, version2)
		for _, value := range []any{
			"", "plain", "snow ☃ and 🙂", "<&>\u2028", true, nil, -1.5,
			[]any{},
			map[string]any{},
			[]any{float64(1), []any{"two", map[string]any{"three": []any{nil}}}},
			[]byte{0, 1, 254, 255},
			map[string]any{"deep": []any{[]byte("ab"), []byte{}}},
		} {
			if d := diff([]any{value}, c.call(t, "echo", value)); d != "" {
				t.Errorf("echo (-sent +received):\n%s", d)
			}
		}
		settle(t, c, way)

		answered := make(chan any, 1)
		go func() { answered <- a.call(t, "/", sid, "question", "☃") }()
		question := c.message(t, "question")
		if d := diff([]any{"☃"}, question.Args); d != "" {
			t.Errorf("question (-sent +received):\n%s", d)
		}
		c.do(t, "answer", map[string]any{"ack": question.Ack, "args": packAll([]any{[]byte("yes")})})
		if got := <-answered; got == nil {
			t.Error("no answer")
		}

		parcel := map[string]any{
			"label": "all", "body": []byte{0, 255}, "parts": map[string]any{"a": []byte("A")},
			"items": []any{map[string]any{"name": "i", "data": []byte("I")}},
		}
		c.emit(t, "parcel", parcel)
		if d := diff([]any{parcel}, c.message(t, "parcel").Args); d != "" {
			t.Errorf("parcel (-sent +received):\n%s", d)
		}
	})
}

// Numbers each way, across the upgrade.
func TestOldClientOrder(t *testing.T) {
	const count = 1000
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		c, _ := connect(t, n, "a", a.url, way, version2)
		c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": count})
		wantNumbers(t, a, c, count)
		settle(t, c, way)
	})
}

// A client that asks for base64 gets it, and so does one that polls.
func TestOldClientBase64(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		options := map[string]any{"forceBase64": true}
		maps.Copy(options, way.options)
		c, _ := connect(t, n, "a", a.url, route{options: options}, version2)
		data := []byte(base64.StdEncoding.EncodeToString([]byte("some bytes")))
		for range 3 {
			if d := diff([]any{data}, c.call(t, "echo", data)); d != "" {
				t.Errorf("echo (-sent +received):\n%s", d)
			}
		}
	})
}

// Namespaces, whose auth is a query with these clients, and a refusal.
func TestOldClientNamespaces(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		main, _ := connect(t, n, "main", a.url, way, version2)
		chat, chatID := connect(t, n, "chat", "", route{},
			map[string]any{"shares": main, "namespace": "/chat"})
		a.emit(t, "/chat", a.await(t, "the /chat socket", func(s served) bool {
			return s.Kind == "connect" && s.Namespace == "/chat"
		}).ID, "hello")
		chat.message(t, "hello")
		if chatID == "" {
			t.Error("no id")
		}

		refused := n.open(t, "refused", "", nil, map[string]any{"shares": main, "namespace": "/admin"})
		if got := refused.event(t, "refused").Data; got != "not for you" {
			t.Errorf("refused with %v", got)
		}
		options := map[string]any{"query": map[string]any{"token": "secret"}}
		maps.Copy(options, way.options)
		admin, _ := connect(t, n, "admin", a.url, route{options: options}, map[string]any{"version": 2, "namespace": "/admin"})
		admin.call(t, "echo", "here")

		chat.do(t, "disconnect", nil)
		gone := a.await(t, "end of the /chat socket", func(s served) bool { return s.Kind == "disconnect" })
		if gone.Namespace != "/chat" || gone.Reason != string(core.ClientDisconnect) {
			t.Errorf("disconnected: %+v", gone)
		}
		main.call(t, "echo", "still here")
	})
}

// Both kinds of client in one room.
func TestOldClientAmongOthers(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		old, _ := connect(t, n, "old", a.url, way, version2)
		young, _ := connect(t, n, "young", a.url, way, nil)
		for _, c := range []*client{old, young} {
			c.call(t, "join", "red")
		}
		old.emit(t, "say", "red", "from the old")
		if got := young.message(t, "said").Args; !cmp.Equal(got, []any{"from the old"}) {
			t.Errorf("the young one received %v", got)
		}
		young.emit(t, "say", "red", "from the young")
		if got := old.message(t, "said").Args; !cmp.Equal(got, []any{"from the young"}) {
			t.Errorf("the old one received %v", got)
		}
	})
}

// How it ends, and that the client comes back.
func TestOldClientDisconnect(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		set := withOldClients()
		set.pingInterval, set.pingTimeout = 500*time.Millisecond, 6*time.Second
		a := startApp(t, door, set)
		wire := startLink(t, a.addr)
		options := map[string]any{"reconnectionDelay": 20, "reconnectionDelayMax": 100}
		maps.Copy(options, way.options)
		c := n.open(t, "a", wire.url, options, version2)
		first := c.event(t, "connect").SID
		settle(t, c, way)
		ended := func() string {
			return a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" }).Reason
		}

		// Heartbeats come from the client: several intervals pass.
		<-time.After(4 * set.pingInterval)
		if got := a.all(); slices.ContainsFunc(got, func(s served) bool { return s.Kind == "disconnect" }) {
			t.Errorf("it did not last: %+v", got)
		}

		awaitPoll(t, wire, c)
		wire.snap(false)
		if got := c.event(t, "disconnect").Reason; got != "transport error" && got != "transport close" {
			t.Errorf("client says %q", got)
		}
		ended()
		second := c.event(t, "connect").SID
		if second == first {
			t.Error("a new session has the id of the old one")
		}
		c.call(t, "echo", "back")

		wire.die() // and the client is silent from then on
		if got := ended(); got != string(core.PingTimeout) {
			t.Errorf("server says %q of a client that is silent", got)
		}
		if got := c.event(t, "disconnect").Reason; got != "ping timeout" {
			t.Errorf("client says %q", got)
		}
	})
}

// The server disconnects a client, which is told.
func TestOldClientIsDisconnected(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, withOldClients())
		c, sid := connect(t, n, "a", a.url, way, version2)
		settle(t, c, way)
		a.disconnect(t, "/", sid)
		if got := c.event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("client says %q", got)
		}
	})
}

// Where they are not let in they are told, and do not hang.
func TestOldClientNotAllowed(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		options := map[string]any{"reconnection": false}
		maps.Copy(options, way.options)
		c := n.open(t, "a", a.url, options, version2)
		c.event(t, "connect_error")

		r, err := http.Get(a.url + "/socket.io/?EIO=3&transport=polling") //nolint:noctx // it cannot take long
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", r.StatusCode)
		}
	})
}
