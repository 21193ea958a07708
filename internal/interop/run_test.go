package interop

import (
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// eachCodec runs a test on every route in each codec, with one Node.js process.
// The doors take turns: each has every route and both codecs among its tests.
func eachCodec(t *testing.T, set settings, test func(t *testing.T, n *node, a *app, way route)) {
	t.Helper()
	n := startNode(t)
	for i, way := range routes {
		for j, name := range []string{"json", "msgpack"} {
			t.Run(way.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				set, way := set, way
				if name == "msgpack" {
					set, way = packed(set, way)
				}
				test(t, n, startApp(t, doors[(i+j)%len(doors)], set), way)
			})
		}
	}
}

// eachWay runs a test on every route with one Node.js process: in JSON behind every
// front door, and in MessagePack behind doors that take turns. set has the codec.
func eachWay(t *testing.T, test func(t *testing.T, n *node, door string, set settings, way route)) {
	t.Helper()
	n := startNode(t)
	for i, way := range routes {
		for j, door := range doors {
			t.Run(door+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				test(t, n, door, settings{}, way)
			})
			if j == i {
				t.Run(door+"/"+way.name+"/msgpack", func(t *testing.T) {
					t.Parallel()
					set, way := packed(settings{}, way)
					test(t, n, door, set, way)
				})
			}
		}
	}
}

// packed makes a test one of the MessagePack codec.
func packed(set settings, way route) (settings, route) {
	set.codec = codec.MsgPack(codec.MsgPackOptions{})
	return set, speaking(way, "msgpack")
}

// run runs JavaScript with the client's socket and the arguments, as "socket"
// and "args", and returns what it returns. See run in client.mjs.
func (c *client) run(t *testing.T, body string, args ...any) any {
	t.Helper()
	return c.finished(t, c.running(t, body, args...))
}

// running starts what run does; finished waits for it.
func (c *client) running(t *testing.T, body string, args ...any) <-chan any {
	t.Helper()
	return c.start(t, "run", map[string]any{"body": body, "args": packAll(args)})
}

func (c *client) finished(t *testing.T, reply <-chan any) any {
	t.Helper()
	outcome, _ := c.node.wait(t, reply).(map[string]any)
	if failure, failed := outcome["failure"]; failed {
		t.Fatalf("client %s: %v", c.name, failure)
	}
	return outcome["value"]
}

// fails runs JavaScript that must fail, and returns the error's text.
func (c *client) fails(t *testing.T, body string, args ...any) string {
	t.Helper()
	outcome, _ := c.node.wait(t, c.running(t, body, args...)).(map[string]any)
	failure, failed := outcome["failure"].(string)
	if !failed {
		t.Fatalf("client %s: %s did not fail: %v", c.name, body, outcome["value"])
	}
	return failure
}
