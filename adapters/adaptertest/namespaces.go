package adaptertest

import (
	"context"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// A namespace that clients have made is reached on all servers that have it, and
// may come back after it has gone.
func testDynamicNamespaces(c *rig) {
	servers := c.start(3, func(_ int, srv *core.Server) { srv.OfPattern("/made/{name}") })
	dial := func(srv *core.Server) *upshifttest.Client {
		return upshifttest.Dial(c, srv, "/made/one", upshifttest.Options{Codec: c.codec, Patience: patience})
	}
	for range 3 {
		a, b := dial(servers[0]), dial(servers[1])
		var from *core.Namespace
		for _, n := range servers[0].Namespaces() {
			if n.Name() == "/made/one" {
				from = n
			}
		}
		if from == nil {
			c.Fatal("there is no namespace")
		}
		c.until("the sockets of both servers are found", func(ctx context.Context) bool {
			all, err := from.To().Fetch(ctx)
			return err == nil && len(all) == 2
		})
		c.untilReceived(from, a, b)
		a.Close()
		b.Close()
		c.until("the namespace is gone", func(context.Context) bool { return len(servers[0].Namespaces()) == 1 })
	}
}

// untilReceived emits until both clients get it.
func (c *rig) untilReceived(from *core.Namespace, clients ...*upshifttest.Client) {
	c.Helper()
	for _, client := range clients {
		got := make(chan struct{}, 1000)
		client.Handle("here", func(*upshifttest.Event) {
			select {
			case got <- struct{}{}:
			default:
			}
		})
		c.until("the namespace is reached", func(context.Context) bool {
			c.emit(from, "here")
			select {
			case <-got:
				return true
			case <-time.After(50 * time.Millisecond):
				return false
			}
		})
	}
}

// A server that shuts down is not waited for.
func testLeaving(c *rig) {
	servers := c.start(3, nil)
	c.dial(servers[0])
	if err := servers[2].Shutdown(c.Context()); err != nil {
		c.Fatal(err)
	}
	c.until("two servers are left", func(ctx context.Context) bool {
		answers := 0
		for _, err := range servers[0].Of("/").ServerSideCall(ctx, "adaptertest:ready") {
			if err != nil {
				return false
			}
			answers++
		}
		return answers == 1
	})
	all, err := servers[1].Of("/").To().Fetch(c.Context())
	if err != nil || len(all) != 1 {
		c.Errorf("%d sockets, %v", len(all), err)
	}
}
