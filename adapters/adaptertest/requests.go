package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// Sockets of other servers are put into rooms and taken out of them.
func testUpdate(c *rig) {
	servers := c.start(2, nil)
	here, there := c.dial(servers[0]), c.dial(servers[1])
	all := servers[0].Of("/").To()
	if err := all.Join(c.Context(), "one", "two"); err != nil {
		c.Fatal(err)
	}
	c.reachable(there, "one")
	c.reachable(here, "two")
	if err := all.To("two").Leave(c.Context(), "one"); err != nil {
		c.Fatal(err)
	}
	c.until("the socket has left the room", func(context.Context) bool {
		return !slices.Contains(servers[1].Of("/").Socket(there.ID()).Rooms(), "one")
	})
	if err := servers[0].Of("/").To(there.ID()).Join(c.Context(), "by id"); err != nil {
		c.Fatal(err)
	}
	c.reachable(there, "by id")
	if rooms := servers[0].Of("/").Socket(here.ID()).Rooms(); slices.Contains(rooms, "by id") || slices.Contains(rooms, "one") {
		c.Errorf("the socket that was not meant is in %q", rooms)
	}
}

func testDisconnect(c *rig) {
	gone := make(chan string, 10)
	servers := c.start(2, func(_ int, srv *core.Server) {
		srv.Of("/").OnDisconnect(func(_ context.Context, s *core.Socket, err error) {
			var cause *core.CloseError
			if !errors.As(err, &cause) {
				c.Errorf("disconnected by %v", err)
				return
			}
			gone <- fmt.Sprint(s.ID(), cause.Reason)
		})
	})
	a, b, stays := c.dial(servers[1]), c.dial(servers[1]), c.dial(servers[1])
	c.join(b, servers[1], "room")
	c.emit(servers[0].Of("/").To(a.ID()), "last")
	servers[0].Of("/").To(a.ID()).Disconnect()
	a.Expect("last")
	if got, want := c.await(gone), fmt.Sprint(a.ID(), core.ServerDisconnect); got != want {
		c.Errorf("%s, want %s", got, want)
	}
	servers[0].Of("/").To("room").CloseSessions()
	if got, want := c.await(gone), fmt.Sprint(b.ID(), core.ServerDisconnect); got != want {
		c.Errorf("%s, want %s", got, want)
	}
	c.emit(servers[0].Of("/"), "still here")
	stays.Expect("still here")
}

func (c *rig) await(from <-chan string) string {
	c.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		c.Fatal("waited in vain")
		return ""
	}
}

// Clients of all servers are asked, and all answers come.
func testCallAll(c *rig) {
	servers := c.start(3, nil)
	want := make(map[string]int)
	for i, srv := range servers {
		for range i + 1 {
			client := c.dial(srv)
			client.Handle("who", func(e *upshifttest.Event) {
				if err := e.Reply(client.ID()); err != nil {
					c.Error(err)
				}
			})
			want[client.ID()]++
		}
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	for i, srv := range servers {
		got := make(map[string]int)
		for reply, err := range srv.Of("/").To().CallAll(ctx, "who", []any{"is", []byte("there")}) {
			if err != nil {
				c.Fatalf("server %d: %v", i, err)
			}
			var id string
			if err := reply.Answer.Bind(&id); err != nil {
				c.Fatal(err)
			}
			got[id]++
		}
		if !maps.Equal(got, want) {
			c.Errorf("server %d: %v, want %v", i, got, want)
		}
	}
	for _, err := range servers[0].Of("/").To("nobody").CallAll(ctx, "who", nil) {
		c.Errorf("nobody: %v", err)
	}
}

// enough is how long those who do answer may take, while somebody does not.
const enough = 5 * time.Second

// A client that does not answer is told of when the time is over, and the answers
// of the others are not lost.
func testCallAllSilent(c *rig) {
	servers := c.start(2, nil)
	answers, silent := c.dial(servers[1]), c.dial(servers[1])
	answers.Handle("who", func(e *upshifttest.Event) {
		if err := e.Reply("me", "surplus"); err != nil {
			c.Error(err)
		}
	})
	silent.Handle("who", func(*upshifttest.Event) {})
	ctx, cancel := context.WithTimeout(c.Context(), enough)
	defer cancel()
	n := 0
	var partial *core.PartialError
	for reply, err := range servers[0].Of("/").To().CallAll(ctx, "who", nil) {
		if errors.As(err, &partial) {
			continue
		}
		var text string
		if err = errors.Join(err, reply.Answer.Bind(&text)); err != nil || text != "me" {
			c.Errorf("%q, %v", text, err)
		}
		n++
	}
	if n != 1 || partial == nil || partial.Clients != 1 || !errors.Is(partial, core.ErrPartial) || !errors.Is(partial, context.DeadlineExceeded) {
		c.Errorf("%d answers, %v", n, partial)
	}
}

var user = core.NewSharedKey[string]("adaptertest:user")

// Sockets of all servers are found, with what is known of them.
func testFetch(c *rig) {
	connected := make(chan string, 3) // a client is, before the handler has run
	servers := c.start(3, func(i int, srv *core.Server) {
		srv.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
			user.Set(s, fmt.Sprint("user of ", i))
			connected <- s.ID()
			return nil
		})
	})
	want := make(map[string]string)
	for i, srv := range servers {
		client := upshifttest.Dial(c, srv, "/", upshifttest.Options{Codec: c.codec, Auth: map[string]any{"token": "x"}, Patience: patience})
		want[c.await(connected)] = fmt.Sprint("user of ", i)
		c.join(client, srv, "room")
		if i == 2 {
			c.join(client, srv, "not")
		}
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	all, err := servers[0].Of("/").To("room").Fetch(ctx)
	if err != nil || len(all) != 3 {
		c.Fatalf("%d sockets, %v", len(all), err)
	}
	for _, s := range all {
		name, ok, err := user.From(&s)
		if want[s.ID] != name || !ok || err != nil {
			c.Errorf("socket %s belongs to %q, %v; want %q", s.ID, name, err, want[s.ID])
		}
		if !slices.Contains(s.Rooms, s.ID) || !slices.Contains(s.Rooms, "room") {
			c.Errorf("socket %s is in %q", s.ID, s.Rooms)
		}
		var auth struct{ Token string }
		if err := s.Handshake.Auth.Bind(&auth); err != nil || auth.Token != "x" {
			c.Errorf("auth %+v, %v", auth, err)
		}
		if since := time.Since(s.Handshake.When()); since < 0 || since > time.Hour {
			c.Errorf("the session was opened %v ago", since)
		}
	}
	if some, err := servers[1].Of("/").To("room").Except("not").Fetch(ctx); err != nil || len(some) != 2 {
		c.Errorf("%d sockets, %v", len(some), err)
	}
	if local, err := servers[1].Of("/").To().Local().Fetch(ctx); err != nil || len(local) != 1 {
		c.Errorf("%d sockets here, %v", len(local), err)
	}
}

