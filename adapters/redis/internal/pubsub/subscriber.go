package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A Kind is how a channel is subscribed to.
type Kind uint8

// The kinds of subscriptions.
const (
	Plain   Kind = iota // SUBSCRIBE
	Pattern             // PSUBSCRIBE; the name is a pattern
	Shard               // SSUBSCRIBE
)

// A Channel is what can be subscribed to.
type Channel struct {
	Kind Kind
	Name string
	// Namespace and Room are for whoever is asked whether it is wanted.
	Namespace, Room string
}

// A Source says what is to be subscribed to, and takes what arrives. Its methods
// are called by one goroutine each, and not at the same time as Start.
type Source interface {
	// Wanted reports whether a channel is to be subscribed to now.
	Wanted(c Channel) bool
	// All returns all channels that are.
	All() []Channel
	// Message takes a message. pattern is empty unless it was received by one.
	// Messages of a channel come in their order.
	Message(channel, pattern, data string)
	// Gap says that messages may have been missed until now.
	Gap(reason error)
}

// Options are the knobs of a Subscriber.
type Options struct {
	// Probe is a channel that nobody else uses. If nothing has arrived for
	// ProbeAfter, the subscriber sends itself something there; if that does not
	// arrive either in the same time, it connects anew. It notices so that its
	// server is not the one any more that others publish to.
	Probe      Channel
	ProbeAfter time.Duration // default 30 s, also if it is negative
	Logger     *slog.Logger
}

// A Subscriber keeps the subscriptions of one connection in step with what its
// source wants. It has two goroutines, until Close.
type Subscriber struct {
	link   *Link
	source Source
	o      Options
	ctx    context.Context //nolint:containedctx // of everything until Close
	cancel context.CancelFunc
	done   chan struct{}
	more   chan struct{} // has one element if something is to be checked

	heard atomic.Int64 // when something has arrived last, in nanoseconds

	mu      sync.Mutex // guards what follows
	pending map[Channel]struct{}
	have    map[Channel]struct{} // subscribed to, on the connection there is
}

