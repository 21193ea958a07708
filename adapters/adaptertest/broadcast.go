package adaptertest

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// A broadcast reaches everybody on every server, once.
func testBroadcast(c *rig) {
	servers := c.start(3, nil)
	clients := make([]*upshifttest.Client, 0, 2*len(servers))
	for _, srv := range servers {
		clients = append(clients, c.dial(srv), c.dial(srv))
	}
	for i, srv := range servers {
		c.emit(srv.Of("/"), "from", i)
		for _, client := range clients {
			client.Expect("from", i)
		}
	}
	c.emit(servers[0].Of("/").To().Local(), "local")
	c.emit(servers[0].Of("/"), "end")
	for i, client := range clients {
		if i < 2 {
			client.Expect("local")
		}
		client.Expect("end")
	}
	from := servers[1].Of("/").Socket(clients[2].ID())
	c.emit(from.Broadcast(), "others")
	c.emit(servers[1].Of("/").To(clients[0].ID()), "by id")
	c.emit(servers[1].Of("/").To().Volatile(), "volatile")
	c.emit(servers[1].Of("/").To().Compress(false), "end")
	for i, client := range clients {
		if i != 2 {
			client.Expect("others")
		}
		if i == 0 {
			client.Expect("by id")
		}
		client.Expect("volatile")
		client.Expect("end")
	}
}

// Whatever clients can be sent by their own server they can be sent by another.
func testValues(c *rig) {
	servers := c.start(2, nil)
	there := c.dial(servers[1])
	at := time.UnixMilli(1_700_000_000_123).UTC()
	type inner struct {
		Text string `json:"text"`
		None *int   `json:"none,omitempty"`
	}
	for name, args := range map[string][]any{
		"nothing": {},
		"scalars": {"text", 1, -1, 1.5, true, nil, 1 << 40, ""},
		"text":    {"ünïcödé \u2028 \x00 \"", "💥"},
		"bytes":   {[]byte{0, 1, 255}, map[string]any{"deep": []any{[]byte("inside")}}, []byte{}},
		"nested":  {map[string]any{"list": []any{1, "two", nil, map[string]any{}}}, []any{}},
		"structs": {inner{Text: "x"}, &inner{Text: "y"}, []inner{{Text: "z"}}},
		"time":    {at},
	} {
		c.emit(servers[0].Of("/"), name, args...)
		there.Expect(name, args...)
	}
}

// What one server sends arrives in its order.
func testOrder(c *rig) {
	const events = 2000
	servers := c.start(2, nil)
	there := c.dial(servers[1])
	c.join(there, servers[1], "room")
	for i := range events {
		switch i % 3 {
		case 0:
			c.emit(servers[0].Of("/"), "n", i)
		case 1:
			c.emit(servers[0].Of("/").To("room"), "n", i)
		default:
			c.emit(servers[0].Of("/").To("room", "another"), "n", i)
		}
	}
	perChannel := make(map[int]int)
	for range events {
		var n int
		if err := there.Next().Args.Bind(&n); err != nil {
			c.Fatal(err)
		}
		// Engines may take different ways for a room, for several and for none.
		if last, ok := perChannel[n%3]; ok && n != last+3 {
			c.Fatalf("%d after %d", n, last)
		}
		perChannel[n%3] = n
	}
}

func testLarge(c *rig) {
	servers := c.start(2, nil)
	there := c.dial(servers[1])
	large := bytes.Repeat([]byte("large"), 50_000)
	c.emit(servers[0].Of("/"), "large", large)
	there.Expect("large", large)
}

// Rooms select the same sockets everywhere.
func testRooms(c *rig) {
	servers := c.start(3, nil)
	var a, ab, b, none []*upshifttest.Client
	for _, srv := range servers {
		for _, in := range []*[]*upshifttest.Client{&a, &ab, &b, &none} {
			*in = append(*in, c.dial(srv))
		}
	}
	for i, srv := range servers {
		c.join(a[i], srv, "a")
		c.join(ab[i], srv, "a")
		c.join(ab[i], srv, "b")
		c.join(b[i], srv, "b")
	}
	everybody := [][]*upshifttest.Client{a, ab, b, none}
	for _, tt := range []struct {
		name string
		to   core.Target
		get  [4]bool
	}{
		{"a", servers[0].Of("/").To("a"), [4]bool{true, true, false, false}},
		{"a or b", servers[0].Of("/").To("a", "b"), [4]bool{true, true, true, false}},
		{"a not b", servers[0].Of("/").To("a").Except("b"), [4]bool{true, false, false, false}},
		{"not b", servers[0].Of("/").Except("b"), [4]bool{true, false, false, true}},
		{"nobody", servers[0].Of("/").To("nobody"), [4]bool{}},
	} {
		c.emit(tt.to, tt.name)
		for i, kind := range everybody {
			for _, client := range kind {
				if tt.get[i] {
					client.Expect(tt.name)
				}
			}
		}
	}
	for _, room := range []string{"a", "b"} { // the same way as what must not have arrived
		c.emit(servers[0].Of("/").To(room), "end")
	}
	c.emit(servers[0].Of("/"), "end of all")
	for i, kind := range everybody {
		for _, client := range kind {
			for range [4]int{1, 2, 1, 0}[i] {
				client.Expect("end")
			}
			client.Expect("end of all")
		}
	}
}

// However fast rooms come and go, in the end those who are there are reached, and
// those who are not are not.
func testRoomsThatChange(c *rig) {
	const rooms, rounds = 30, 20
	servers := c.start(2, nil)
	there := c.dial(servers[1])
	s := servers[1].Of("/").Socket(there.ID())
	var wg sync.WaitGroup
	for i := range rooms {
		wg.Go(func() {
			room := fmt.Sprint("room ", i)
			for range rounds {
				if err := s.Join(c.Context(), room); err != nil {
					c.Error(err)
				}
				if err := s.Leave(c.Context(), room); err != nil {
					c.Error(err)
				}
			}
			if i%2 == 0 {
				if err := s.Join(c.Context(), room); err != nil {
					c.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := 0; i < rooms; i += 2 {
		c.reachable(there, fmt.Sprint("room ", i))
	}
	for i := range rooms {
		c.emit(servers[0].Of("/").To(fmt.Sprint("room ", i)), "in", i)
	}
	want := make(map[int]bool)
	for i := 0; i < rooms; i += 2 {
		want[i] = true
	}
	for len(want) > 0 {
		var n int
		if err := there.Next().Args.Bind(&n); err != nil {
			c.Fatal(err)
		}
		if !want[n] {
			c.Fatalf("room %d was reached, or twice", n)
		}
		delete(want, n)
	}
}

// An event that cannot be encoded is an error for who sends it.
func testNotEncodable(c *rig) {
	servers := c.start(2, nil)
	there := c.dial(servers[1])
	if err := servers[0].Of("/").Emit(c.Context(), "bad", func() {}); err == nil {
		c.Error("a function was sent")
	}
	c.emit(servers[0].Of("/"), "good")
	there.Expect("good")
}
