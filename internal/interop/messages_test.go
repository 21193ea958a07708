package interop

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A route is the way that a client is told to take.
type route struct {
	name    string
	options map[string]any
	ends    string // the transport in the end
}

var routes = []route{
	{"polling", map[string]any{"transports": []string{"polling"}}, "polling"},
	{"websocket", map[string]any{"transports": []string{"websocket"}}, "websocket"},
	{"upgrade", nil, "websocket"},
}

// eachRoute runs a test for every front door and every route, with one Node.js
// process.
func eachRoute(t *testing.T, test func(t *testing.T, n *node, door string, way route)) {
	n := startNode(t)
	for _, door := range doors {
		for _, way := range routes {
			t.Run(door+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				test(t, n, door, way)
			})
		}
	}
}

// connect opens a client and waits until it is connected. It returns the
// client and the id of its socket.
func connect(t *testing.T, n *node, name, url string, way route, more map[string]any) (*client, string) {
	t.Helper()
	c := n.open(t, name, url, way.options, more)
	return c, c.event(t, "connect").SID
}

// settle waits until the client, and the server with it, has come to where its
// route ends.
func settle(t *testing.T, c *client, way route) {
	t.Helper()
	if way.name == "upgrade" {
		c.event(t, "upgrade")
	}
	if got := c.transport(t); got != way.ends {
		t.Errorf("client uses %s, want %s", got, way.ends)
	}
	if got := c.call(t, "transport"); !cmp.Equal(got, []any{way.ends}) {
		t.Errorf("server says the transport is %v, want %s", got, way.ends)
	}
}

func TestValues(t *testing.T) {
	values := []any{
		"", "plain", "snow ☃ and 🙂", "<&>\u2028",
		true, nil,
		float64(0), -1.5, float64(1 << 53),
		[]any{},
		map[string]any{},
		[]any{float64(1), []any{"two", map[string]any{"three": []any{nil}}}},
		strings.Repeat("long ", 20_000),
	}
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, _ := connect(t, n, "a", a.url, way, nil)
		for _, value := range values {
			if d := diff([]any{value}, c.call(t, "echo", value)); d != "" {
				t.Errorf("echo (-sent +received):\n%s", d)
			}
		}
		settle(t, c, way)
	})
}

func TestOrder(t *testing.T) {
	const count = 1000
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, _ := connect(t, n, "a", a.url, way, nil)
		c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": count})
		wantNumbers(t, a, c, count)
	})
}

// wantNumbers checks that the numbers up to count have gone both ways, in
// order and once: the server answers each "up" with a "down".
func wantNumbers(t *testing.T, a *app, c *client, count int) {
	t.Helper()
	downs := c.messages(t, "down", count)
	c.call(t, "echo", nil) // a number too many would come before this answer
	if extra := c.take(isMessage("down")); len(extra) > 0 {
		t.Errorf("client received %d numbers too many: %v", len(extra), extra)
	}
	for i, down := range downs {
		if !cmp.Equal(down.Args, []any{float64(i)}) {
			t.Fatalf("number %d at the client is %v", i, down.Args)
		}
	}
	ups := a.take(func(s served) bool { return s.Kind == "up" })
	if len(ups) != count {
		t.Errorf("server received %d numbers, want %d", len(ups), count)
	}
	for i, up := range ups {
		if up.N != i {
			t.Fatalf("number %d at the server is %d", i, up.N)
		}
	}
}

// 1,000 numbers each way, some before, some during and some after the upgrade,
// and as many answers to them (engine.io list B56).
func TestOrderAcrossUpgrade(t *testing.T) {
	const count, before, during = 1000, 300, 400
	n := startNode(t)
	for _, door := range doors {
		for _, gap := range []int{0, 1, 5} { // milliseconds between two numbers during the upgrade
			t.Run(fmt.Sprintf("%s/gap %d ms", door, gap), func(t *testing.T) {
				t.Parallel()
				a := startApp(t, door, settings{})
				p := startProxy(t, a.addr, 1, func(int) fault { return healthy })
				c, sid := connect(t, n, "a", p.url, route{}, nil)

				stream := func(from, to int, more map[string]any) <-chan any {
					command := map[string]any{"name": "up", "from": from, "to": to}
					maps.Copy(command, more)
					return c.start(t, "stream", command)
				}
				isTick := isMessage("tick")
				ticks := 0
				tick := func() {
					a.emit(t, "/", sid, "tick", ticks)
					ticks++
				}
				n.wait(t, stream(0, before, nil))
				for range before {
					tick()
				}
				c.seen(t, before, "numbers before the upgrade", isTick)
				if got := c.transport(t); got != "polling" {
					t.Fatalf("client uses %s before the upgrade", got)
				}

				upgraded := make(chan struct{})
				var server sync.WaitGroup
				server.Go(func() {
					pace := time.NewTicker(max(time.Duration(gap)*time.Millisecond, 100*time.Microsecond))
					defer pace.Stop()
					for range during {
						select {
						case <-pace.C:
							tick()
						case <-upgraded:
							return
						}
					}
				})
				sent := stream(before, before+during, map[string]any{"gap": gap, "until": "websocket"})
				p.open()
				next := int(n.wait(t, sent).(float64))
				c.event(t, "upgrade")
				close(upgraded)
				server.Wait()
				t.Logf("during the upgrade: %d numbers up, %d down", next-before, ticks-before)

				after := stream(next, count, nil)
				for ticks < count {
					tick()
				}
				n.wait(t, after)
				wantNumbers(t, a, c, count)
				for i, r := range c.take(isTick) {
					if !cmp.Equal(r.Args, []any{float64(i)}) {
						t.Fatalf("tick %d is %v", i, r.Args)
					}
					ticks--
				}
				if ticks != 0 {
					t.Errorf("%d ticks are missing", ticks)
				}
				settle(t, c, route{ends: "websocket"})
			})
		}
	}
}

