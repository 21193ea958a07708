package cluster_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// keeping starts a server whose broker keeps events. The test is in a bubble.
func keeping(t *testing.T, bus *adaptertest.Bus, o core.Options) (*core.Server, *adaptertest.BusEngine) {
	t.Helper()
	engine := bus.Engine()
	o.Adapter, o.Recovery = cluster.NewRecovering(engine, cluster.Options{}), &core.Recovery{}
	return upshifttest.NewServer(t, o), engine
}

// What is for one socket and local does not go by way of the broker either, so that
// it cannot come after what is sent to the room later.
func TestLocalToOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, engine := keeping(t, new(adaptertest.Bus), core.Options{})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		s := srv.Of("/").Socket(c.ID())
		engine.Hold(true)
		if err := s.Self().Local().Emit(t.Context(), "first"); err != nil {
			t.Error(err)
		}
		if err := srv.Of("/").To(s.ID()).Local().Emit(t.Context(), "second"); err != nil {
			t.Error(err)
		}
		c.Expect("first")
		c.Expect("second")
		engine.Hold(false)
	})
}

// While the broker says nothing at all, what goes by way of it reaches the own clients
// after the time it is given, however much that is.
func TestKeptWhileBrokerSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, engine := keeping(t, new(adaptertest.Bus), core.Options{})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		engine.Hold(true)
		for round := range 3 {
			begun := time.Now()
			for range 10_000 {
				if err := srv.Of("/").To("nobody").Emit(t.Context(), "n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := srv.Of("/").Emit(t.Context(), "end", round); err != nil {
				t.Fatal(err)
			}
			c.Expect("end", round)
			if took := time.Since(begun); took > 7*time.Second {
				t.Errorf("it took %v", took)
			}
		}
		engine.Hold(false)
		if err := srv.Of("/").Emit(t.Context(), "kept again"); err != nil {
			t.Fatal(err)
		}
		c.Expect("kept again")
		synctest.Wait()
		if stats := srv.Adapter().(*cluster.Recovering).Stats(); stats.PublishFailed < 30_003 || stats.QueuedBytes != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// A forgetful broker says that it has taken what it loses.
type forgetful struct {
	*adaptertest.BusEngine
	lose atomic.Int64 // how many events
}

func (f *forgetful) Publish(ctx context.Context, batch []cluster.Publication) error {
	var rest []cluster.Publication
	for _, p := range batch {
		if p.Nonce == "" || f.lose.Add(-1) < 0 {
			rest = append(rest, p)
		}
	}
	return f.BusEngine.Publish(ctx, rest)
}

// What the broker has taken and lost reaches the own clients all the same, once and
// before what comes after it.
func TestKeptAndLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &forgetful{BusEngine: new(adaptertest.Bus).Engine()}
		adapter := cluster.NewRecovering(engine, cluster.Options{})
		srv := upshifttest.NewServer(t, core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		for n := range 300 {
			if n%100 == 50 {
				engine.lose.Store(10)
			}
			if err := srv.Of("/").Emit(t.Context(), "n", n); err != nil {
				t.Fatal(err)
			}
			if n%100 > 50 {
				synctest.Wait()
			}
		}
		for n := range 300 {
			c.Expect("n", n)
		}
		if stats := adapter.Stats(); stats.PublishFailed < 30 {
			t.Errorf("%+v", stats)
		}
	})
}
