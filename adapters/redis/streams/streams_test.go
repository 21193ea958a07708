package streams_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest"
	"github.com/upshift-go/upshift/internal/redistest"
)

func TestMain(m *testing.M) {
	clustertest.Main(func(addr string) core.Adapter { return streams.New(restartOptions(addr)) })
	// The client of a Redis Cluster closes connections five seconds after they are needed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

func restartOptions(addr string) streams.Options {
	return streams.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}}
}

func TestRollingRestart(t *testing.T) {
	addr := redistest.Start(t).Addr
	clustertest.TestRollingRestart(t, addr, streams.NewEngine(restartOptions(addr)))
}

var clusters atomic.Uint64

// options are those of a cluster that no other test has.
func options(addrs ...string) streams.Options {
	name := fmt.Sprint("test", clusters.Add(1))
	return streams.Options{
		Client: rueidis.ClientOption{InitAddress: addrs},
		Stream: name, Channels: name, States: name + ":",
	}
}

func newCluster(addrs ...string) func(*testing.T) func() core.Adapter {
	return func(*testing.T) func() core.Adapter {
		o := options(addrs...)
		return func() core.Adapter { return streams.New(o) }
	}
}

func TestAdapter(t *testing.T) { adaptertest.Run(t, newCluster(redistest.Start(t).Addr)) }

func TestRecovery(t *testing.T) { adaptertest.RunRecovery(t, newCluster(redistest.Start(t).Addr)) }

func TestRedisCluster(t *testing.T) {
	addrs := redistest.StartCluster(t)
	t.Run("adapter", func(t *testing.T) { adaptertest.Run(t, newCluster(addrs...)) })
	t.Run("recovery", func(t *testing.T) { adaptertest.RunRecovery(t, newCluster(addrs...)) })
}