// New returns a subscriber that does nothing before Start.
func New(link *Link, source Source, o Options) *Subscriber {
	if o.ProbeAfter <= 0 {
		o.ProbeAfter = 30 * time.Second
	}
	s := &Subscriber{
		link: link, source: source, o: o, done: make(chan struct{}), more: make(chan struct{}, 1),
		pending: make(map[Channel]struct{}), have: make(map[Channel]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Start begins, with all that the source wants.
func (s *Subscriber) Start() { go s.run() }

// Close ends all subscriptions, and returns when nothing arrives any more.
func (s *Subscriber) Close() {
	s.cancel()
	<-s.done
}

// Check says that channels may be wanted now, or not any more. It does not block.
func (s *Subscriber) Check(channels ...Channel) {
	s.mu.Lock()
	for _, c := range channels {
		s.pending[c] = struct{}{}
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Has reports whether a channel is subscribed to now, as Redis has confirmed.
func (s *Subscriber) Has(c Channel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.have[c]
	return ok
}

var (
	errLost   = errors.New("redis: the connection for subscriptions was lost")
	errSilent = errors.New("redis: nothing arrives on the connection for subscriptions")
)

// run connects, again and again.
func (s *Subscriber) run() {
	defer close(s.done)
	var (
		pause Pause
		lost  error // why there was no connection, if there has been one before
		first = true
	)
	for s.ctx.Err() == nil {
		up, err := s.connection(lost)
		if s.ctx.Err() != nil {
			return
		}
		if up {
			pause.Reset()
		}
		if first || up {
			s.o.Logger.WarnContext(s.ctx, "no subscriptions of messages of other servers", slog.Any("error", err))
		}
		first = false
		lost = err
		if !pause.Wait(s.ctx) {
			return
		}
	}
}

// connection subscribes on one connection until it is lost. up is whether it had
// come to that.
func (s *Subscriber) connection(lost error) (up bool, err error) {
	client, err := s.link.Client(s.ctx)
	if err != nil {
		return false, err
	}
	conn, release := Node(client).Dedicate()
	defer release()
	over := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: s.message})
	defer func() {
		conn.Close()
		for range over { // until nothing is handed on any more
		}
	}()
	s.mu.Lock()
	clear(s.pending)
	clear(s.have)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		clear(s.have)
		s.mu.Unlock()
	}()
	all := s.source.All()
	if s.o.Probe.Name != "" {
		all = append(all, s.o.Probe)
	}
	if err := s.change(conn, all, nil); err != nil {
		return false, err
	}
	s.heard.Store(time.Now().UnixNano())
	if lost != nil {
		s.o.Logger.InfoContext(s.ctx, "subscriptions of messages of other servers are back")
		s.source.Gap(lost)
	}
	return true, s.follow(conn, over)
}

// follow keeps the subscriptions in step until the connection is lost.
func (s *Subscriber) follow(conn rueidis.DedicatedClient, over <-chan error) error {
	probe := time.NewTicker(s.o.ProbeAfter / 2)
	defer probe.Stop()
	for {
		select {
		case <-s.more:
			if err := s.check(conn); err != nil {
				return err
			}
		case <-probe.C:
			if err := s.probe(); err != nil {
				return err
			}
		case err := <-over:
			if err == nil {
				err = errLost
			}
			return fmt.Errorf("%w: %w", errLost, err)
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// check subscribes to what is wanted and unsubscribes from what is not, of what has
// changed.
func (s *Subscriber) check(conn rueidis.DedicatedClient) error {
	s.mu.Lock()
	pending := s.pending
	s.pending = make(map[Channel]struct{})
	s.mu.Unlock()
	var add, drop []Channel
	for c := range pending {
		switch wanted, have := s.source.Wanted(c), s.Has(c); {
		case wanted && !have:
			add = append(add, c)
		case !wanted && have:
			drop = append(drop, c)
		}
	}
	return s.change(conn, add, drop)
}

// batch is how many channels one command names.
const batch = 512

// change subscribes and unsubscribes, in batches, and waits for the answers.
func (s *Subscriber) change(conn rueidis.DedicatedClient, add, drop []Channel) error {
	// Plain ones come last: by them servers are counted, and who is counted is to hear
	// the rest.
	for _, kind := range []Kind{Pattern, Shard, Plain} {
		for names := range batches(drop, kind) {
			if err := s.do(conn, unsubscribe(conn.B(), kind, names)); err != nil {
				return err
			}
		}
		for names := range batches(add, kind) {
			if err := s.do(conn, subscribe(conn.B(), kind, names)); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range add {
		s.have[c] = struct{}{}
	}
	for _, c := range drop {
		delete(s.have, c)
	}
	return nil
}

func batches(channels []Channel, kind Kind) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		var names []string
		for _, c := range channels {
			if c.Kind != kind {
				continue
			}
			if names = append(names, c.Name); len(names) == batch || kind == Shard {
				// Shard channels of several slots must not be in one command.
				if !yield(names) {
					return
				}
				names = nil
			}
		}
		if len(names) > 0 {
			yield(names)
		}
	}
}

func subscribe(b rueidis.Builder, kind Kind, names []string) rueidis.Completed {
	switch kind {
	case Pattern:
		return b.Psubscribe().Pattern(names...).Build()
	case Shard:
		return b.Ssubscribe().Channel(names...).Build()
	default:
		return b.Subscribe().Channel(names...).Build()
	}
}

func unsubscribe(b rueidis.Builder, kind Kind, names []string) rueidis.Completed {
	switch kind {
	case Pattern:
		return b.Punsubscribe().Pattern(names...).Build()
	case Shard:
		return b.Sunsubscribe().Channel(names...).Build()
	default:
		return b.Unsubscribe().Channel(names...).Build()
	}
}

const answerTime = 10 * time.Second

func (s *Subscriber) do(conn rueidis.DedicatedClient, cmd rueidis.Completed) error {
	ctx, cancel := context.WithTimeout(s.ctx, answerTime)
	defer cancel()
	return conn.Do(ctx, cmd).Error()
}

// probe finds out whether the connection is alive if nothing arrives on it.
func (s *Subscriber) probe() error {
	silence := time.Since(time.Unix(0, s.heard.Load()))
	switch {
	case s.o.Probe.Name == "" || silence < s.o.ProbeAfter:
		return nil
	case silence > 2*s.o.ProbeAfter:
		return errSilent
	}
	ctx, cancel := context.WithTimeout(s.ctx, answerTime)
	defer cancel()
	client, err := s.link.Client(ctx)
	if err != nil {
		return nil //nolint:nilerr // the connection for subscriptions is another matter
	}
	if s.o.Probe.Kind == Shard {
		_ = client.Do(ctx, client.B().Spublish().Channel(s.o.Probe.Name).Message("").Build()).Error()
		return nil
	}
	_ = Node(client).Do(ctx, client.B().Publish().Channel(s.o.Probe.Name).Message("").Build()).Error()
	return nil
}

// message hands on what arrives.
func (s *Subscriber) message(m rueidis.PubSubMessage) {
	s.heard.Store(time.Now().UnixNano())
	if m.Channel != s.o.Probe.Name {
		s.source.Message(m.Channel, m.Pattern, m.Message)
	}
}
