package redis_test

import (
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/clustertest"
	"github.com/upshift-go/upshift/internal/redistest"
)

// flavours are the adapters. With a log what was published is read later.
var flavours = map[string]struct {
	log      bool
	recovery *core.Recovery
	adapter  func(client rueidis.ClientOption, o cluster.Options) clustertest.Member
}{
	"classic": {adapter: func(client rueidis.ClientOption, o cluster.Options) clustertest.Member {
		return redis.New(redis.Options{Client: client, Probe: probe, Cluster: o})
	}},
	"sharded": {adapter: func(client rueidis.ClientOption, o cluster.Options) clustertest.Member {
		return redis.NewSharded(redis.ShardedOptions{Options: redis.Options{Client: client, Probe: probe, Cluster: o}})
	}},
	"streams": {log: true, adapter: func(client rueidis.ClientOption, o cluster.Options) clustertest.Member {
		return streams.New(streams.Options{Client: client, Probe: probe, Cluster: o})
	}},
	"streams with recovery": {log: true, recovery: &core.Recovery{}, adapter: func(client rueidis.ClientOption, o cluster.Options) clustertest.Member {
		return streams.New(streams.Options{Client: client, Probe: probe, Cluster: o})
	}},
}

const probe = 500 * time.Millisecond

// A broker is what can be done to Redis, and to what two servers have of it.
type broker struct {
	*redistest.Server
	wires [2]*redistest.Wire
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(b *broker)
		options    cluster.Options
		lossless   bool // with a log
	}{
		"killed": {
			begin: func(b *broker) { b.Kill() },
			end:   func(b *broker) { b.Run() },
		},
		"paused for a moment": {
			begin:    func(b *broker) { b.Pause() },
			end:      func(b *broker) { b.Resume() },
			lossless: true,
		},
		"paused for long": {
			begin: func(b *broker) { b.Pause() },
			end: func(b *broker) {
				<-time.After(2 * time.Second)
				b.Resume()
			},
			options: cluster.Options{PublishTimeout: 200 * time.Millisecond},
		},
		"receiver cut off": {
			begin:    func(b *broker) { b.wires[1].Cut() },
			end:      func(b *broker) { b.wires[1].Mend() },
			lossless: true,
		},
		"sender cut off": {
			begin: func(b *broker) { b.wires[0].Cut() },
			end:   func(b *broker) { b.wires[0].Mend() },
		},
		"out of memory": {
			begin: func(b *broker) { b.Do("CONFIG SET maxmemory 1") },
			end:   func(b *broker) { b.Do("CONFIG SET maxmemory 0") },
		},
		"emptied": {
			begin: func(b *broker) { b.Do("FLUSHALL") },
			end:   func(*broker) {},
		},
		"connections killed": { // what is on its way may be lost
			begin: func(b *broker) { b.Do("CLIENT KILL TYPE normal"); b.Do("CLIENT KILL TYPE pubsub") },
			end:   func(*broker) {},
		},
	} {
		for kind, flavour := range flavours {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				b := &broker{Server: redistest.Start(t)}
				var adapters [2]clustertest.Member
				for i := range adapters {
					b.wires[i] = new(redistest.Wire)
					client := rueidis.ClientOption{InitAddress: []string{b.Addr}, DialCtxFn: b.wires[i].Dial}
					adapters[i] = flavour.adapter(client, fault.options)
				}
				clustertest.TestFault(t, adapters, flavour.recovery, clustertest.Fault{
					Begin: func() { fault.begin(b) }, End: func() { fault.end(b) }, Lossless: fault.lossless && flavour.log,
				})
			})
		}
	}
}
