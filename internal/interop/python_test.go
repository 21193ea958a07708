package interop

import (
	"os"
	"os/exec"
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
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		python = need(t, "python3")
	}
	if out, err := exec.Command(python, "-c", "import socketio, websocket").CombinedOutput(); err != nil {
		missing(t, "python-socketio (the Debian packages python3-socketio and python3-websocket): "+string(out))
	}
	return startDriver(t, exec.Command(python, "client.py"))
}

// Everything that a program does, with a client that is not the official one.
// Its upgrade is over before it connects.
func TestPython(t *testing.T) {
	p := startPython(t)
	for _, door := range doors {
		for _, way := range routes {
			t.Run(door+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				testPython(t, p, door, way)
			})
		}
	}
}

func testPython(t *testing.T, p *node, door string, way route) {
	a := startApp(t, door, settings{pingInterval: 300 * time.Millisecond, pingTimeout: patience})
	wire := startLink(t, a.addr)
	c, sid := connect(t, p, "ann", wire.url, way, nil)
	for _, value := range []any{
		"snow ☃ and 🙂", true, -1.5,
		[]any{float64(1), []any{}},
		map[string]any{"deep": []any{nil}},
		[]byte{0, 1, 254, 255},
		map[string]any{"bytes": []any{[]byte("ab"), []byte{}}},
	} {
		if d := diff([]any{value}, c.call(t, "echo", value)); d != "" {
			t.Errorf("echo (-sent +received):\n%s", d)
		}
	}
	if got := c.transport(t); got != way.ends {
		t.Errorf("client uses %s, want %s", got, way.ends)
	}

	parcel := map[string]any{
		"label": "all", "body": []byte{0, 255}, "parts": map[string]any{"a": []byte("A")},
		"items": []any{map[string]any{"name": "i", "data": []byte("I")}},
	}
	c.emit(t, "parcel", parcel)
	if d := diff([]any{parcel}, c.message(t, "parcel").Args); d != "" {
		t.Errorf("parcel (-sent +received):\n%s", d)
	}
	if got := a.call(t, "/", sid, "question", "☃"); got != "☃" {
		t.Errorf("answered %v", got)
	}
	a.emit(t, "/", sid, "several", 1, "two", []byte{3})
	if d := diff([]any{float64(1), "two", []byte{3}}, c.message(t, "several").Args); d != "" {
		t.Errorf("several (-sent +received):\n%s", d)
	}
	const count = 200
	c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": count})
	downs := make(map[any]bool)
	for _, down := range c.messages(t, "down", count) {
		downs[down.Args[0]] = true
	}
	ups := a.take(func(s served) bool { return s.Kind == "up" })
	if len(downs) != count || len(ups) != count {
		t.Errorf("%d numbers up and %d down, want %d", len(ups), len(downs), count)
	}
	for i, up := range ups {
		if up.N != i {
			t.Fatalf("number %d at the server is %d", i, up.N)
		}
	}

	<-time.After(4 * 300 * time.Millisecond) // some heartbeats
	wire.snap(false)
	c.event(t, "disconnect")
	if again := c.event(t, "connect").SID; again == sid {
		t.Error("a new session has the id of the old one")
	} else {
		sid = again
	}
	c.call(t, "echo", "back")
	gone := a.await(t, "end of the lost session", func(s served) bool { return s.Kind == "disconnect" })
	if gone.Reason != string(core.TransportError) && gone.Reason != string(core.TransportClose) {
		t.Errorf("server says %q", gone.Reason)
	}

	a.disconnect(t, "/", sid)
	c.event(t, "disconnect")
	testPythonNamespaces(t, p, a, way)
}

func testPythonNamespaces(t *testing.T, p *node, a *app, way route) {
	open := func(name, token string) *client {
		options := map[string]any{"auth": map[string]any{"token": token}}
		if transports := way.options["transports"]; transports != nil {
			options["transports"] = transports
		}
		return p.open(t, name, a.url, options, map[string]any{"namespace": "/admin"})
	}
	refused := open("ben", "guess").event(t, "connect_error")
	want := map[string]any{"message": "not for you", "data": map[string]any{"code": "not_for_you"}}
	if d := diff(any(want), refused.Data); d != "" {
		t.Errorf("refused (-want +got):\n%s", d)
	}
	c := open("cleo", "secret")
	c.event(t, "connect")
	c.call(t, "join", "red")
	c.emit(t, "tell", "red", "hello")
	if got := c.message(t, "said").Args; !cmp.Equal(got, []any{"hello"}) {
		t.Errorf("said %v", got)
	}
	a.take(func(s served) bool { return s.Kind == "disconnect" })
	c.do(t, "disconnect", nil)
	gone := a.await(t, "disconnect at the server", func(s served) bool { return s.Kind == "disconnect" })
	// It may close a WebSocket before it has sent that it leaves.
	if gone.Reason != string(core.ClientDisconnect) && gone.Reason != string(core.TransportClose) || !cmp.Equal(gone.Rooms, []string{"red"}) {
		t.Errorf("disconnected: %+v", gone)
	}
}
