package redis

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// classic is the engine that speaks as @socket.io/redis-adapter does. Its channels,
// with P the key and N the namespace:
//
//	P#N#                  broadcasts to no room or several
//	P#N#room#             broadcasts to one room
//	P-request#N#          questions; who is subscribed to it is a server
//	P-response#N#         answers
//	P-response#N#id#      answers for one server
type classic struct {
	options Options
	link    *pubsub.Link
	in      cluster.Inbox
	sub     *pubsub.Subscriber

	mu       sync.RWMutex // guards what follows
	patterns map[string]string
}

var (
	_ cluster.Engine  = (*classic)(nil)
	_ cluster.Counter = (*classic)(nil)
)

// Name implements cluster.Engine.
func (e *classic) Name() string { return "redis" }

// Start implements cluster.Engine.
func (e *classic) Start(in cluster.Inbox) error {
	e.in = in
	e.patterns = make(map[string]string)
	e.sub = pubsub.New(e.link, (*classicSource)(e), pubsub.Options{
		Probe:      pubsub.Channel{Name: e.options.Key + "-probe#" + in.ID() + "#"},
		ProbeAfter: e.options.Probe, Logger: in.Logger(),
	})
	e.sub.Start()
	return nil
}

// Close implements cluster.Engine.
func (e *classic) Close(ctx context.Context) error {
	e.sub.Close()
	e.link.Close(ctx)
	return nil
}

// Changed implements cluster.Engine. Rooms make no difference: the pattern of the
// namespace is for all of them.
func (e *classic) Changed(namespace string, rooms ...string) {
	if len(rooms) == 0 {
		e.sub.Check(e.channels(namespace)...)
	}
}

func (e *classic) requests(namespace string) string {
	return e.options.Key + "-request#" + namespace + "#"
}

func (e *classic) responses(namespace string) string {
	return e.options.Key + "-response#" + namespace + "#"
}

func (e *classic) broadcasts(namespace string) string {
	return e.options.Key + "#" + namespace + "#"
}

// channels are those of a namespace.
func (e *classic) channels(namespace string) []pubsub.Channel {
	pattern := pubsub.Escape(e.broadcasts(namespace)) + "*"
	e.mu.Lock()
	e.patterns[pattern] = namespace
	e.mu.Unlock()
	return []pubsub.Channel{
		{Kind: pubsub.Pattern, Name: pattern, Namespace: namespace},
		{Name: e.responses(namespace), Namespace: namespace},
		{Name: e.responses(namespace) + e.in.ID() + "#", Namespace: namespace},
		e.requestChannel(namespace), // last: others count this server by it
	}
}

func (e *classic) requestChannel(namespace string) pubsub.Channel {
	return pubsub.Channel{Name: e.requests(namespace), Namespace: namespace}
}

// Publish implements cluster.Engine.
func (e *classic) Publish(ctx context.Context, batch []cluster.Publication) error {
	return pubsub.Publish(ctx, e.link, batch)
}

// Others implements cluster.Counter.
func (e *classic) Others(ctx context.Context, namespace string) (int, error) {
	channel := e.requests(namespace)
	n, err := pubsub.Count(ctx, e.link, func(b rueidis.Builder) rueidis.Completed {
		return b.PubsubNumsub().Channel(channel).Build()
	})
	if e.sub.Has(e.requestChannel(namespace)) {
		n--
	}
	return max(n, 0), err
}

// Names implements cluster.Counter.
func (e *classic) Names(ctx context.Context, namespace string) ([]string, error) {
	all, err := pubsub.Names(ctx, e.link, e.responses(namespace), "#", func(b rueidis.Builder, pattern string) rueidis.Completed {
		return b.PubsubChannels().Pattern(pattern).Build()
	})
	return all, err
}

// A classicSource is a classic as its subscriber sees it.
type classicSource classic

// Wanted implements pubsub.Source.
func (s *classicSource) Wanted(c pubsub.Channel) bool {
	wanted := s.in.Has(c.Namespace, "")
	if c.Kind != pubsub.Pattern {
		return wanted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wanted { // it may have come back just when it was found to be gone
		s.patterns[c.Name] = c.Namespace
	} else {
		delete(s.patterns, c.Name)
	}
	return wanted
}

// All implements pubsub.Source.
func (s *classicSource) All() []pubsub.Channel {
	e := (*classic)(s)
	namespaces := s.in.Namespaces()
	all := make([]pubsub.Channel, 0, 4*len(namespaces))
	for _, namespace := range namespaces {
		all = append(all, e.channels(namespace)...)
	}
	return all
}

// Gap implements pubsub.Source.
func (s *classicSource) Gap(reason error) { s.in.Gap(reason) }

// Message implements pubsub.Source.
func (s *classicSource) Message(channel, pattern, data string) {
	e := (*classic)(s)
	var (
		m   *cluster.Message
		err error
	)
	switch {
	case pattern != "":
		m, err = e.broadcast(channel, pattern, data)
	case strings.HasPrefix(channel, e.options.Key+"-request#"):
		namespace := strings.TrimSuffix(strings.TrimPrefix(channel, e.options.Key+"-request#"), "#")
		m, err = readRequest([]byte(data), namespace)
	default:
		m, err = readResponse([]byte(data), e.namespaceOf(channel))
	}
	switch {
	case err != nil:
		s.in.Malformed(channel, err)
	case m != nil:
		s.in.Receive(m)
	}
}

// namespaceOf returns the namespace of a channel for answers.
func (e *classic) namespaceOf(channel string) string {
	namespace := strings.TrimPrefix(channel, e.options.Key+"-response#")
	namespace = strings.TrimSuffix(namespace, "#"+e.in.ID()+"#")
	return strings.TrimSuffix(namespace, "#")
}

// broadcast reads a broadcast, unless it is for a room that nobody here is in, or
// this server's own.
func (e *classic) broadcast(channel, pattern, data string) (*cluster.Message, error) {
	e.mu.RLock()
	namespace, ok := e.patterns[pattern]
	e.mu.RUnlock()
	if !ok {
		return nil, nil //nolint:nilnil // it is not wanted any more
	}
	room := strings.TrimSuffix(strings.TrimPrefix(channel, e.broadcasts(namespace)), "#")
	if room != "" && !e.in.Has(namespace, room) {
		return nil, nil //nolint:nilnil // as above
	}
	if isFrom(data, e.in.ID()) {
		return nil, nil //nolint:nilnil // as above
	}
	return readBroadcast([]byte(data), namespace)
}
