package main

import (
	"net"
	"os"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
)

// clustered is the program of serve_upshift.go with an adapter. The address of the
// broker is in the environment.
func clustered(adapter func(addr string) core.Adapter, recovery bool) func(net.Listener) error {
	return func(l net.Listener) error {
		o := core.Options{Adapter: adapter(os.Getenv("UPSHIFT_BENCH_BROKER"))}
		if recovery {
			o.Recovery = &core.Recovery{}
		}
		return upshift(l, o)
	}
}

func redisAt(addr string) rueidis.ClientOption {
	return rueidis.ClientOption{InitAddress: []string{addr}}
}

func classicAdapter(addr string) core.Adapter {
	return redis.New(redis.Options{Client: redisAt(addr), Key: "bench-classic"})
}

func shardedAdapter(addr string) core.Adapter {
	return redis.NewSharded(redis.ShardedOptions{Options: redis.Options{Client: redisAt(addr), Key: "bench-sharded"}})
}

func streamsAdapter(addr string) core.Adapter {
	return streams.New(streams.Options{Client: redisAt(addr), Stream: "bench", Channels: "bench-streams"})
}

func natsAdapter(addr string) core.Adapter { return nats.New(nats.Options{Servers: "nats://" + addr}) }

func natsLogAdapter(addr string) core.Adapter {
	return nats.NewLog(nats.LogOptions{Options: nats.Options{Servers: "nats://" + addr, Prefix: "bench-log"}, MaxBytes: 64 << 20, InMemory: true})
}
