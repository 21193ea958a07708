package relay_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// Thousands of events in both directions, from several clients at once, through a
// balancer that sends each request to another server: nothing is lost, doubled or
// out of order.
func TestRoundRobin(t *testing.T) {
	const clients, events = 3, 2000
	for _, door := range []string{"nethttp", "fasthttp"} {
		for name, way := range ways {
			t.Run(door+"/"+name, func(t *testing.T) {
				nodes := start(t, 3, setup{door: door})
				var (
					mu  sync.Mutex
					got = make(map[string][]int) // by socket, what has arrived
				)
				for _, n := range nodes {
					ns := n.srv.Of("/")
					core.On(ns, "up", func(ctx context.Context, s *core.Socket, i int) (core.None, error) {
						mu.Lock()
						got[s.ID()] = append(got[s.ID()], i)
						mu.Unlock()
						return core.None{}, s.Emit(ctx, "down", i)
					})
					core.On(ns, "echo", func(_ context.Context, _ *core.Socket, i int) (int, error) { return i, nil })
				}
				b := balance(t, nodes)
				var running sync.WaitGroup
				for range clients {
					c := dial(t, b.url, way)
					down := make(chan int, events)
					client.On(c, "down", func(_ context.Context, i int) (core.None, error) {
						down <- i
						return core.None{}, nil
					})
					running.Go(func() {
						for i := range events {
							if err := c.Emit(t.Context(), "up", i); err != nil {
								t.Error(err)
								return
							}
							if i%100 == 0 { // so that there are many requests
								var back int
								if err := c.Call(t.Context(), "echo", []any{i}, &back); err != nil || back != i {
									t.Errorf("echo of %d: %d, %v", i, back, err)
									return
								}
							}
						}
					})
					running.Wait()
					for i := range events {
						if have := receive(t, "an event", down); have != i {
							t.Fatalf("event %d came when %d was due", have, i)
						}
					}
					mu.Lock()
					if want := upTo(events); !slices.Equal(got[c.ID()], want) {
						t.Errorf("the server has %d events, or not in order", len(got[c.ID()]))
					}
					mu.Unlock()
					if len(down) != 0 {
						t.Errorf("%d events too many", len(down))
					}
					if name == "upgrade" {
						until(t, "the session has moved", func() bool { return c.Transport() == client.WebSocket })
					}
				}
				until(t, "what was passed on is received", func() bool {
					sum := total(nodes)
					return sum.Received == sum.Requests
				})
				sum := total(nodes)
				if want := name != "websocket"; (sum.Requests > 0) != want {
					t.Errorf("%d requests were passed on", sum.Requests)
				}
				if name == "upgrade" { // two of three WebSockets are tunnelled
					until(t, "one is tunnelled", func() bool {
						c := dial(t, b.url, way)
						until(t, "the session has moved", func() bool { return c.Transport() == client.WebSocket })
						return total(nodes).Tunnels > 0
					})
				}
				if sum.Failed+sum.Unknown+sum.Forged+sum.Questions != 0 {
					t.Errorf("not all went well: %+v", sum)
				}
			})
		}
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Messages of megabytes pass as they are.
func TestBigPayloads(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			nodes := start(t, 3, setup{core: core.Options{MaxPayload: 8 << 20}})
			for _, n := range nodes {
				core.On(n.srv.Of("/"), "echo", func(_ context.Context, _ *core.Socket, v []byte) ([]byte, error) { return v, nil })
			}
			c := dial(t, balance(t, nodes).url, way)
			sent := make([]byte, 3<<20)
			_, _ = rand.Read(sent)
			for range 3 {
				var back []byte
				if err := c.Call(t.Context(), "echo", []any{sent}, &back); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(sent, back) {
					t.Fatalf("%d bytes came back, or others", len(back))
				}
			}
		})
	}
}

