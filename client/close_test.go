package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// Close may come at any moment, and leaves nothing behind: the bubble fails if a
// goroutine is left, or if it does not return.
func TestCloseAtAnyMoment(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			for delay := range 60 {
				synctest.Test(t, func(t *testing.T) {
					srv, net, o := inMemory(t, core.Options{Recovery: &core.Recovery{}})
					countOn(srv)
					o.Transports = way.Transports
					o.Reconnection.Delay = 3 * time.Millisecond
					o.Socket = client.SocketOptions{AuthFunc: func(ctx context.Context) (any, error) {
						select {
						case <-time.After(5 * time.Millisecond):
						case <-ctx.Done():
						}
						return nil, ctx.Err()
					}}
					c := newClient(t, memory, o)
					for _, namespace := range []string{"/a", "/b"} {
						srv.Of(namespace)
						other, err := c.Manager().Socket(namespace, client.SocketOptions{})
						if err != nil {
							t.Fatal(err)
						}
						go func() { _ = other.Connect(context.Background()) }()
					}
					var running sync.WaitGroup
					running.Go(func() { _ = c.Connect(context.Background()) })
					running.Go(func() { _ = c.Call(context.Background(), "count", []any{1}) })
					running.Go(func() {
						for _, err := range posted.All(context.Background(), c) {
							if err == nil {
								t.Error("an event")
							}
						}
					})
					for step := range delay {
						<-time.After(time.Millisecond)
						synctest.Wait()
						switch step {
						case 20:
							net.cut()
						case 30:
							net.mend()
						case 40:
							net.vanish()
						}
					}
					start := time.Now()
					_ = c.Close()
					if took := time.Since(start); took > 6*time.Second {
						t.Errorf("closed in %s", took)
					}
					running.Wait()
					_ = c.Close()
					if c.State() != client.Closed {
						t.Errorf("state %s", c.State())
					}
				})
			}
		})
	}
}

func TestCloseInAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		c := newClient(t, memory, o)
		ended := make(chan error, 1)
		client.On(c, "bye", func(ctx context.Context, _ int) (event.None, error) {
			err := c.Close()
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return event.None{}, err
		})
		var cause error
		c.OnDisconnect(func(_ context.Context, err error) { cause = err })
		connect(t, c)
		synctest.Wait()
		for range 10 {
			_ = srv.Of("/").Emit(t.Context(), "bye", 1)
		}
		if err := <-ended; client.ReasonOf(err) != client.ClientDisconnect {
			t.Errorf("context ended with %v", err)
		}
		synctest.Wait()
		if client.ReasonOf(cause) != client.ClientDisconnect || c.State() != client.Closed {
			t.Errorf("disconnected by %v, state %s", cause, c.State())
		}
	})
}

// What was emitted before Close arrives.
func TestCloseSendsWhatIsLeft(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _, o := inMemory(t, core.Options{})
				seen := countOn(srv)
				var reason core.Reason
				srv.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { reason = core.ReasonOf(cause) })
				o.Transports = way.Transports
				c := newClient(t, memory, o)
				connect(t, c)
				for n := range 500 {
					if err := c.Emit(t.Context(), "count", n); err != nil {
						t.Fatal(err)
					}
				}
				_ = c.Close()
				synctest.Wait()
				if got := seen.take(); len(got) != 500 || reason != core.ClientDisconnect {
					t.Errorf("%d seen, reason %s", len(got), reason)
				}
			})
		})
	}
}

// A thousand reconnections cost nothing that stays.
func TestReconnectCycles(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			const cycles = 1000
			srv, err := core.New(core.Options{Recovery: &core.Recovery{}})
			if err != nil {
				t.Fatal(err)
			}
			countOn(srv)
			host := httptest.NewServer(srv)
			defer host.Close()
			defer func() {
				// Sessions that were lost in an upgrade would be waited for.
				ended, cancel := context.WithCancel(context.Background())
				cancel()
				_ = srv.Shutdown(ended)
			}()
			o := way
			o.Reconnection = client.Reconnection{Delay: time.Microsecond, MaxDelay: time.Millisecond}
			c := newClient(t, host.URL, o)
			connected := make(chan struct{}, 1)
			c.OnConnect(func(context.Context) { connected <- struct{}{} })
			connect(t, c)
			receive(t, connected, "the connection")
			var before usage
			for n := range cycles {
				if n == cycles/5 {
					before = measure()
				}
				// The server ends its sockets' sessions; clients come back.
				for s := range srv.AllSessions() {
					s.Close(&client.CloseError{Reason: client.TransportError})
				}
				receive(t, connected, "the connection")
				if n%10 == 0 {
					if err := c.Call(t.Context(), "count", []any{n}); err != nil && !errors.Is(err, client.ErrDisconnected) {
						t.Fatal(err)
					}
				}
			}
			after := measure()
			t.Logf("before %+v, after %+v", before, after)
			if after.goroutines > before.goroutines+20 {
				t.Errorf("%d goroutines, %d before", after.goroutines, before.goroutines)
			}
			if after.heap > before.heap+2<<20 {
				t.Errorf("%d bytes, %d before", after.heap, before.heap)
			}
			_ = c.Close()
			http.DefaultClient.CloseIdleConnections()
		})
	}
	goleak.VerifyNone(t)
}

type usage struct {
	goroutines int
	heap       uint64
}

func measure() usage {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}
