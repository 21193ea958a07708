// Package adaptertest tests any core.Adapter, and any engine below
// cluster.Adapter: what everybody may rely on who sends to other servers.
//
//	func TestAdapter(t *testing.T) {
//		adaptertest.Run(t, func(t *testing.T) func() core.Adapter {
//			prefix := freshPrefix(t)
//			return func() core.Adapter { return redis.New(redis.Options{Key: prefix}) }
//		})
//	}
//
// The tests make real servers, with clients in memory, and wait for what arrives;
// they do not wait for nothing to arrive, but for what was sent after it.
package adaptertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// Run runs all tests as subtests. newCluster is called for each: what it returns
// makes an adapter for one more server of the same new cluster.
//
// Those that tell most run with codec.MsgPack, too: what comes from other servers takes
// another way to clients then.
func Run(t *testing.T, newCluster func(t *testing.T) (join func() core.Adapter)) {
	tests{
		"Broadcast":         testBroadcast,
		"Values":            testValues,
		"Order":             testOrder,
		"Large":             testLarge,
		"Rooms":             testRooms,
		"RoomsThatChange":   testRoomsThatChange,
		"Update":            testUpdate,
		"Disconnect":        testDisconnect,
		"CallAll":           testCallAll,
		"CallAllSilent":     testCallAllSilent,
		"Fetch":             testFetch,
		"ServerSide":        testServerSide,
		"ServerSideOrder":   testServerSideOrder,
		"ServerSideDead":    testServerSideDead,
		"DynamicNamespaces": testDynamicNamespaces,
		"Leaving":           testLeaving,
		"NotEncodable":      testNotEncodable,
	}.run(t, newCluster, nil, "Broadcast", "Values", "CallAll", "Fetch")
}

type tests map[string]func(c *rig)

// run runs all tests, and some of them with codec.MsgPack, too.
func (all tests) run(t *testing.T, newCluster func(t *testing.T) (join func() core.Adapter), recovery *core.Recovery, packed ...string) {
	for name, test := range all {
		t.Run(name, func(t *testing.T) { test(&rig{T: t, adapter: newCluster(t), recovery: recovery}) })
	}
	for _, name := range packed {
		t.Run("MsgPack"+name, func(t *testing.T) {
			all[name](&rig{T: t, adapter: newCluster(t), recovery: recovery, codec: codec.MsgPack(codec.MsgPackOptions{})})
		})
	}
}

// patience is how long something may take that should happen at once.
const patience = 20 * time.Second

// A rig is some servers that are joined.
type rig struct {
	*testing.T
	adapter  func() core.Adapter
	recovery *core.Recovery
	codec    codec.Codec // nil is the default
	servers  []*core.Server
}

// start makes n servers that know each other, each prepared by setup.
func (c *rig) start(n int, setup func(i int, srv *core.Server)) []*core.Server {
	c.Helper()
	for i := range n {
		srv := upshifttest.NewServer(c, core.Options{Adapter: c.adapter(), Recovery: c.recovery, Codec: c.codec})
		srv.Of("/").OnServerSide("adaptertest:ready", func(context.Context, core.Args) (any, error) { return true, nil })
		if setup != nil {
			setup(i, srv)
		}
		c.servers = append(c.servers, srv)
	}
	for _, srv := range c.servers {
		c.ready(srv, len(c.servers)-1)
	}
	return c.servers
}

// ready waits until a server reaches n others.
func (c *rig) ready(srv *core.Server, n int) {
	c.Helper()
	c.until("the servers know each other", func(ctx context.Context) bool {
		answers := 0
		for _, err := range srv.Of("/").ServerSideCall(ctx, "adaptertest:ready") {
			if err == nil {
				answers++
			}
		}
		return answers == n
	})
}

// until repeats try until it reports true. Each try gets a context with a deadline.
func (c *rig) until(what string, try func(ctx context.Context) bool) {
	c.Helper()
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(c.Context(), time.Second)
		ok := try(ctx)
		cancel()
		if ok {
			return
		}
		if time.Now().After(end) {
			c.Fatalf("waited in vain until %s", what)
		}
		<-time.After(5 * time.Millisecond) // an engine follows the rooms in its own time
	}
}

// dial connects a client to a server's main namespace.
func (c *rig) dial(srv *core.Server) *upshifttest.Client {
	c.Helper()
	return upshifttest.Dial(c, srv, "/", upshifttest.Options{Codec: c.codec, Patience: patience})
}

// join puts a client into a room, and waits until the servers reach it there.
func (c *rig) join(client *upshifttest.Client, srv *core.Server, room string) {
	c.Helper()
	client.Handle("adaptertest:probe", func(*upshifttest.Event) {}) // those for others who join
	if err := srv.Of("/").Socket(client.ID()).Join(c.Context(), room); err != nil {
		c.Fatal(err)
	}
	c.reachable(client, room)
}

// reachable waits until a client in a room is reached from all servers, but for
// its own, which reaches it anyway.
func (c *rig) reachable(client *upshifttest.Client, room string) {
	c.Helper()
	probes := make(chan string, 10_000)
	client.Handle("adaptertest:probe", func(e *upshifttest.Event) {
		var from string
		if err := e.Args.Bind(&from); err != nil {
			c.Error(err)
		}
		probes <- from
	})
	for i, srv := range c.servers {
		token := fmt.Sprint(room, " ", i, " ", time.Now().UnixNano())
		c.until("room "+room+" is reached", func(ctx context.Context) bool {
			c.emit(srv.Of("/").To(room), "adaptertest:probe", token)
			for {
				select {
				case from := <-probes:
					if from == token {
						return true
					}
				case <-time.After(50 * time.Millisecond):
					return false
				case <-ctx.Done():
					return false
				}
			}
		})
	}
}

// emit fails the test if something cannot be sent.
func (c *rig) emit(to interface {
	Emit(ctx context.Context, event string, args ...any) error
}, event string, args ...any,
) {
	c.Helper()
	if err := to.Emit(c.Context(), event, args...); err != nil {
		c.Fatalf("%s: %v", event, err)
	}
}