// A server that dies takes its sessions with it. Their clients learn at once, open
// new ones at the others, and the sessions of those go on.
func TestOwnerKilled(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			nodes := start(t, 3, setup{})
			home := make(chan int, 100)
			for i, n := range nodes {
				n.srv.Of("/").OnConnect(func(context.Context, *core.Socket) error {
					home <- i
					return nil
				})
				core.On(n.srv.Of("/"), "echo", func(_ context.Context, _ *core.Socket, i int) (int, error) { return i, nil })
			}
			b := balance(t, nodes)
			way.Reconnection = client.Reconnection{Delay: 1, MaxDelay: 1}
			type session struct {
				c    *client.Socket
				at   int
				lost chan struct{}
			}
			all := make([]session, 0, 6)
			for range cap(all) {
				c := dial(t, b.url, way)
				s := session{c: c, at: receive(t, "the connect", home), lost: make(chan struct{}, 10)}
				c.OnDisconnect(func(context.Context, error) { s.lost <- struct{}{} })
				if name == "upgrade" {
					until(t, "the session has moved", func() bool { return c.Transport() == client.WebSocket })
				}
				all = append(all, s)
			}
			victim := nodes[0]
			b.remove(victim) // as a balancer does when it notices
			victim.kill()
			for _, s := range all {
				if s.at == 0 {
					receive(t, "the end of a session", s.lost)
					if at := receive(t, "a new session", home); at == 0 {
						t.Error("a new session is at the dead server")
					}
				}
				until(t, "all work", func() bool {
					var back int
					return s.c.Call(t.Context(), "echo", []any{1}, &back) == nil && back == 1
				})
			}
			// Others may have been relayed by the victim, whose poll or tunnel was
			// cut, too; who was not has lost nothing.
		})
	}
}

// A client that stops waiting for its poll is seen to have gone by its own server,
// and nothing is left of the request.
func TestClientGone(t *testing.T) {
	for _, door := range []string{"nethttp", "fasthttp"} {
		t.Run(door, func(t *testing.T) {
			nodes := start(t, 2, setup{door: door})
			gone := make(chan error, 1)
			nodes[0].srv.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { gone <- cause })
			sid := openSession(t, nodes[0])
			ctx, cancel := context.WithCancel(t.Context())
			polling := make(chan error, 1)
			go func() {
				_, err := tryGet(ctx, nodes[1].base+"/socket.io/?EIO=4&transport=polling&sid="+sid)
				polling <- err
			}()
			until(t, "the poll is parked", func() bool { return nodes[0].front.Stats().Received == 1 })
			cancel()
			if receive(t, "the end of the poll", polling) == nil {
				t.Error("the poll was answered")
			}
			_ = receive(t, "the end of the session", gone)
			until(t, "nothing is left", func() bool { return nodes[1].front.Stats().Active == 0 })
		})
	}
}

// A parked poll is answered as soon as there is something, and many can be parked.
func TestManyParked(t *testing.T) {
	const sessions = 200
	nodes := start(t, 2, setup{})
	var polling sync.WaitGroup
	for range sessions {
		sid := openSession(t, nodes[0])
		polling.Go(func() {
			answer, err := tryGet(t.Context(), nodes[1].base+"/socket.io/?EIO=4&transport=polling&sid="+sid)
			if err != nil || answer.status != 200 || !strings.Contains(answer.body, `42["news",7]`) {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
	until(t, "all are parked", func() bool { return nodes[1].front.Stats().Active == sessions })
	if err := nodes[0].srv.Of("/").Emit(t.Context(), "news", 7); err != nil {
		t.Error(err)
	}
	polling.Wait()
}

// Close cuts tunnels and polls. The client comes back elsewhere.
func TestClose(t *testing.T) {
	nodes := start(t, 2, setup{})
	sid := openSession(t, nodes[0])
	polling := make(chan response, 1)
	go func() {
		answer, _ := tryGet(t.Context(), nodes[1].base+"/socket.io/?EIO=4&transport=polling&sid="+sid)
		polling <- answer
	}()
	other := openSession(t, nodes[0])
	conn := dialWebSocket(t, nodes[1].base, other)
	until(t, "both are under way", func() bool { return nodes[1].front.Stats().Active == 2 })
	if err := nodes[1].front.Close(); err != nil {
		t.Fatal(err)
	}
	if answer := receive(t, "the answer", polling); answer.status != 400 {
		t.Errorf("the poll was answered with %+v", answer)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel is open")
	}
	if answer := get(t, nodes[1].base+"/socket.io/?EIO=4&transport=polling&sid="+openSession(t, nodes[0])); answer.status != 503 {
		t.Errorf("after Close: %+v", answer)
	}
}
