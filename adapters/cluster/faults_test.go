package cluster_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// A rig is servers on a bus in memory.
type rig struct {
	engines  []*adaptertest.BusEngine
	adapters []*cluster.Adapter
	servers  []*core.Server
}

// start makes n servers that know each other. The test is in a bubble.
func start(t *testing.T, n int, o cluster.Options) *rig {
	t.Helper()
	bus, r := new(adaptertest.Bus), new(rig)
	for range n {
		engine := bus.Engine()
		adapter := cluster.New(engine, o)
		r.engines = append(r.engines, engine)
		r.adapters = append(r.adapters, adapter)
		r.servers = append(r.servers, upshifttest.NewServer(t, core.Options{Adapter: adapter}))
	}
	synctest.Wait()
	return r
}

// A server of which nothing is heard any more is waited for until its time is over,
// and then not asked any more.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 3, cluster.Options{})
		for _, srv := range r.servers {
			srv.Of("/").OnServerSide("ask", func(context.Context, core.Args) (any, error) { return "here", nil })
		}
		r.engines[2].Cut(true)
		_, err := r.servers[0].Of("/").To().Fetch(t.Context())
		var partial *core.PartialError
		if !errors.As(err, &partial) || partial.Servers != 2 || partial.Answered != 1 ||
			!slices.Equal(partial.Silent, []string{r.adapters[2].ID()}) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if st := r.adapters[0].Stats(); st.Partial != 1 || st.Servers != 2 || st.Requests != 0 {
			t.Errorf("%+v", st)
		}
		// Asked before it was given up, answered when it was.
		<-time.After(4 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		answers := 0
		for _, err := range r.servers[0].Of("/").ServerSideCall(ctx, "ask") {
			if err != nil {
				t.Error(err)
			}
			answers++
		}
		if answers != 1 {
			t.Errorf("%d answers", answers)
		}
		if st := r.adapters[0].Stats(); st.Servers != 1 {
			t.Errorf("%+v", st)
		}
		r.engines[2].Cut(false)
		<-time.After(6 * time.Second)
		if st := r.adapters[0].Stats(); st.Servers != 2 {
			t.Errorf("it is back, and %+v", st)
		}
	})
}

// While the broker is away a server goes on for its own clients, what does not fit
// the queue is an error, and programs are told when it is back.
func TestBrokerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := make(chan error, 1)
		r := start(t, 2, cluster.Options{MaxQueueBytes: 10_000, OnGap: func(reason error) { gaps <- reason }})
		here := upshifttest.Dial(t, r.servers[0], "/", upshifttest.Options{})
		there := upshifttest.Dial(t, r.servers[1], "/", upshifttest.Options{})
		n := r.servers[0].Of("/")
		r.engines[0].Cut(true)
		if err := n.Emit(t.Context(), "lost"); err != nil {
			t.Error(err)
		}
		here.Expect("lost")
		synctest.Wait()
		if st := r.adapters[0].Stats(); st.PublishFailed != 1 || st.QueuedBytes != 0 {
			t.Errorf("%+v", st)
		}
		r.engines[0].Hold(true) // it neither answers nor fails
		refused := 0
		for range 20 {
			if err := n.Emit(t.Context(), "many", make([]byte, 1000)); errors.Is(err, cluster.ErrQueueFull) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
			here.Expect("many", make([]byte, 1000))
		}
		if st := r.adapters[0].Stats(); refused == 0 || st.Dropped != uint64(refused) || st.QueuedBytes > 10_000 {
			t.Errorf("%d were refused: %+v", refused, st)
		}
		r.engines[0].Hold(false)
		<-time.After(time.Minute)
		r.engines[0].Cut(false)
		if err := <-gaps; err == nil {
			t.Error("a gap without a reason")
		}
		if err := n.Emit(t.Context(), "back"); err != nil {
			t.Error(err)
		}
		there.Expect("back")
		if st := r.adapters[0].Stats(); st.Gaps != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// Servers that ask for more than can be done are refused, not queued for ever.
func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 2, cluster.Options{MaxRequests: 5})
		r.servers[1].Of("/").OnServerSide("slow", func(ctx context.Context, _ core.Args) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for range 20 {
			if err := r.servers[0].Of("/").ServerSideEmit(t.Context(), "slow"); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if st := r.adapters[1].Stats(); st.Refused != 15 {
			t.Errorf("%+v", st)
		}
		there := upshifttest.Dial(t, r.servers[1], "/", upshifttest.Options{})
		if err := r.servers[0].Of("/").Emit(t.Context(), "goes on"); err != nil {
			t.Error(err)
		}
		there.Expect("goes on")
	})
}

// Shutdown ends questions that wait, with what there is.
func TestShutdownWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 2, cluster.Options{})
		r.servers[1].Of("/").OnServerSide("slow", func(ctx context.Context, _ core.Args) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		failed := make(chan error, 1)
		go func() {
			for _, err := range r.servers[0].Of("/").ServerSideCall(context.Background(), "slow") {
				failed <- err
			}
		}()
		synctest.Wait()
		if err := r.servers[0].Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-failed; !errors.Is(err, cluster.ErrClosed) || !errors.Is(err, core.ErrPartial) {
			t.Error(err)
		}
		if err := r.servers[0].Of("/").Emit(t.Context(), "late"); !errors.Is(err, cluster.ErrClosed) {
			t.Error(err)
		}
	})
}

// With a broker that keeps events the clients of a server get them in the meantime,
// too, once.
func TestKeptWhileBrokerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		engine := bus.Engine()
		adapter := cluster.NewRecovering(engine, cluster.Options{})
		srv := upshifttest.NewServer(t, core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		engine.Cut(true)
		for n := range 10 {
			if err := srv.Of("/").Emit(t.Context(), "n", n); err != nil {
				t.Error(err)
			}
		}
		for n := range 10 {
			c.Expect("n", n)
		}
		engine.Cut(false)
		engine.Echo(true) // the broker takes it, and its answer is lost
		const many = 1000 // so that what comes back meets what is given up
		for n := range many {
			if err := srv.Of("/").Emit(t.Context(), "m", n); err != nil {
				t.Error(err)
			}
		}
		for n := range many {
			c.Expect("m", n)
		}
		synctest.Wait()
		c.ExpectNone()
	})
}

func TestOptions(t *testing.T) {
	for _, o := range []cluster.Options{
		{RequestTimeout: -1},
		{PublishTimeout: -1},
		{HeartbeatInterval: -1},
		{HeartbeatTimeout: -1},
		{MaxQueueBytes: -1},
		{MaxRequests: -1},
	} {
		if _, err := core.New(core.Options{Adapter: cluster.New(new(adaptertest.Bus).Engine(), o)}); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
