package redis_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/redistest"
	"github.com/upshift-go/upshift/upshifttest"
)

// A member is what tests want of an adapter besides.
type member interface {
	core.Adapter
	Stats() cluster.Stats
}

// flavours are the adapters. With a log what was published is read later.
var flavours = map[string]struct {
	log      bool
	recovery *core.Recovery
	adapter  func(client rueidis.ClientOption, o cluster.Options) member
}{
	"classic": {adapter: func(client rueidis.ClientOption, o cluster.Options) member {
		return redis.New(redis.Options{Client: client, Probe: probe, Cluster: o})
	}},
	"sharded": {adapter: func(client rueidis.ClientOption, o cluster.Options) member {
		return redis.NewSharded(redis.ShardedOptions{Options: redis.Options{Client: client, Probe: probe, Cluster: o}})
	}},
	"streams": {log: true, adapter: func(client rueidis.ClientOption, o cluster.Options) member {
		return streams.New(streams.Options{Client: client, Probe: probe, Cluster: o})
	}},
	"streams with recovery": {log: true, recovery: &core.Recovery{}, adapter: func(client rueidis.ClientOption, o cluster.Options) member {
		return streams.New(streams.Options{Client: client, Probe: probe, Cluster: o})
	}},
}

const probe = 500 * time.Millisecond

// A stage is two servers in one cluster, each with its wire to Redis and a client.
type stage struct {
	redis    *redistest.Server
	wires    [2]*redistest.Wire
	adapters [2]member
	servers  [2]*core.Server
	clients  [2]*upshifttest.Client
}

const (
	events  = 1200
	begins  = 300 // which of them comes when a fault begins
	ends    = 800 // and when it ends
	waiting = 30 * time.Second
)

// Whatever happens to Redis under load, the clients of the server that sends get
// everything once; those of the other server get nothing twice or out of order, and
// if they miss something a counter says so. After it all is as before.
func TestFaults(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(s *stage)
		options    cluster.Options
		// lossless is whether nothing is lost: with a log, or with any adapter.
		losslessLog, lossless bool
	}{
		"killed": {
			begin: func(s *stage) { s.redis.Kill() },
			end:   func(s *stage) { s.redis.Run() },
		},
		"paused for a moment": {
			begin:       func(s *stage) { s.redis.Pause() },
			end:         func(s *stage) { s.redis.Resume() },
			losslessLog: true,
		},
		"paused for long": {
			begin: func(s *stage) { s.redis.Pause() },
			end: func(s *stage) {
				<-time.After(2 * time.Second)
				s.redis.Resume()
			},
			options: cluster.Options{PublishTimeout: 200 * time.Millisecond},
		},
		"receiver cut off": {
			begin:       func(s *stage) { s.wires[1].Cut() },
			end:         func(s *stage) { s.wires[1].Mend() },
			losslessLog: true,
		},
		"sender cut off": {
			begin: func(s *stage) { s.wires[0].Cut() },
			end:   func(s *stage) { s.wires[0].Mend() },
		},
		"out of memory": {
			begin: func(s *stage) { s.redis.Do("CONFIG SET maxmemory 1") },
			end:   func(s *stage) { s.redis.Do("CONFIG SET maxmemory 0") },
		},
		"emptied": {
			begin: func(s *stage) { s.redis.Do("FLUSHALL") },
			end:   func(*stage) {},
		},
		"connections killed": {
			begin:       func(s *stage) { s.redis.Do("CLIENT KILL TYPE normal"); s.redis.Do("CLIENT KILL TYPE pubsub") },
			end:         func(*stage) {},
			losslessLog: false, // one batch may be lost on its way
		},
	} {
		for flavour := range flavours {
			t.Run(name+"/"+flavour, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, flavour, fault.options)
				for n := range events {
					switch n {
					case begins:
						fault.begin(s)
					case ends:
						fault.end(s)
					}
					// An error is that the other server cannot be reached.
					_ = s.servers[0].Of("/").To("room").Emit(t.Context(), "n", n)
					<-time.After(time.Millisecond)
				}
				s.settle(t)
				recovers := flavours[flavour].recovery != nil
				if got := s.numbers(t, 0, !recovers); got != events {
					t.Errorf("%d of %d events have come to the client of the server that has sent them", got, events)
				}
				got := s.numbers(t, 1, true)
				sent, received := s.adapters[0].Stats(), s.adapters[1].Stats()
				t.Logf("%d of %d events at the other server; sender %+v, receiver %+v", got, events, sent, received)
				switch told := sent.PublishFailed + sent.Dropped + received.Gaps; {
				case got < events && told == 0:
					t.Errorf("%d events are missing, and nothing says so: %+v, %+v", events-got, sent, received)
				case got < events && fault.losslessLog && flavours[flavour].log:
					t.Errorf("%d events are missing, which the stream has", events-got)
				case got < begins:
					t.Errorf("%d events have come", got)
				}
			})
		}
	}
}

func newStage(t *testing.T, flavour string, o cluster.Options) *stage {
	t.Helper()
	s := &stage{redis: redistest.Start(t)}
	for i := range s.servers {
		s.wires[i] = new(redistest.Wire)
		s.adapters[i] = flavours[flavour].adapter(rueidis.ClientOption{
			InitAddress: []string{s.redis.Addr}, DialCtxFn: s.wires[i].Dial,
		}, o)
		s.servers[i] = upshifttest.NewServer(t, core.Options{Adapter: s.adapters[i], Recovery: flavours[flavour].recovery})
		s.clients[i] = upshifttest.Dial(t, s.servers[i], "/", upshifttest.Options{})
	}
	for i, client := range s.clients {
		if err := s.servers[i].Of("/").Socket(client.ID()).Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
	}
	s.settle(t)
	for i := range s.clients {
		s.numbers(t, i, true)
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
		for end := time.Now().Add(waiting); ; {
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

// numbers takes what a client has received, and checks that nothing has come twice.
// Only of the end it knows that nothing comes after it, so it sends one.
func (s *stage) numbers(t *testing.T, of int, ordered bool) (count int) {
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
		if seen[n] || ordered && n < last {
			t.Fatalf("%d has come after %d, twice: %v", n, last, seen[n])
		}
		seen[n], last = true, n
		count++
	}
}
