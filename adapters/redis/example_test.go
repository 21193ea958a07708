package redis_test

import (
	"net/http"
	"os"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/core"
)

// Each server of the cluster has this, and so may servers of Node.js with
// createAdapter of @socket.io/redis-adapter.
func ExampleNew() {
	adapter := redis.New(redis.Options{
		Client: rueidis.ClientOption{
			InitAddress: []string{"redis:6379"},
			Username:    "socketio",
			Password:    os.Getenv("REDIS_PASSWORD"),
		},
		Cluster: cluster.Options{
			OnGap: func(error) {}, // read anew what depends on all events
		},
	})
	srv, err := core.New(core.Options{Adapter: adapter})
	if err != nil { // not that Redis cannot be reached, which it need not be yet
		panic(err)
	}
	http.Handle("/socket.io/", srv)
}

// With Redis 7, and with servers of Node.js that have createShardedAdapter.
func ExampleNewSharded() {
	srv, err := core.New(core.Options{
		Adapter: redis.NewSharded(redis.ShardedOptions{
			Options: redis.Options{Client: rueidis.ClientOption{InitAddress: []string{"redis:6379"}}},
			Mode:    redis.Dynamic,
		}),
	})
	if err != nil {
		panic(err)
	}
	http.Handle("/socket.io/", srv)
}
