package adaptertest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// RunRecovery runs the tests of adapters that are a core.Recoverer, as subtests. See
// Run.
func RunRecovery(t *testing.T, newCluster func(t *testing.T) (join func() core.Adapter)) {
	tests{
		"SameServer":    testSameServer,
		"OtherServer":   testOtherServer,
		"KilledServer":  testKilledServer,
		"NothingSeen":   testNothingSeen,
		"LeftForGood":   testLeftForGood,
		"WhileSending":  testWhileSending,
		"LatestOnly":    testLatestOnly,
		"NotKept":       testNotKept,
		"DataComesWith": testDataComesWith,
		"LastWords":     testLastWords,
	}.run(t, newCluster, &core.Recovery{}, "OtherServer", "LatestOnly", "NotKept", "DataComesWith")
}

// lose cuts a client off and waits until its server has noticed.
func (c *rig) lose(client *upshifttest.Client, srv *core.Server) {
	c.Helper()
	id := client.ID()
	client.Cut()
	c.until("the server has noticed", func(context.Context) bool { return srv.Of("/").Socket(id) == nil })
}

// back makes a client come back to a server, with its past.
func (c *rig) back(client *upshifttest.Client, srv *core.Server) {
	c.Helper()
	client.ReconnectTo(srv)
	if !client.Recovered() {
		c.Fatal("not recovered")
	}
}

// A client comes back to its server and has missed nothing.
func testSameServer(c *rig) {
	servers := c.start(2, nil)
	client := c.dial(servers[0])
	c.join(client, servers[0], "room")
	id := client.ID()
	c.emit(servers[0].Of("/"), "before")
	client.Expect("before")
	c.lose(client, servers[0])
	c.missed(servers, id)
	c.back(client, servers[0])
	c.expectMissed(client, id)
}

// missed sends what a client misses, and some that is not for it.
func (c *rig) missed(servers []*core.Server, id string) {
	c.Helper()
	n := len(servers)
	c.emit(servers[n-1].Of("/"), "all", []byte("bytes"))
	c.emit(servers[n-1].Of("/").To("room"), "room")
	c.emit(servers[n-1].Of("/").To("elsewhere"), "not for it")
	c.emit(servers[n-1].Of("/").Except("room"), "not for it")
	c.emit(servers[n-1].Of("/").To(id), "by id")
	c.emit(servers[n-1].Of("/").To(), "last")
}

func (c *rig) expectMissed(client *upshifttest.Client, id string) {
	c.Helper()
	client.Expect("all", []byte("bytes"))
	client.Expect("room")
	client.Expect("by id")
	client.Expect("last")
	if client.ID() != id {
		c.Errorf("the client is %s, it was %s", client.ID(), id)
	}
	for _, srv := range c.servers {
		c.emit(srv.Of("/").To("room"), "on it goes")
		client.Expect("on it goes")
	}
}

// A client comes back to another server than it had.
func testOtherServer(c *rig) {
	servers := c.start(2, nil)
	client := c.dial(servers[0])
	c.join(client, servers[0], "room")
	id := client.ID()
	c.emit(servers[1].Of("/"), "before")
	client.Expect("before")
	c.lose(client, servers[0])
	c.missed(servers, id)
	c.back(client, servers[1])
	c.expectMissed(client, id)
	// And back, on a second loss.
	c.lose(client, servers[1])
	c.missed(servers[:1], id)
	c.back(client, servers[0])
	c.expectMissed(client, id)
}

// A server dies without a word, and its clients find everything on another.
func testKilledServer(c *rig) {
	servers := c.start(2, nil)
	client := c.dial(servers[0])
	c.join(client, servers[0], "room")
	id := client.ID()
	c.emit(servers[1].Of("/"), "before")
	client.Expect("before")
	<-time.After(time.Second) // what has changed last is saved with a delay
	client.Vanish()           // the server does not notice, as if it were not there any more
	c.missed(servers[1:], id)
	c.back(client, servers[1])
	client.Expect("all", []byte("bytes"))
	client.Expect("room")
	client.Expect("by id")
	client.Expect("last")
	// What the first server still has of the client does not come in the way.
	c.emit(servers[1].Of("/").To("room"), "on it goes")
	client.Expect("on it goes")
}

// A client that was sent nothing yet has no offset to show.
func testNothingSeen(c *rig) {
	servers := c.start(2, nil)
	client := c.dial(servers[0])
	c.emitSeen(servers[0])
	c.lose(client, servers[0])
	c.emit(servers[0].Of("/"), "missed")
	c.back(client, servers[1])
	for e := client.Next(); e.Name != "missed"; e = client.Next() {
		if e.Name != "seen by others" {
			c.Fatalf("received %v", e)
		}
	}
}

// emitSeen sends something to others.
func (c *rig) emitSeen(srv *core.Server) {
	c.Helper()
	c.emit(srv.Of("/").To("others"), "seen by others")
}

