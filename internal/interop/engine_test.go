package interop

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The official Engine.IO client on a server that sends every message back, one
// layer below events.
func TestEngine(t *testing.T) {
	const count = 1000
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		e := startEngine(t, door)
		c := n.client("engine")
		c.do(t, "engineOpen", map[string]any{"url": e.url, "options": way.options})
		opened := c.event(t, "open")
		first := way.ends
		if way.name == "upgrade" {
			first = "polling"
		}
		if opened.Transport != first || len(opened.SID) != 20 {
			t.Errorf("opened: %+v, want transport %s", opened, first)
		}

		// Text and binary, in one payload where the transport has payloads
		// (engine.io list B18, B27, B50).
		messages := []any{
			"text", "snow ☃, 🙂 and €", "\x1e is no separator here", strings.Repeat("long ", 10_000),
			[]byte{},
			[]byte{0},
			[]byte{0, 1, 2, 254, 255},
			bytes.Repeat([]byte("binary "), 10_000),
		}
		if way.name != "websocket" {
			// The protocol has no escape for it in a payload.
			messages[2] = "instead"
		}
		c.do(t, "engineSend", map[string]any{"messages": packAll(messages)})
		var got []any
		for _, r := range c.messages(t, "message", len(messages)) {
			got = append(got, r.Args...)
		}
		if d := diff(messages, got); d != "" {
			t.Errorf("echo (-sent +received):\n%s", d)
		}

		c.do(t, "engineStream", map[string]any{"from": 0, "to": count, "gap": 0})
		for i, r := range c.messages(t, "message", count) {
			if !cmp.Equal(r.Args, []any{strconv.Itoa(i)}) {
				t.Fatalf("number %d is %v", i, r.Args)
			}
		}
		if way.name == "upgrade" {
			c.event(t, "upgrade")
		}
		if got := c.do(t, "engineTransport", nil); got != way.ends {
			t.Errorf("transport is %v, want %s", got, way.ends)
		}

		c.do(t, "engineClose", nil)
		if got := c.event(t, "close").Reason; got != "forced close" {
			t.Errorf("client says %q", got)
		}
		end := e.await(t, "end of the session", func(string) bool { return true })
		if end != "transport close" {
			t.Errorf("server says %q", end)
		}
		if extra := c.all(); len(extra) > 0 {
			t.Errorf("more than was sent: %+v", extra)
		}
	})
}

// Closed by the server: what was sent before arrives (engine.io list B40, B44).
func TestEngineClosedByServer(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		e := startEngine(t, door)
		c := n.client("engine")
		c.do(t, "engineOpen", map[string]any{"url": e.url, "options": way.options})
		c.event(t, "open")
		if way.name == "upgrade" {
			c.event(t, "upgrade")
		}
		c.do(t, "engineSend", map[string]any{"messages": []any{"last words", "close"}})
		if got := c.message(t, "message").Args; !cmp.Equal(got, []any{"last words"}) {
			t.Errorf("received %v", got)
		}
		if got := c.event(t, "close").Reason; got != "transport close" {
			t.Errorf("client says %q", got)
		}
		if end := e.await(t, "end of the session", func(string) bool { return true }); end != "forced close" {
			t.Errorf("server says %q", end)
		}
	})
}
