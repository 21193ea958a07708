package core_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// Whatever the network does, a client that comes back in time has every event
// once and in order, and keeps its rooms; and so has the server what the client
// was told has arrived.
func TestRecoveryAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &randomRecovery{Rand: rand.New(rand.NewPCG(seed, 0)), t: t}
				s.run()
			})
		})
	}
}

type randomRecovery struct {
	*rand.Rand
	t              *testing.T
	ns             *core.Namespace
	clients        []*upshifttest.Client
	emitted, taken int // events, and how many of them clients have been seen to have
}

func (s *randomRecovery) run() {
	srv := upshifttest.NewServer(s.t, core.Options{Recovery: &core.Recovery{}})
	s.ns = srv.Of("/")
	s.ns.OnConnect(func(ctx context.Context, socket *core.Socket) error {
		if socket.Recovered() {
			return nil
		}
		return socket.Join(ctx, "room")
	})
	for range 3 {
		s.clients = append(s.clients, upshifttest.Dial(s.t, srv, "/", upshifttest.Options{}))
	}
	synctest.Wait()
	for range 40 {
		s.step()
		for range s.IntN(8) {
			s.emitted++
			emit(s.t, s.ns.To("room"), "n", s.emitted)
		}
		if s.IntN(3) == 0 {
			s.check()
		}
	}
	s.check()
}

// step has something happen to somebody.
func (s *randomRecovery) step() {
	c := s.clients[s.IntN(len(s.clients))]
	switch s.IntN(9) {
	case 0:
		c.Cut()
	case 1:
		c.Vanish()
	case 2:
		c.Stall()
	case 3:
		c.Resume()
	case 4:
		c.Delay(time.Duration(s.IntN(3000)) * time.Millisecond)
	case 5:
		c.CutAfterReceived(1 + s.IntN(6)) // while it comes back, perhaps
	case 6:
		<-time.After(time.Duration(s.IntN(50)) * time.Second)
	case 7:
		synctest.Wait()
	case 8:
		s.back(c)
	}
}

// back makes a client come back on a network that works.
func (s *randomRecovery) back(c *upshifttest.Client) {
	c.CutAfterReceived(0)
	c.Reconnect()
	if !c.Recovered() {
		s.t.Error("not recovered")
	}
}

// check makes everybody come back and looks at what they have.
func (s *randomRecovery) check() {
	for _, c := range s.clients {
		s.back(c)
	}
	for i := s.taken + 1; i <= s.emitted; i++ {
		for _, c := range s.clients {
			c.Expect("n", i)
		}
	}
	s.taken = s.emitted
	synctest.Wait()
	for _, c := range s.clients {
		c.ExpectNone()
	}
}