// A client that has said goodbye does not come back. It is forgotten with a delay: one
// that is faster may.
func testLeftForGood(c *rig) {
	servers := c.start(2, nil)
	c.until("a client that has left is forgotten", func(context.Context) bool {
		client := c.dial(servers[0])
		c.emit(servers[0].Of("/").To(client.ID()), "one")
		client.Expect("one")
		twin := client.Twin()
		client.Disconnect()
		c.until("the client has left", func(context.Context) bool { return servers[0].Of("/").Len() == 0 })
		twin.ReconnectTo(servers[1])
		defer twin.Disconnect()
		return !twin.Recovered()
	})
}

// Clients lose their connections again and again, to any server, while all servers
// send: each gets everything, once and in one order.
func testWhileSending(c *rig) {
	const clients, events, losses = 5, 600, 8
	servers := c.start(3, nil)
	all := make([]*upshifttest.Client, clients)
	at := make([]int, clients)
	for i := range all {
		at[i] = i % len(servers)
		all[i] = c.dial(servers[at[i]])
		c.join(all[i], servers[at[i]], "room")
	}
	c.emit(servers[0].Of("/"), "start")
	for _, client := range all {
		client.Expect("start")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range events {
			if err := servers[n%len(servers)].Of("/").To("room").Emit(c.Context(), "n", n); err != nil {
				c.Error(err)
			}
			<-time.After(time.Millisecond)
		}
	}()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	for range losses {
		i := random.IntN(clients)
		all[i].Cut()
		<-time.After(time.Duration(random.IntN(30)) * time.Millisecond)
		at[i] = random.IntN(len(servers))
		c.back(all[i], servers[at[i]])
	}
	<-done
	for i, client := range all {
		order := make([]int, 0, events)
		seen := make(map[int]bool)
		for range events {
			var n int
			if err := client.Next().Args.Bind(&n); err != nil {
				c.Fatal(err)
			}
			if seen[n] {
				c.Fatalf("client %d got %d twice: %v", i, n, order)
			}
			seen[n] = true
			order = append(order, n)
		}
		c.emit(servers[0].Of("/").To(client.ID()), "end")
		client.Expect("end")
	}
}

// Of what only the latest matters a client that comes back gets the latest.
func testLatestOnly(c *rig) {
	servers := c.start(2, nil)
	client, witness := c.dial(servers[0]), c.dial(servers[1])
	c.emit(servers[0].Of("/"), "start")
	client.Expect("start")
	c.lose(client, servers[0])
	for n := range 5 {
		c.emit(servers[0].Of("/").To().Latest("EURUSD"), "price", n)
	}
	c.emit(servers[0].Of("/"), "end")
	for witness.Next().Name != "end" {
		continue // what comes while the client does is not counted
	}
	c.back(client, servers[1])
	client.Expect("price", 4)
	client.Expect("end")
}

// What is not kept arrives, but not later; and it does not mislead clients about
// what they have seen.
func testNotKept(c *rig) {
	servers := c.start(2, nil)
	here, there := c.dial(servers[0]), c.dial(servers[1])
	c.emit(servers[0].Of("/"), "start")
	for _, client := range []*upshifttest.Client{here, there} {
		client.Expect("start")
	}
	c.emit(servers[0].Of("/").To().Volatile(), "volatile", "1-999")
	c.emit(servers[0].Of("/").To().Local(), "local", "1-999")
	for _, e := range []*upshifttest.Event{here.Next(), here.Next(), there.Next()} {
		if e.Name != "volatile" && e.Name != "local" {
			c.Errorf("received %v", e)
		}
	}
	c.lose(there, servers[1])
	c.emit(servers[0].Of("/"), "missed")
	c.back(there, servers[0])
	there.Expect("missed")
}

// Values of shared keys come with the client, and middleware runs again.
func testDataComesWith(c *rig) {
	ran := make(chan string, 10)
	servers := c.start(2, func(i int, srv *core.Server) {
		srv.Of("/").Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if r.Connect() {
					ran <- strconv.Itoa(i)
				}
				return next(ctx, r)
			}
		})
	})
	client := c.dial(servers[0])
	if i := c.await(ran); i != "0" {
		c.Errorf("middleware ran on %s", i)
	}
	user.Set(servers[0].Of("/").Socket(client.ID()), "ann")
	c.emit(servers[0].Of("/"), "start")
	client.Expect("start")
	c.lose(client, servers[0])
	c.back(client, servers[1])
	if i := c.await(ran); i != "1" {
		c.Errorf("middleware ran on %s", i)
	}
	s := servers[1].Of("/").Socket(client.ID())
	if name, ok := user.Get(s); name != "ann" || !ok || !s.Recovered() {
		c.Errorf("%q, %v, recovered %v", name, ok, s.Recovered())
	}
	info := s.Info()
	if name, _, err := user.From(&info); name != "ann" || err != nil {
		c.Errorf("others see %q, %v", name, err)
	}
}

// What a client is sent before its server disconnects it reaches it.
func testLastWords(c *rig) {
	servers := c.start(2, nil)
	for range 10 {
		client := c.dial(servers[0])
		s := servers[0].Of("/").Socket(client.ID())
		c.emit(s, "last words")
		s.Disconnect()
		client.Expect("last words")
	}
}
