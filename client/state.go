package client

import (
	"context"
	"time"
)

// A State is where a socket is.
type State uint8

// The states of a socket.
const (
	Disconnected State = iota // before Connect; after a loss; when the server or the program does not want it
	Connecting                // a connection is being opened, or the namespace joined
	Connected                 // in the namespace
	Waiting                   // for the next attempt to connect
	Closed                    // for good
)

// String returns the name of the state in lower case.
func (s State) String() string {
	names := [...]string{"disconnected", "connecting", "connected", "waiting", "closed"}
	if int(s) < len(names) {
		return names[s]
	}
	return "invalid"
}

// A StateChange is what observers are told.
type StateChange struct {
	// From and State are the states before and after. They are the same when
	// one attempt to connect follows another.
	From, State State
	// Err is why. Of a socket that was connected it is a *CloseError; of one
	// that is waiting or disconnected after an attempt, why that has failed:
	// a *ConnectError if the server has refused the namespace, a
	// *RequestError if it has refused a request, and others. It is nil if
	// nothing has failed.
	Err error
	// Attempt is the number of the reconnection, counted from 1, that is
	// waited for or has begun; 0 if it is none.
	Attempt int
	// Delay is how long it is waited for.
	Delay time.Duration

	final bool // the socket is not going to be connected by itself
}

// OnState has fn called with every change of state, in its place among the
// events, until stop is called: when fn is told of Connected, all events that
// came with a recovery have been handled, and none that came later.
func (s *Socket) OnState(fn func(ctx context.Context, c StateChange)) (stop func()) {
	return add(s, &s.observers, fn)
}

// OnConnect has fn called whenever the socket has been connected. Handlers are
// kept when the connection is lost, so fn need not register them again.
func (s *Socket) OnConnect(fn func(ctx context.Context)) (stop func()) {
	return s.OnState(func(ctx context.Context, c StateChange) {
		if c.State == Connected {
			fn(ctx)
		}
	})
}

// OnDisconnect has fn called whenever a socket that was connected no longer is.
// The cause is a *CloseError: see ReasonOf.
func (s *Socket) OnDisconnect(fn func(ctx context.Context, cause error)) (stop func()) {
	return s.OnState(func(ctx context.Context, c StateChange) {
		if c.From == Connected && c.State != Connected {
			fn(ctx, c.Err)
		}
	})
}

// OnConnectError has fn called whenever an attempt to connect has failed,
// whether there will be another or not.
func (s *Socket) OnConnectError(fn func(ctx context.Context, err error)) (stop func()) {
	return s.OnState(func(ctx context.Context, c StateChange) {
		if c.From != Connected && c.Err != nil {
			fn(ctx, c.Err)
		}
	})
}

// changeLocked changes the state and queues the news.
func (s *Socket) changeLocked(c StateChange) {
	c.From = s.state
	s.state = c.State
	if len(s.observers) > 0 || c.final && len(s.watchers) > 0 {
		s.queueLocked(&task{change: &c})
	}
}

// changed tells the observers. It is called by the worker.
func (s *Socket) changed(c *StateChange) {
	s.mu.Lock()
	observers := s.observers
	var watchers []*watcher
	if c.final {
		watchers, s.watchers = s.watchers, nil
	}
	s.mu.Unlock()
	for _, o := range observers {
		if !o.stopped.Load() {
			_ = s.guard("state", func() { o.fn(s.ctx, *c) })
		}
	}
	err := c.Err
	if err == nil {
		err = &CloseError{Reason: ClientDisconnect}
	}
	for _, w := range watchers {
		_ = s.guard(w.event, func() { w.fn(nil, err) })
	}
}
