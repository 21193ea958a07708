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
	goleak.VerifyTestMain(m)
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
func options(server *redistest.Server) streams.Options {
	name := fmt.Sprint("test", clusters.Add(1))
	return streams.Options{
		Client: rueidis.ClientOption{InitAddress: []string{server.Addr}},
		Stream: name, Channels: name, States: name + ":",
	}
}

func newCluster(server *redistest.Server) func(*testing.T) func() core.Adapter {
	return func(*testing.T) func() core.Adapter {
		o := options(server)
		return func() core.Adapter { return streams.New(o) }
	}
}

func TestAdapter(t *testing.T) { adaptertest.Run(t, newCluster(redistest.Start(t))) }

func TestRecovery(t *testing.T) { adaptertest.RunRecovery(t, newCluster(redistest.Start(t))) }
