// Package streams joins servers to a cluster by a stream of Redis or Valkey, also
// with servers of Node.js in it: it speaks what @socket.io/redis-streams-adapter 0.3
// speaks. The stream keeps the last events, so that nothing is lost while a server
// has no connection to Redis, and with Options.Recovery of core a client can come
// back to any server, also if its own was killed:
//
//	srv, err := core.New(core.Options{
//		Adapter:  streams.New(streams.Options{Client: rueidis.ClientOption{InitAddress: []string{"redis:6379"}}}),
//		Recovery: &core.Recovery{},
//	})
//
// What it costs: with recovery every event goes through the stream and comes back,
// also one to a single socket, and every server reads all of them. Without, that is
// true of broadcasts only.
//
// Broadcasts, joins, leaves and disconnects go through the stream, in one order that
// is the same for all. Events for servers, questions and answers go by pub/sub: they
// can overtake what is in the stream, and are lost while there is no connection.
//
// The channels match the pattern of classic pub/sub. Never give Options.Channels and
// the Key of package redis the same value in one Redis: servers of Node.js crash of
// what they find there.
package streams

import (
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// Options say where Redis is and what is used there. The zero value is for a server
// at 127.0.0.1:6379 and the defaults of Node's adapter.
type Options struct {
	// Client and Existing are as in package redis.
	Client   rueidis.ClientOption
	Existing rueidis.Client
	// Stream is the key of the stream, Node's streamName. Default "socket.io".
	Stream string
	// Channels is what channels begin with, Node's channelPrefix. Default
	// "socket.io".
	Channels string
	// States is what the keys begin with under which clients find what they come
	// back to, Node's sessionKeyPrefix. Default "sio:session:".
	States string
	// MaxLen is how many entries the stream keeps, or a few more. It should hold
	// all that is sent in the time in which clients come back. Default 10,000.
	MaxLen int64
	// ReadCount is how many entries are read at once. Default 100.
	ReadCount int64
	// BlockTime is how long one command to read waits for entries. Default 5
	// seconds.
	BlockTime time.Duration
	// Probe is as in package redis.
	Probe time.Duration
	// Cluster are limits that are the same for all engines.
	Cluster cluster.Options
}

func (o Options) withDefaults() Options {
	for _, text := range []struct {
		value *string
		other string
	}{{&o.Stream, "socket.io"}, {&o.Channels, "socket.io"}, {&o.States, "sio:session:"}} {
		if *text.value == "" {
			*text.value = text.other
		}
	}
	if o.MaxLen == 0 {
		o.MaxLen = 10_000
	}
	if o.ReadCount == 0 {
		o.ReadCount = 100
	}
	if o.BlockTime == 0 {
		o.BlockTime = 5 * time.Second
	}
	return o
}

func (o *Options) check() error {
	if o.MaxLen < 0 || o.ReadCount < 0 || o.BlockTime < time.Millisecond {
		return fmt.Errorf("streams: a negative number in %+v", []any{o.MaxLen, o.ReadCount, o.BlockTime})
	}
	return nil
}

// New returns an adapter for one server, for core.Options.Adapter.
func New(o Options) *cluster.Recovering { return cluster.NewRecovering(NewEngine(o), o.Cluster) }

// NewEngine returns the engine of New, for adapters/emitter.
func NewEngine(o Options) cluster.Log {
	o = o.withDefaults()
	return &engine{options: o, link: pubsub.NewLink(o.Client, o.Existing)}
}