func TestBinary(t *testing.T) {
	large := bytes.Repeat([]byte{0, 1, 2, 0xfe, 0xff}, 20_000)
	parcel := map[string]any{
		"label": "parcel",
		"body":  []byte{0, 1, 2, 255},
		"parts": map[string]any{"empty": []byte{}, "large": large},
		"items": []any{
			map[string]any{"name": "first", "data": []byte("one")},
			map[string]any{"name": "none", "data": nil},
			map[string]any{"name": "third", "data": []byte("three")},
		},
	}
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, sid := connect(t, n, "a", a.url, way, nil)

		// To the server and back, as an event and as an ack.
		if d := diff([]any{parcel}, c.call(t, "parcel", parcel)); d != "" {
			t.Errorf("ack (-sent +received):\n%s", d)
		}
		if d := diff([]any{parcel}, c.message(t, "parcel").Args); d != "" {
			t.Errorf("event (-sent +received):\n%s", d)
		}
		// Without types: bytes anywhere in a payload.
		tree := map[string]any{"deep": []any{map[string]any{"deeper": []byte("leaf")}, float64(1)}}
		if d := diff([]any{tree}, c.call(t, "echo", tree)); d != "" {
			t.Errorf("echo (-sent +received):\n%s", d)
		}
		if d := diff([]any{[]byte("bare")}, c.call(t, "echo", []byte("bare"))); d != "" {
			t.Errorf("echo (-sent +received):\n%s", d)
		}

		// Asked by the server, answered with binary by the client.
		answered := make(chan any, 1)
		go func() { answered <- a.call(t, "/", sid, "ask", parcel) }()
		ask := c.message(t, "ask")
		if d := diff([]any{parcel}, ask.Args); d != "" {
			t.Errorf("call (-sent +received):\n%s", d)
		}
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": ask.Ack, "args": packAll(ask.Args)}))
		if d := diff(parcel, <-answered); d != "" {
			t.Errorf("answer (-sent +received):\n%s", d)
		}
		settle(t, c, way)
	})
}

func TestAcks(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{})
		c, sid := connect(t, n, "a", a.url, way, nil)

		// Many at once: each gets its own.
		replies := make([]<-chan any, 0, 100)
		for i := range 100 {
			replies = append(replies, c.start(t, "call", map[string]any{"name": "echo", "args": []any{i}}))
		}
		for i, reply := range replies {
			if got := n.wait(t, reply); !cmp.Equal(got, []any{float64(i)}) {
				t.Errorf("ack %d is %v", i, got)
			}
		}
		if got := c.call(t, "join", "red"); len(got) != 0 {
			t.Errorf("ack without arguments is %v", got)
		}
		failure := map[string]any{"error": map[string]any{"code": "no_such_thing", "message": "there is no such thing"}}
		if d := diff([]any{failure}, c.call(t, "fail")); d != "" {
			t.Errorf("ack of a failed event (-want +got):\n%s", d)
		}

		// The other way round, answered in another order than asked.
		first, second := make(chan any, 1), make(chan any, 1)
		go func() { first <- a.call(t, "/", sid, "first", "1?") }()
		one := c.message(t, "first")
		go func() { second <- a.call(t, "/", sid, "second", "2?") }()
		two := c.message(t, "second")
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": two.Ack, "args": []any{"2!"}}))
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": one.Ack, "args": []any{"1!"}}))
		if got := []any{<-first, <-second}; !cmp.Equal(got, []any{"1!", "2!"}) {
			t.Errorf("answers are %v", got)
		}
		settle(t, c, way)
	})
}
