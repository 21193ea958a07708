package nats

import (
	"context"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// subscriptions are those of an engine. All deliver to one channel, so that what one
// server has sent to several subjects comes in its order.
type subscriptions struct {
	engine *engine
	more   chan struct{} // has one element if something is to be checked

	mu      sync.Mutex // guards what follows
	pending map[place]struct{}
	have    map[place]*nats.Subscription
	lost    int // by the subscriptions that there are not any more
	told    int // of those that were lost
}

// A place is a namespace, or a room of one.
type place struct{ namespace, room string }

func (s *subscriptions) init(e *engine) {
	s.engine = e
	s.more = make(chan struct{}, 1)
	s.pending = make(map[place]struct{})
	s.have = make(map[place]*nats.Subscription)
}

// changed has places looked at, soon.
func (s *subscriptions) changed(namespace string, rooms []string) {
	s.mu.Lock()
	if len(rooms) == 0 {
		s.pending[place{namespace, ""}] = struct{}{}
	}
	for _, room := range rooms {
		if hasSubject(room) {
			s.pending[place{namespace, room}] = struct{}{}
		}
	}
	s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// begin subscribes to what every server hears.
func (s *subscriptions) begin() {
	e := s.engine
	if e.in.ID() == cluster.EmitterID {
		return
	}
	for _, namespace := range e.in.Namespaces() {
		s.changed(namespace, nil)
		if rooms := e.in.Rooms(namespace); len(rooms) > 0 {
			s.changed(namespace, rooms)
		}
	}
	s.check()
	// Last, since these are how others get to know of this server: who is known is to
	// hear what is sent to it.
	s.subscribe(place{}, e.options.Prefix+".all")
	s.subscribe(place{"", "answers"}, e.nodeSubject(e.in.ID()))
}

// run subscribes and unsubscribes until the engine is closed, and then unsubscribes
// from everything.
func (s *subscriptions) run() {
	for {
		select {
		case <-s.more:
			s.check()
		case <-s.engine.closed:
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, sub := range s.have {
				_ = sub.Unsubscribe() // the connection may be closed
			}
			return
		}
	}
}

// check subscribes to what is wanted and unsubscribes from what is not, of what has
// changed.
func (s *subscriptions) check() {
	s.mu.Lock()
	pending := s.pending
	s.pending = make(map[place]struct{})
	s.mu.Unlock()
	for p := range pending {
		s.mu.Lock()
		sub := s.have[p]
		s.mu.Unlock()
		switch wanted := s.engine.in.Has(p.namespace, p.room); {
		case wanted && sub == nil:
			subject := s.engine.namespaceSubject(p.namespace)
			if p.room != "" {
				subject = s.engine.roomSubject(p.namespace, p.room)
			}
			s.subscribe(p, subject)
		case !wanted && sub != nil:
			n, _ := sub.Dropped()
			s.mu.Lock()
			delete(s.have, p)
			s.lost += max(n, 0)
			s.mu.Unlock()
			_ = sub.Unsubscribe()
		}
	}
}

// subscribe subscribes. That fails only if somebody has closed the connection.
func (s *subscriptions) subscribe(p place, subject string) {
	sub, err := s.engine.conn.ChanSubscribe(subject, s.engine.messages)
	if err != nil {
		s.engine.in.Logger().ErrorContext(context.Background(), "no subscription of messages of other servers",
			slog.String("subject", subject), slog.Any("error", err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[p] = sub
}

// dropped reports whether messages were dropped since it was called last.
func (s *subscriptions) dropped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.lost
	for _, sub := range s.have {
		n, _ := sub.Dropped()
		sum += max(n, 0) // it is negative if the connection is closed
	}
	fresh := sum > s.told
	s.told = max(s.told, sum)
	return fresh
}
