package interop

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	goclient "github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/event"
)

// The bytes on a WebSocket that is tried for an upgrade: "2probe" with header
// and mask, "3probe" with header, "5" with header and mask.
const (
	probeBytes   = 12
	answerBytes  = 8
	upgradeBytes = 7
)

// traffic has a client and an official server send each other numbered events
// from now on, and checks that all arrive, once and in order.
func traffic(t *testing.T, srv *official, c *goclient.Socket, drops <-chan int, events int) {
	t.Helper()
	if err := c.Emit(t.Context(), "flood", events, "padding"); err != nil {
		t.Fatal(err)
	}
	for n := range events {
		if err := c.Emit(t.Context(), "count", n); err != nil {
			t.Fatal(err)
		}
		if n%20 == 0 {
			goCall(t, c, "echo", nil)
		}
	}
	for n, seen := range srv.awaitN(t, events, "counts", func(o observed) bool { return o.Kind == "count" }) {
		if seen.N != n {
			t.Fatalf("the server has %d instead of %d", seen.N, n)
		}
	}
	for n := range events {
		select {
		case got := <-drops:
			if got != n {
				t.Fatalf("received %d instead of %d", got, n)
			}
		case <-time.After(patience):
			t.Fatalf("waited in vain for %d", n)
		}
	}
}

// An upgrade that fails before the client has committed to it costs nothing:
// the session goes on as it was.
func TestGoClientStaysOnPolling(t *testing.T) {
	faults := map[string]fault{
		"refused":  {status: 503},
		"stripped": {strip: true},
	}
	for n := range probeBytes {
		faults[fmt.Sprintf("cut after %d bytes up", n)] = fault{up: n, down: unlimited, cut: true}
	}
	for n := range answerBytes {
		faults[fmt.Sprintf("cut after %d bytes down", n)] = fault{up: unlimited, down: n, cut: true}
		faults[fmt.Sprintf("reset after %d bytes down", n)] = fault{up: unlimited, down: n, cut: true, reset: true}
	}
	faults["nothing comes back"] = fault{up: unlimited, down: 0}
	faults["half the answer"] = fault{up: unlimited, down: answerBytes / 2}
	srv := startOfficial(t, "json", map[string]any{"upgradeTimeout": 500})
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, srv.addr(), 0, func(int) fault { return f })
			log := newJournal[string]()
			drops := make(chan int, 200)
			c := goConnect(t, p.url, goclient.Options{
				Transports: []string{goclient.Polling, goclient.WebSocket},
				Timeout:    4 * time.Second,
			}, func(c *goclient.Socket) {
				goclient.On(c, "drop", func(_ context.Context, n int) (event.None, error) {
					drops <- n
					return event.None{}, nil
				})
				c.OnState(func(_ context.Context, change goclient.StateChange) { log.add(change.State.String()) })
			})
			traffic(t, srv, c, drops, 100)
			p.broken.await(t, "the fault", func(fault) bool { return true })
			traffic(t, srv, c, drops, 100)
			if got := c.Transport(); got != goclient.Polling {
				t.Errorf("on %s", got)
			}
			if got := log.String(); got != "  connecting\n  connected\n" {
				t.Errorf("states\n%s", got)
			}
			_ = c.Close()
			srv.saw(t, "disconnect")
		})
	}
}

// Wherever a WebSocket is cut, retries bring every event to the server, first
// tries in order, and recovery brings every event of the server to the client,
// once and in order.
func TestGoClientLosesNothingWhereverItIsCut(t *testing.T) {
	const events = 20
	srv := startOfficial(t, "json", map[string]any{
		"connectionStateRecovery": map[string]any{}, "upgradeTimeout": 500, "pingInterval": 500, "pingTimeout": 500,
	})
	for _, way := range goWays[1:] {
		t.Run(way.name, func(t *testing.T) {
			first := probeBytes + upgradeBytes // up to here it is no loss
			if way.name == "websocket" {
				first = 0
			}
			for n := first; n < first+400; n += 13 {
				f := fault{up: n, down: unlimited, cut: true, reset: n%2 == 0}
				if n%3 == 0 {
					f.up, f.down = unlimited, n+300 // the handshake and more
				}
				p := startProxy(t, srv.addr(), 0, func(socket int) fault {
					if socket == 0 {
						return f
					}
					return healthy
				})
				news := newJournal[int]()
				c := goConnect(t, p.url, goclient.Options{
					Transports: way.transports, FirstTransportOnly: true, Reconnection: quick,
					Socket: goclient.SocketOptions{Retries: 10, AckTimeout: 2 * time.Second},
				}, func(c *goclient.Socket) {
					goclient.On(c, "news", func(_ context.Context, n int) (event.None, error) {
						news.add(n)
						return event.None{}, nil
					})
				})
				from := 1000 * n // what came late from the client before is below
				for n := range events {
					if err := c.Emit(t.Context(), "count", from+n); err != nil {
						t.Fatal(err)
					}
				}
				next := from
				for next < from+events {
					seen := srv.await(t, "counts", func(o observed) bool { return o.Kind == "count" && o.N >= from })
					if seen.N > next {
						t.Fatalf("cut %+v: the server has %d instead of %d", f, seen.N, next)
					}
					if seen.N == next {
						next++
					}
				}
				// There is nothing to recover from before the first event.
				for {
					srv.news(t, 0)
					there, changed := news.count(func(n int) bool { return n == 0 })
					if there > 0 {
						break
					}
					select {
					case <-changed:
					case <-time.After(time.Second):
					}
				}
				for n := range events {
					srv.news(t, 1+n)
				}
				news.seen(t, 1, "the last one", func(n int) bool { return n == events })
				got := slices.Compact(news.all()) // the first one may have come twice
				for i, n := range got {
					if n != i {
						t.Fatalf("cut %+v: received %v", f, got)
					}
				}
				_ = c.Close()
			}
		})
	}
}

// A network that stands still for a while delays events, and no more.
func TestGoClientOnASlowNetwork(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		wire := startLink(t, srv.addr())
		drops := make(chan int, 600)
		c := goConnect(t, wire.url, o, func(c *goclient.Socket) {
			goclient.On(c, "drop", func(_ context.Context, n int) (event.None, error) {
				drops <- n
				return event.None{}, nil
			})
		})
		for range 3 {
			wire.stall()
			mended := time.AfterFunc(300*time.Millisecond, wire.resume)
			traffic(t, srv, c, drops, 200)
			mended.Stop()
			wire.resume()
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
