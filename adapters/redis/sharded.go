package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// A Mode says for which rooms NewSharded has channels of their own. All servers of
// a cluster must use the same.
type Mode string

// The modes. Node's dynamic-private, with a channel for each socket, is not one: a
// server of ours has no channels for single sockets.
const (
	// Dynamic is the default: each room has a channel, so that a server hears
	// only of rooms that somebody is in there. Rooms that are named after sockets,
	// which is all whose names have 20 characters, share that of the namespace.
	Dynamic Mode = "dynamic"
	// Static has one channel for each namespace.
	Static Mode = "static"
)

// ShardedOptions are those of NewSharded.
type ShardedOptions struct {
	Options
	// Mode is that of all servers. Default Dynamic.
	Mode Mode
}

// NewSharded returns an adapter for one server, for core.Options.Adapter, that uses
// the sharded pub/sub of Redis 7, as createShardedAdapter of Node's adapter does.
// Redis has to be one server, or a primary with replicas: all subscriptions are on
// one connection, so that a Redis Cluster of several shards is not supported.
func NewSharded(o ShardedOptions) *cluster.Adapter {
	return cluster.New(NewShardedEngine(o), o.Cluster)
}

// NewShardedEngine returns the engine of NewSharded, for adapters/emitter.
func NewShardedEngine(o ShardedOptions) cluster.Engine {
	o.Options = o.withDefaults()
	if o.Mode == "" {
		o.Mode = Dynamic
	}
	return &sharded{options: o, link: pubsub.NewLink(o.Client, o.Existing)}
}

// sharded is the engine. Its channels, with P the key and N the namespace:
//
//	P#N#       everything that is for all servers
//	P#N#room#  broadcasts to one room, if it has a channel
//	P#N#id#    answers for one server
type sharded struct {
	options ShardedOptions
	link    *pubsub.Link
	in      cluster.Inbox
	sub     *pubsub.Subscriber
}

var (
	_ cluster.Engine  = (*sharded)(nil)
	_ cluster.Counter = (*sharded)(nil)
)

// Name implements cluster.Engine.
func (e *sharded) Name() string { return "redis-sharded" }

// Start implements cluster.Engine.
func (e *sharded) Start(in cluster.Inbox) error {
	if e.options.Mode != Dynamic && e.options.Mode != Static {
		return fmt.Errorf("redis: mode %q is unknown", e.options.Mode)
	}
	e.in = in
	e.sub = pubsub.New(e.link, (*shardedSource)(e), pubsub.Options{
		Probe:      pubsub.Channel{Kind: pubsub.Shard, Name: e.options.Key + "-probe#" + in.ID() + "#"},
		ProbeAfter: e.options.Probe, Logger: in.Logger(),
	})
	e.sub.Start()
	return nil
}

// Close implements cluster.Engine.
func (e *sharded) Close(ctx context.Context) error {
	e.sub.Close()
	e.link.Close(ctx)
	return nil
}

func (e *sharded) main(namespace string) string { return e.options.Key + "#" + namespace + "#" }

func (e *sharded) mainChannel(namespace string) pubsub.Channel {
	return pubsub.Channel{Kind: pubsub.Shard, Name: e.main(namespace), Namespace: namespace}
}

func (e *sharded) answers(namespace string) pubsub.Channel {
	return pubsub.Channel{Kind: pubsub.Shard, Name: e.main(namespace) + e.in.ID() + "#", Namespace: namespace}
}

func (e *sharded) room(namespace, room string) pubsub.Channel {
	return pubsub.Channel{Kind: pubsub.Shard, Name: e.main(namespace) + room + "#", Namespace: namespace, Room: room}
}

// hasChannel reports whether a room has a channel of its own. One that is named like
// a server would be taken for that of its answers.
func (e *sharded) hasChannel(room string) bool {
	const socketID = 20
	return e.options.Mode == Dynamic && len(room) != socketID
}

// Changed implements cluster.Engine.
func (e *sharded) Changed(namespace string, rooms ...string) {
	if len(rooms) == 0 {
		e.sub.Check(e.answers(namespace), e.mainChannel(namespace))
	}
	for _, room := range rooms {
		if e.hasChannel(room) && room != e.in.ID() {
			e.sub.Check(e.room(namespace, room))
		}
	}
}

// Encode implements cluster.Engine.
func (e *sharded) Encode(m *cluster.Message) (cluster.Publication, error) {
	channel := e.main(m.Namespace)
	switch {
	case m.To != "":
		channel += m.To + "#"
	case m.Type == cluster.Broadcast && m.RequestID == "" && len(m.In) == 1 && e.hasChannel(m.In[0]):
		channel += m.In[0] + "#"
	}
	data, err := cluster.AppendMsgPack(nil, m)
	return cluster.Publication{Type: m.Type, Namespace: m.Namespace, Channel: channel, Data: data}, err
}

// Publish implements cluster.Engine. In a Redis Cluster it keeps the order of each
// channel.
func (e *sharded) Publish(ctx context.Context, batch []cluster.Publication) error {
	client, err := e.link.Client(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	commands := make(rueidis.Commands, len(batch))
	for i, p := range batch {
		commands[i] = client.B().Spublish().Channel(p.Channel).Message(rueidis.BinaryString(p.Data)).Build()
	}
	return pubsub.FirstError(client.DoMulti(ctx, commands...))
}

// Others implements cluster.Counter.
func (e *sharded) Others(ctx context.Context, namespace string) (int, error) {
	channel := e.main(namespace)
	n, err := pubsub.Count(ctx, e.link, func(b rueidis.Builder) rueidis.Completed {
		return b.PubsubShardnumsub().Channel(channel).Build()
	})
	if e.sub.Has(e.mainChannel(namespace)) {
		n--
	}
	return max(n, 0), err
}

// Names implements cluster.Counter.
func (e *sharded) Names(ctx context.Context, namespace string) ([]string, error) {
	const id = "????????????????" // as long as those of servers
	all, err := pubsub.Names(ctx, e.link, e.main(namespace), "#", func(b rueidis.Builder, _ string) rueidis.Completed {
		return b.PubsubShardchannels().Pattern(pubsub.Escape(e.main(namespace)) + id + "#").Build()
	})
	return all, err
}

// A shardedSource is a sharded as its subscriber sees it.
type shardedSource sharded

// Wanted implements pubsub.Source.
func (s *shardedSource) Wanted(c pubsub.Channel) bool { return s.in.Has(c.Namespace, c.Room) }

// All implements pubsub.Source.
func (s *shardedSource) All() []pubsub.Channel {
	e := (*sharded)(s)
	var all []pubsub.Channel
	for _, namespace := range s.in.Namespaces() {
		for _, room := range s.in.Rooms(namespace) {
			if e.hasChannel(room) && room != s.in.ID() {
				all = append(all, e.room(namespace, room))
			}
		}
		all = append(all, e.answers(namespace), e.mainChannel(namespace))
	}
	return all
}

// Gap implements pubsub.Source.
func (s *shardedSource) Gap(reason error) { s.in.Gap(reason) }

// Message implements pubsub.Source.
func (s *shardedSource) Message(channel, _, data string) {
	m, err := cluster.ReadMessage([]byte(data))
	if err != nil {
		s.in.Malformed(channel, err)
		return
	}
	if strings.HasPrefix(channel, (*sharded)(s).main(m.Namespace)) {
		s.in.Receive(m)
	}
}