// Servers send each other events, and answer.
func testServerSide(c *rig) {
	heard := make(chan string, 100)
	servers := c.start(3, func(i int, srv *core.Server) {
		srv.Of("/").OnServerSide("hello", func(_ context.Context, args core.Args) (any, error) {
			var (
				name  string
				bytes []byte
			)
			err := args.Bind(&name, &bytes)
			heard <- fmt.Sprint(i, name, string(bytes))
			return map[string]any{"i": i}, err
		})
	})
	if err := servers[1].Of("/").ServerSideEmit(c.Context(), "hello", "you", []byte("b")); err != nil {
		c.Fatal(err)
	}
	got := []string{c.await(heard), c.await(heard)}
	if slices.Sort(got); !slices.Equal(got, []string{"0youb", "2youb"}) {
		c.Errorf("%q", got)
	}
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	var from []int
	for args, err := range servers[0].Of("/").ServerSideCall(ctx, "hello", "all", []byte{}) {
		var answer struct{ I int }
		if err = errors.Join(err, args.Bind(&answer)); err != nil {
			c.Fatal(err)
		}
		from = append(from, answer.I)
	}
	if slices.Sort(from); !slices.Equal(from, []int{1, 2}) {
		c.Errorf("answers of %v", from)
	}
}

// A handler sees the events of a server in their order, one at a time, also if it
// takes its time.
func testServerSideOrder(c *rig) {
	const events = 200
	heard := make(chan string, events)
	servers := c.start(2, func(_ int, srv *core.Server) {
		srv.Of("/").OnServerSide("n", func(_ context.Context, args core.Args) (any, error) {
			var n int
			err := args.Bind(&n)
			if n%50 == 0 {
				<-time.After(time.Millisecond)
			}
			heard <- strconv.Itoa(n)
			return nil, err
		})
	})
	for n := range events {
		if err := servers[0].Of("/").ServerSideEmit(c.Context(), "n", n); err != nil {
			c.Fatal(err)
		}
	}
	for n := range events {
		if got := c.await(heard); got != strconv.Itoa(n) {
			c.Fatalf("%s instead of %d", got, n)
		}
	}
}

// A server whose handler does not come back costs the others nothing but its
// answer.
func testServerSideDead(c *rig) {
	servers := c.start(3, func(i int, srv *core.Server) {
		srv.Of("/").OnServerSide("hang", func(ctx context.Context, _ core.Args) (any, error) {
			if i == 2 {
				<-ctx.Done()
			}
			return i, nil
		})
	})
	ctx, cancel := context.WithTimeout(c.Context(), enough)
	defer cancel()
	answers := 0
	var partial *core.PartialError
	for _, err := range servers[0].Of("/").ServerSideCall(ctx, "hang") {
		if err == nil {
			answers++
		} else if !errors.As(err, &partial) {
			c.Error(err)
		}
	}
	if answers != 1 || partial == nil || partial.Servers != 2 || partial.Answered != 1 || len(partial.Silent) != 1 {
		c.Errorf("%d answers, %v", answers, partial)
	}
	there := c.dial(servers[2])
	c.emit(servers[0].Of("/"), "goes on")
	there.Expect("goes on")
}
