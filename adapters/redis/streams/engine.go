package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// engine is the engine. Besides the stream it has channels, with P the prefix and N
// the namespace:
//
//	P#N#     events for servers, and questions
//	P#N#id#  answers for one server
type engine struct {
	options Options
	link    *pubsub.Link
	in      cluster.Inbox
	sub     *pubsub.Subscriber
	reader  *reader
}

var (
	_ cluster.Log     = (*engine)(nil)
	_ cluster.Counter = (*engine)(nil)
)

// Name implements cluster.Engine.
func (e *engine) Name() string { return "redis-streams" }

// Start implements cluster.Engine.
func (e *engine) Start(in cluster.Inbox) error {
	if err := e.options.check(); err != nil {
		return err
	}
	e.in = in
	e.sub = pubsub.New(e.link, (*source)(e), pubsub.Options{
		Probe:      pubsub.Channel{Name: e.options.Channels + "-probe#" + in.ID() + "#"},
		ProbeAfter: e.options.Probe, Logger: in.Logger(),
	})
	e.reader = newReader(e)
	if in.ID() == cluster.EmitterID {
		close(e.reader.done) // it has nothing to read
	} else {
		go e.reader.run()
	}
	e.sub.Start()
	return nil
}

// Close implements cluster.Engine.
func (e *engine) Close(ctx context.Context) error {
	e.reader.close()
	e.sub.Close()
	e.link.Close(ctx)
	return nil
}

func (e *engine) channel(namespace string) string { return e.options.Channels + "#" + namespace + "#" }

// channels are those of a namespace. The last is the one by which others count this
// server.
func (e *engine) channels(namespace string) []pubsub.Channel {
	return []pubsub.Channel{
		{Name: e.channel(namespace) + e.in.ID() + "#", Namespace: namespace},
		{Name: e.channel(namespace), Namespace: namespace},
	}
}

// Changed implements cluster.Engine.
func (e *engine) Changed(namespace string, rooms ...string) {
	if len(rooms) == 0 {
		e.sub.Check(e.channels(namespace)...)
	}
}

// Encode implements cluster.Engine. What has no channel is for the stream.
func (e *engine) Encode(m *cluster.Message) (cluster.Publication, error) {
	p := cluster.Publication{Type: m.Type, Namespace: m.Namespace}
	var err error
	if isKept(m) {
		p.Data, err = encodeEntry(m)
		return p, err
	}
	p.Channel = e.channel(m.Namespace)
	if m.To != "" {
		p.Channel += m.To + "#"
	}
	p.Data, err = cluster.AppendMsgPack(nil, m)
	return p, err
}

// Publish implements cluster.Engine.
func (e *engine) Publish(ctx context.Context, batch []cluster.Publication) error {
	client, err := e.link.Client(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	entries := make(rueidis.Commands, 0, len(batch))
	var rest []cluster.Publication
	for i := range batch {
		if batch[i].Channel != "" {
			rest = append(rest, batch[i])
			continue
		}
		entries = append(entries, e.add(client.B(), &batch[i]))
	}
	if len(entries) > 0 {
		if err := e.reader.ready(ctx); err != nil {
			return err
		}
		err = pubsub.FirstError(client.DoMulti(ctx, entries...))
	}
	if len(rest) > 0 {
		err = errors.Join(err, pubsub.Publish(ctx, e.link, rest))
	}
	return err
}

// add is the command that adds an entry.
func (e *engine) add(b rueidis.Builder, p *cluster.Publication) rueidis.Completed {
	fields := b.Xadd().Key(e.options.Stream).Maxlen().Almost().Threshold(strconv.FormatInt(e.options.MaxLen, 10)).Id("*").
		FieldValue().FieldValue("uid", e.in.ID()).FieldValue("nsp", p.Namespace).
		FieldValue("type", strconv.Itoa(int(p.Type))).FieldValue("data", rueidis.BinaryString(p.Data))
	if p.Nonce != "" {
		fields = fields.FieldValue(nonceField, p.Nonce)
	}
	return fields.Build()
}

// Others implements cluster.Counter.
func (e *engine) Others(ctx context.Context, namespace string) (int, error) {
	n, err := pubsub.Count(ctx, e.link, func(b rueidis.Builder) rueidis.Completed {
		return b.PubsubNumsub().Channel(e.channel(namespace)).Build()
	})
	if e.sub.Has(pubsub.Channel{Name: e.channel(namespace), Namespace: namespace}) {
		n--
	}
	return max(n, 0), err
}

// Names implements cluster.Counter.
func (e *engine) Names(ctx context.Context, namespace string) ([]string, error) {
	const id = "????????????????" // as long as those of servers
	return pubsub.Names(ctx, e.link, e.channel(namespace), "#", func(b rueidis.Builder, _ string) rueidis.Completed {
		return b.PubsubChannels().Pattern(pubsub.Escape(e.channel(namespace)) + id + "#").Build()
	})
}

// A source is an engine as its subscriber sees it.
type source engine

// Wanted implements pubsub.Source.
func (s *source) Wanted(c pubsub.Channel) bool { return s.in.Has(c.Namespace, "") }

// All implements pubsub.Source. A server can be counted only when it knows from where
// on it reads the stream.
func (s *source) All() []pubsub.Channel {
	select {
	case <-s.reader.begun:
	case <-s.reader.done:
	}
	namespaces := s.in.Namespaces()
	all := make([]pubsub.Channel, 0, len(namespaces))
	for _, namespace := range namespaces {
		all = append(all, (*engine)(s).channels(namespace)...)
	}
	return all
}

// Gap implements pubsub.Source.
func (s *source) Gap(reason error) { s.in.Gap(reason) }

// Message implements pubsub.Source.
func (s *source) Message(channel, _, data string) {
	m, err := cluster.ReadMessage([]byte(data))
	if err != nil {
		s.in.Malformed(channel, err)
		return
	}
	s.in.Receive(m)
}
