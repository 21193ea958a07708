package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// history keeps the changes of state of a socket.
type history struct {
	mu      sync.Mutex
	changes []client.StateChange
}

func watch(c *client.Socket) *history {
	h := &history{}
	c.OnState(func(_ context.Context, change client.StateChange) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.changes = append(h.changes, change)
	})
	return h
}

func (h *history) take() []client.StateChange {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes := h.changes
	h.changes = nil
	return changes
}

// states are the states in turn.
func states(changes []client.StateChange) string {
	var s strings.Builder
	for _, c := range changes {
		s.WriteString(c.State.String()[:3] + " ")
	}
	return s.String()
}

func TestReconnectsWithBackoff(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, net, o := inMemory(t, core.Options{})
				o.Transports, o.FirstTransportOnly = way.Transports, true
				o.Reconnection.Jitter = -1
				c := newClient(t, memory, o)
				h := watch(c)
				connect(t, c)
				synctest.Wait()
				if got := states(h.take()); got != "con con " {
					t.Errorf("states %s", got)
				}
				id := c.ID()
				net.cut()
				synctest.Wait()
				lost := h.take()
				if got := states(lost); got != "dis wai " {
					t.Fatalf("states %s", got)
				}
				cause, ok := errors.AsType[*client.CloseError](lost[0].Err)
				if !ok || cause.Reason != client.TransportClose && cause.Reason != client.TransportError {
					t.Errorf("cause %v", lost[0].Err)
				}
				if c.ID() != "" || c.Connected() || c.State() != client.Waiting {
					t.Errorf("id %q, state %s", c.ID(), c.State())
				}
				net.dialed()
				start := time.Now()
				<-time.After(30 * time.Second)
				synctest.Wait()
				dials := net.dialed()
				after := make([]time.Duration, 0, len(dials))
				for _, at := range dials {
					after = append(after, at.Sub(start))
				}
				if got := fmt.Sprint(after); got != "[1s 3s 7s 12s 17s 22s 27s]" {
					t.Errorf("dialed after %s", got)
				}
				for i, change := range h.take() {
					if change.State == client.Waiting && (change.Attempt != i/2+2 || !errors.Is(change.Err, errDown)) {
						t.Errorf("change %d: %+v", i, change)
					}
				}
				net.mend()
				<-time.After(3 * time.Second)
				synctest.Wait()
				if !c.Connected() || c.ID() == id {
					t.Errorf("connected %v, id %q", c.Connected(), c.ID())
				}
			})
		})
	}
}

func TestJitterStaysInRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		net.cut()
		o := net.options(t)
		o.Transports = []string{client.Polling}
		o.Reconnection = client.Reconnection{Attempts: 200}
		c := newClient(t, memory, o)
		h := watch(c)
		err := c.Connect(t.Context())
		if !errors.Is(err, client.ErrGivenUp) || !errors.Is(err, errDown) {
			t.Errorf("Connect: %v", err)
		}
		synctest.Wait()
		differ := false
		var last time.Duration
		waits := 0
		for _, change := range h.take() {
			if change.State != client.Waiting {
				continue
			}
			waits++
			base := min(time.Second<<min(change.Attempt-1, 10), 5*time.Second)
			if change.Delay < base/2 || change.Delay > min(base*3/2, 5*time.Second) {
				t.Errorf("attempt %d after %s", change.Attempt, change.Delay)
			}
			differ = differ || change.Delay != last && waits > 5
			last = change.Delay
		}
		if waits != 200 || !differ {
			t.Errorf("waited %d times, differently: %v", waits, differ)
		}
		if c.State() != client.Disconnected {
			t.Errorf("state %s", c.State())
		}
	})
}

func TestDialFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		net.cut()
		start := time.Now()
		_, err := client.Dial(t.Context(), memory, net.options(t))
		if !errors.Is(err, errDown) {
			t.Errorf("Dial: %v", err)
		}
		if n := len(net.dialed()); n != 2 || time.Since(start) > 0 {
			t.Errorf("dialed %d times, in %s", n, time.Since(start))
		}
	})
}

func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, net, o := inMemory(t, core.Options{})
		net.cut()
		c := newClient(t, memory, o)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := c.Connect(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
			t.Errorf("Connect: %v", err)
		}
		net.mend() // it goes on trying
		<-time.After(10 * time.Second)
		if !c.Connected() {
			t.Errorf("state %s", c.State())
		}
	})
}

func TestNoticesASilentServer(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, net, o := inMemory(t, core.Options{})
				o.Transports = way.Transports
				c := newClient(t, memory, o)
				h := watch(c)
				connect(t, c)
				<-time.After(5 * time.Minute) // heartbeats
				if changes := h.take(); states(changes) != "con con " {
					t.Errorf("changes %+v", changes)
				}
				net.vanish()
				<-time.After(45*time.Second + time.Millisecond)
				synctest.Wait()
				lost := h.take()
				if len(lost) == 0 || client.ReasonOf(lost[0].Err) != client.PingTimeout {
					t.Fatalf("lost: %+v", lost)
				}
				<-time.After(10 * time.Second)
				if !c.Connected() {
					t.Errorf("state %s", c.State())
				}
			})
		})
	}
}

func TestWithoutReconnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, net, o := inMemory(t, core.Options{})
		o.Reconnection.Disabled = true
		c := newClient(t, memory, o)
		h := watch(c)
		connect(t, c)
		net.cut()
		net.mend()
		<-time.After(time.Hour)
		if got := states(h.take()); got != "con con dis dis " || c.State() != client.Disconnected {
			t.Errorf("states %s", got)
		}
		connect(t, c)
	})
}

func TestDisconnectEndsTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		net.cut()
		c := newClient(t, memory, net.options(t))
		done := make(chan error)
		go func() { done <- c.Connect(t.Context()) }()
		<-time.After(10 * time.Second)
		c.Disconnect()
		if err := <-done; !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Connect: %v", err)
		}
		net.dialed()
		<-time.After(time.Minute)
		if n := len(net.dialed()); n != 0 {
			t.Errorf("dialed %d times", n)
		}
	})
}

// Connect and Disconnect at the same time: whichever was first, nothing is
// dialed for a socket that is disconnected.
func TestDisconnectDuringConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork()
		net.cut()
		c := newClient(t, memory, net.options(t))
		const times, together = 300, 10
		for range times {
			var connecting atomic.Int64
			for range together {
				connecting.Add(1)
				go func() {
					defer connecting.Add(-1)
					_ = c.Connect(t.Context()) // it fails, or waits
				}()
				go c.Disconnect()
			}
			synctest.Wait()
			if connecting.Load() == 0 {
				net.dialed()
				<-time.After(time.Minute)
				if n := len(net.dialed()); n != 0 {
					t.Fatalf("dialed %d times", n)
				}
			}
			c.Disconnect()
			synctest.Wait()
		}
	})
}
