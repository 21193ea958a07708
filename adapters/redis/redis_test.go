package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest"
	"github.com/upshift-go/upshift/internal/redistest"
)

func TestMain(m *testing.M) {
	clustertest.Main(func(addr string) core.Adapter { return redis.New(restartOptions(addr)) })
	// The client of a Redis Cluster closes connections five seconds after they are needed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

var clusters atomic.Uint64

// options are those of a cluster that no other test has.
func options(server *redistest.Server) redis.Options {
	return redis.Options{
		Client: rueidis.ClientOption{InitAddress: []string{server.Addr}},
		Key:    fmt.Sprint("test", clusters.Add(1)),
	}
}

func restartOptions(addr string) redis.Options {
	return redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}}
}

func TestRollingRestart(t *testing.T) {
	addr := redistest.Start(t).Addr
	clustertest.TestRollingRestart(t, addr, redis.NewEngine(restartOptions(addr)))
}

func TestClassic(t *testing.T) {
	server := redistest.Start(t)
	adaptertest.Run(t, func(*testing.T) func() core.Adapter {
		o := options(server)
		o.Probe = -1 // is as good as none
		return func() core.Adapter { return redis.New(o) }
	})
}

// The classic adapter on a Redis Cluster.
func TestRedisCluster(t *testing.T) {
	addrs := redistest.StartCluster(t)
	adaptertest.Run(t, func(*testing.T) func() core.Adapter {
		o := redis.Options{Client: rueidis.ClientOption{InitAddress: addrs}, Key: fmt.Sprint("test", clusters.Add(1))}
		return func() core.Adapter { return redis.New(o) }
	})
}

func TestSharded(t *testing.T) {
	server := redistest.Start(t)
	for _, mode := range []redis.Mode{redis.Dynamic, redis.Static} {
		t.Run(string(mode), func(t *testing.T) {
			adaptertest.Run(t, func(*testing.T) func() core.Adapter {
				o := redis.ShardedOptions{Options: options(server), Mode: mode}
				return func() core.Adapter { return redis.NewSharded(o) }
			})
		})
	}
}
