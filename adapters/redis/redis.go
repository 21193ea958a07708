// Package redis joins servers to a cluster by Redis or Valkey, also with servers of
// Node.js in it. New speaks what @socket.io/redis-adapter 8 speaks with
// createAdapter, NewSharded what it speaks with createShardedAdapter, and package
// adapters/redis/streams what @socket.io/redis-streams-adapter speaks. All servers
// of a cluster must use the same one, with the same options; nothing notices if
// they do not.
//
//	srv, err := core.New(core.Options{
//		Adapter: redis.New(redis.Options{Client: rueidis.ClientOption{InitAddress: []string{"redis:6379"}}}),
//	})
//
// What is published while Redis cannot be reached, or while a server has lost its
// subscriptions, does not reach other servers; see cluster.Options.OnGap and
// cluster.Stats. It reaches the own clients of the server in any case.
//
// The client is github.com/redis/rueidis: it sends what waits as one pipeline,
// knows Cluster, Sentinel and TLS, and takes subscriptions on connections of their
// own.
//
// Whoever may publish to the channels is part of the cluster. Redis should be
// reached by nobody else, or limit other users by ACL.
package redis

import (
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// Options say where Redis is. The zero value is for a server at 127.0.0.1:6379 and
// the defaults of Node's adapters.
type Options struct {
	// Client says how to connect: addresses (of one server, of some of a Cluster,
	// or of Sentinels), TLS, user and password. Default 127.0.0.1:6379. It need
	// not be there yet.
	Client rueidis.ClientOption
	// Existing is used instead of a client of its own, and not closed.
	Existing rueidis.Client
	// Key is what all channels begin with, as the option key or channelPrefix of
	// Node's adapters. Default "socket.io".
	Key string
	// SharedResponses has answers sent to all servers instead of to who has asked,
	// for servers with @socket.io/redis-adapter before version 7.1.
	SharedResponses bool
	// Probe is after how long without a message the connection for subscriptions
	// is tested. Zero and below mean 30 seconds.
	Probe time.Duration
	// Cluster are limits that are the same for all engines.
	Cluster cluster.Options
}

func (o Options) withDefaults() Options {
	if o.Key == "" {
		o.Key = "socket.io"
	}
	return o
}

// New returns an adapter for one server, for core.Options.Adapter.
func New(o Options) *cluster.Adapter { return cluster.New(NewEngine(o), o.Cluster) }

// NewEngine returns the engine of New, for adapters/emitter.
func NewEngine(o Options) cluster.Engine {
	o = o.withDefaults()
	return &classic{options: o, link: pubsub.NewLink(o.Client, o.Existing)}
}
