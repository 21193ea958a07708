package client

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

// A handler handles an event and answers it.
type handler = func(ctx context.Context, args event.Arguments) ([]any, error)

// A listener is a function that was registered, until it is stopped.
type listener[F any] struct {
	fn      F
	stopped atomic.Bool
}

// A watcher is one of Watch.
type watcher struct {
	event   string
	fn      func(args event.Arguments, err error)
	stopped atomic.Bool
}

// add registers fn in a list of s. Lists are replaced, never changed, so that
// they can be gone through without a lock.
func add[F any](s *Socket, list *[]*listener[F], fn F) (stop func()) {
	l := &listener[F]{fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(slices.Clip(*list), l)
	return func() {
		l.stopped.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		*list = without(*list, l)
	}
}

func without[T comparable](list []T, gone T) []T {
	rest := slices.DeleteFunc(slices.Clone(list), func(t T) bool { return t == gone })
	if len(rest) == 0 {
		return nil
	}
	return rest
}

// On registers a typed handler for the named event; see event.Event.On, which
// it is with a descriptor. The first handler of an event answers it.
func On[In, Out any](s *Socket, name string, fn func(ctx context.Context, in In) (Out, error)) (stop func()) {
	return event.New[In, Out](name).On(s, fn)
}

// Listen has fn called with every event of that name, until stop is called; an
// event may have several handlers, which are called in the order in which they
// were registered. What the first returns is the answer, if the server wants
// one, unless another is registered first; an event without a handler is not
// answered. An error of the type *Error is the answer as Options.ErrorAnswer
// makes it; of any other error, and of a panic, which are logged, the server is
// told the code "internal", or "bad_payload" if the arguments do not fit. fn
// may keep the arguments, which are a codec.Args. ctx ends when the socket is
// closed. It panics if the name is reserved.
func (s *Socket) Listen(name string, fn func(ctx context.Context, args event.Arguments) ([]any, error)) (stop func()) {
	mustBeFree(name)
	l := &listener[handler]{fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers == nil {
		s.handlers = make(map[string][]*listener[handler])
	}
	s.handlers[name] = append(slices.Clip(s.handlers[name]), l)
	return func() {
		l.stopped.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		if rest := without(s.handlers[name], l); rest != nil {
			s.handlers[name] = rest
		} else {
			delete(s.handlers, name)
		}
	}
}

// Watch has fn called with every event of that name, after its handlers, until
// stop is called or the socket is no longer going to be connected by itself: fn
// is then called with the reason, and not again. It is what event.Event.All
// uses. fn runs among the handlers, and a panic of it is logged as theirs are.
// Watch panics if the name is reserved.
func (s *Socket) Watch(name string, fn func(args event.Arguments, err error)) (stop func()) {
	mustBeFree(name)
	w := &watcher{event: name, fn: fn}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		fn(nil, ErrClosed)
		return func() {}
	}
	s.watchers = append(slices.Clip(s.watchers), w)
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		w.stopped.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = without(s.watchers, w)
	})
}

// mustBeFree panics if a program registers a handler for an event that can
// never come.
func mustBeFree(name string) {
	if err := codec.CheckEvent(name); err != nil {
		panic("client: " + err.Error()) //nolint:forbidigo // a mistake in the program, at registration
	}
}

// OnAny has fn called with every event, before its handlers, until stop is
// called. The arguments of an event that can be recovered end with its offset,
// as official clients have it too.
func (s *Socket) OnAny(fn func(ctx context.Context, event string, args codec.Args)) (stop func()) {
	return add(s, &s.all, fn)
}

// OnAnyOutgoing has fn called with every event that is emitted, once it has been
// sent or kept for a connection, until stop is called. It is not told of
// volatile events that were dropped, and once of those that are sent again. It
// runs on the goroutine that emits, so it may be called by several at once, and
// must not change args.
func (s *Socket) OnAnyOutgoing(fn func(ctx context.Context, event string, args []any)) (stop func()) {
	return add(s, &s.outgoing, fn)
}

// heardLocked reports whether anybody listens to anything. A handler of a
// connection that has just been made may still register others.
func (s *Socket) heardLocked() bool {
	return len(s.all) > 0 || len(s.handlers) > 0 || len(s.watchers) > 0 || len(s.observers) > 0
}

// handle calls whoever listens to an event.
func (s *Socket) handle(v *visit, r *codec.Received) {
	s.mu.Lock()
	all, handlers, watchers := s.all, s.handlers[r.Event], s.watchers
	s.mu.Unlock()
	for _, l := range all {
		if !l.stopped.Load() {
			_ = s.guard(r.Event, func() { l.fn(s.ctx, r.Event, r.Args) })
		}
	}
	answered := !r.HasID
	for _, l := range handlers {
		if l.stopped.Load() {
			continue
		}
		answer, err := s.call(l.fn, r)
		if answered {
			continue
		}
		answered = true
		if err != nil {
			answer = []any{s.manager.options.ErrorAnswer(handlerError(err))}
		}
		s.answer(v, r.ID, answer)
	}
	for _, w := range watchers {
		if w.event == r.Event && !w.stopped.Load() {
			_ = s.guard(r.Event, func() { w.fn(r.Args, nil) })
		}
	}
}

// call calls a handler.
func (s *Socket) call(fn handler, r *codec.Received) (answer []any, err error) {
	if failed := s.guard(r.Event, func() { answer, err = fn(s.ctx, r.Args) }); failed != nil {
		return nil, failed
	}
	if err == nil {
		return answer, nil
	}
	s.manager.options.Logger.LogAttrs(s.ctx, slog.LevelError, "handler has failed",
		slog.String("namespace", s.namespace), slog.String("event", r.Event), slog.Any("error", err))
	return nil, err
}

// answer sends an answer, if the socket is still where the event came to it:
// elsewhere it would answer another event.
func (s *Socket) answer(v *visit, id uint64, args []any) {
	e := v.engine
	packets, err := s.manager.encode(&codec.Packet{Type: codec.Ack, Namespace: s.namespace, ID: id, HasID: true, Args: args})
	if err == nil {
		s.mu.Lock()
		if s.joined == v {
			err = e.push(packets, s.manager.options.buffered())
		}
		s.mu.Unlock()
		e.flush()
	}
	if err != nil && !e.isOver() {
		s.manager.options.Logger.LogAttrs(s.ctx, slog.LevelError, "answer not sent",
			slog.String("namespace", s.namespace), slog.Any("error", err))
	}
}
