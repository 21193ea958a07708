// Package clustertest puts clusters through faults: of their broker, and of servers.
package clustertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// A Member is an adapter that says what has happened.
type Member interface {
	core.Adapter
	Stats() cluster.Stats
}

// A Fault is what goes wrong while one server sends to the clients of both.
type Fault struct {
	Begin, End func()
	// Lossless: nothing may be missing at the other server.
	Lossless bool
}

// A stage is two servers in one cluster, each with a client.
type stage struct {
	adapters [2]Member
	servers  [2]*core.Server
	clients  [2]*upshifttest.Client
}

const (
	events   = 1200
	begins   = 300 // which of them comes when a fault begins
	ends     = 800 // and when it ends
	patience = 30 * time.Second
)

// TestFault has two servers go through a fault under load. The clients of the server
// that sends get everything once; those of the other server get nothing twice, nor out
// of order but for what the sender had given up, and if they miss something a counter
// says so. After it all is as before.
func TestFault(t *testing.T, adapters [2]Member, recovery *core.Recovery, fault Fault) {
	t.Helper()
	s := newStage(t, adapters, recovery)
	for n := range events {
		switch n {
		case begins:
			fault.Begin()
		case ends:
			fault.End()
		}
		// An error is that the other server cannot be reached.
		_ = s.servers[0].Of("/").To("room").Emit(t.Context(), "n", n)
		<-time.After(time.Millisecond)
	}
	s.settle(t)
	if got := s.numbers(t, 0, func() bool { return recovery == nil }); got != events {
		t.Errorf("%d of %d events have come to the client of the server that has sent them", got, events)
	}
	// Of a batch that was given up nobody knows when the broker will take it.
	got := s.numbers(t, 1, func() bool { return s.adapters[0].Stats().PublishFailed == 0 })
	sent, received := s.adapters[0].Stats(), s.adapters[1].Stats()
	t.Logf("%d of %d events at the other server; sender %+v, receiver %+v", got, events, sent, received)
	switch told := sent.PublishFailed + sent.Dropped + received.Gaps; {
	case got < events && told == 0:
		t.Errorf("%d events are missing, and nothing says so: %+v, %+v", events-got, sent, received)
	case got < events && fault.Lossless:
		t.Errorf("%d events are missing, which the broker has", events-got)
	case got < begins/2: // some were on their way when it began
		t.Errorf("%d events have come", got)
	}
}

func newStage(t *testing.T, adapters [2]Member, recovery *core.Recovery) *stage {
	t.Helper()
	s := &stage{adapters: adapters}
	for i := range s.servers {
		s.servers[i] = upshifttest.NewServer(t, core.Options{Adapter: adapters[i], Recovery: recovery})
		s.clients[i] = upshifttest.Dial(t, s.servers[i], "/", upshifttest.Options{})
	}
	for i, client := range s.clients {
		if err := s.servers[i].Of("/").Socket(client.ID()).Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(t)
	s.reach(t)
	for i := range s.clients {
		s.numbers(t, i, func() bool { return true })
	}
	return s
}

// settle waits until the servers reach each other, in both directions.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	for i, srv := range s.servers {
		heard := make(chan struct{}, 1)
		s.servers[1-i].Of("/").OnServerSide("ping", func(context.Context, core.Args) (any, error) {
			select {
			case heard <- struct{}{}:
			default:
			}
			return nil, nil
		})
		for end := time.Now().Add(patience); ; {
			_ = srv.Of("/").ServerSideEmit(t.Context(), "ping")
			select {
			case <-heard:
			case <-time.After(50 * time.Millisecond):
				if time.Now().After(end) {
					t.Fatal("the servers do not reach each other")
				}
				continue
			}
			break
		}
	}
}

// reach waits until what the first server sends to the room reaches the other's client: a
// server hears of a room only from a moment after its first member has joined.
func (s *stage) reach(t *testing.T) {
	t.Helper()
	heard := make(chan struct{}, 1)
	s.clients[1].Handle("probe", func(*upshifttest.Event) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = s.servers[0].Of("/").To("room").Emit(t.Context(), "probe")
		select {
		case <-heard:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("the room is not reached")
}

// numbers takes what a client has received, and checks that nothing has come twice,
// or out of order if that is not to be expected.
// Only of the end it knows that nothing comes after it, so it sends one.
func (s *stage) numbers(t *testing.T, of int, ordered func() bool) (count int) {
	t.Helper()
	seen, last := make(map[int]bool), -1
	end := fmt.Sprint("end", time.Now().UnixNano())
	stop := make(chan struct{})
	defer close(stop)
	go func() { // until it arrives: the fault may still have its effects
		for {
			_ = s.servers[0].Of("/").To(s.clients[of].ID()).Emit(context.Background(), end)
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	for {
		e := s.clients[of].Next()
		if e.Name == end {
			return count
		}
		if e.Name != "n" {
			continue
		}
		var n int
		if err := e.Args.Bind(&n); err != nil {
			t.Fatal(err)
		}
		if seen[n] || n < last && ordered() {
			t.Fatalf("%d has come after %d, twice: %v", n, last, seen[n])
		}
		seen[n], last = true, n
		count++
	}
}
