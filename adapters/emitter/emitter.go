// Package emitter sends to the clients of a cluster from programs that serve none:
// a worker, a cron job, a request handler elsewhere.
//
//	e, err := emitter.New(redis.NewEngine(redis.Options{}), emitter.Options{})
//	err = e.Of("/chat").To("room").Emit(ctx, "news", item)
//
// It speaks what @socket.io/redis-emitter speaks if its engine is that of
// adapters/redis, so that it reaches the clients of Node servers, too. Options of
// the engine must be those of the servers.
package emitter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
)

// Options are those of New. The zero value has sane ones.
type Options struct {
	// Timeout is how long the broker may take to accept what is sent, if the
	// context says nothing. Default 5 seconds.
	Timeout time.Duration
	// Logger is for what the engine has to say. Default slog.Default.
	Logger *slog.Logger
}

// An Emitter sends to the sockets of a cluster. Its methods are safe for concurrent
// use.
type Emitter struct {
	engine  cluster.Engine
	options Options

	mu      sync.Mutex // guards what follows
	waiting *batch     // to be sent by the one that has the turn
	closed  bool

	turn chan struct{} // has one element unless somebody is sending
}

// A batch is what several goroutines send at once.
type batch struct {
	publications []*cluster.Publication // nil for one whose sender has given up
	sent         chan struct{}          // closed when it has been sent
	err          error                  // set before
}

// ErrClosed says that the emitter has been closed.
var ErrClosed = errors.New("emitter: closed")

// New returns an emitter on an engine of its own. That its broker cannot be reached
// is no error.
func New(engine cluster.Engine, o Options) (*Emitter, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Timeout < 0 {
		return nil, errors.New("emitter: Options.Timeout is negative")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	e := &Emitter{engine: engine, options: o, waiting: newBatch(), turn: make(chan struct{}, 1)}
	e.turn <- struct{}{}
	if err := engine.Start(&deaf{log: o.Logger}); err != nil {
		return nil, fmt.Errorf("emitter: %w", err)
	}
	return e, nil
}

func newBatch() *batch { return &batch{sent: make(chan struct{})} }

// Close waits for what is being sent and closes the engine, as long as ctx allows.
func (e *Emitter) Close(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	e.mu.Unlock()
	if again {
		return nil
	}
	select {
	case <-e.turn: // for good
	case <-ctx.Done():
	}
	return e.engine.Close(ctx)
}

// Of returns the target of all sockets of a namespace. A missing slash in front is
// added.
func (e *Emitter) Of(namespace string) Target {
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	return Target{emitter: e, namespace: namespace}
}

// To is Of("/").To.
func (e *Emitter) To(rooms ...string) Target { return e.Of("/").To(rooms...) }

// Emit is Of("/").Emit.
func (e *Emitter) Emit(ctx context.Context, event string, args ...any) error {
	return e.Of("/").Emit(ctx, event, args...)
}

// send sends a message and returns when the broker has it. What several goroutines
// send in the meantime goes together.
func (e *Emitter) send(ctx context.Context, m *cluster.Message) error {
	m.Sender = cluster.EmitterID
	p, err := e.engine.Encode(m)
	if err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.options.Timeout)
		defer cancel()
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	b, i := e.waiting, len(e.waiting.publications)
	b.publications = append(b.publications, &p)
	e.mu.Unlock()
	for {
		select {
		case <-b.sent:
			return b.err
		case <-ctx.Done():
			e.mu.Lock()
			if e.waiting == b {
				b.publications[i] = nil
			}
			e.mu.Unlock()
			return fmt.Errorf("emitter: %w", context.Cause(ctx))
		case <-e.turn:
			e.publish(ctx)
			e.turn <- struct{}{}
		}
	}
}

// publish sends what waits. It is the caller's turn.
func (e *Emitter) publish(ctx context.Context) {
	e.mu.Lock()
	b := e.waiting
	e.waiting = newBatch()
	e.mu.Unlock()
	var all []cluster.Publication
	for _, p := range b.publications {
		if p != nil {
			all = append(all, *p)
		}
	}
	if len(all) == 0 {
		close(b.sent)
		return // the turn before has sent it
	}
	// Others may have more time than who sends for them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.Timeout)
	defer cancel()
	if err := e.engine.Publish(ctx, all); err != nil {
		b.err = fmt.Errorf("emitter: %w", err)
	}
	close(b.sent)
}

// A Target is a choice of sockets, on all servers. It is a value: its methods return
// a new one, so that it can be kept and used from any goroutine.
type Target struct {
	emitter    *Emitter
	namespace  string
	in, except []string
	flags      cluster.Flags
}

// To adds rooms: the target is everybody who is in at least one. The id of a socket
// is a room, too.
func (t Target) To(rooms ...string) Target {
	t.in = slices.Concat(t.in, rooms)
	return t
}

// In is To.
func (t Target) In(rooms ...string) Target { return t.To(rooms...) }

// Except leaves out whoever is in one of the rooms.
func (t Target) Except(rooms ...string) Target {
	t.except = slices.Concat(t.except, rooms)
	return t
}

// Volatile sends to those only who can take it now.
func (t Target) Volatile() Target {
	t.flags.Volatile = true
	return t
}

// Compress says whether transports may spend compression on what is sent. They may
// unless it is called with false.
func (t Target) Compress(compress bool) Target {
	t.flags.NoCompress = !compress
	return t
}

// Emit sends an event to the target. It returns when the broker has it, and does not
// wait for servers or clients. It implements event.Emitter, so that descriptors
// work on a Target.
func (t Target) Emit(ctx context.Context, event string, args ...any) error {
	if err := codec.CheckEvent(event); err != nil {
		return fmt.Errorf("emitter: %w", err)
	}
	return t.send(ctx, &cluster.Message{Type: cluster.Broadcast, Event: event, Args: args, Flags: t.flags})
}

// Join puts the target into rooms.
func (t Target) Join(ctx context.Context, rooms ...string) error {
	return t.send(ctx, &cluster.Message{Type: cluster.SocketsJoin, Rooms: rooms})
}

// Leave takes the target out of rooms.
func (t Target) Leave(ctx context.Context, rooms ...string) error {
	return t.send(ctx, &cluster.Message{Type: cluster.SocketsLeave, Rooms: rooms})
}

// Disconnect disconnects the target from its namespace.
func (t Target) Disconnect(ctx context.Context) error {
	return t.send(ctx, &cluster.Message{Type: cluster.DisconnectSockets})
}

// CloseSessions ends the sessions of the target, with all their namespaces.
func (t Target) CloseSessions(ctx context.Context) error {
	return t.send(ctx, &cluster.Message{Type: cluster.DisconnectSockets, CloseSession: true})
}

// ServerSideEmit sends an event to the servers of the namespace themselves; rooms
// make no difference.
func (t Target) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("emitter: %w: %q", codec.ErrReservedEvent, event)
	}
	return t.send(ctx, &cluster.Message{Type: cluster.ServerSideEmit, Event: event, Args: args})
}

func (t Target) send(ctx context.Context, m *cluster.Message) error {
	m.Namespace = t.namespace
	if m.Type != cluster.ServerSideEmit {
		m.In, m.Except = t.in, t.except
	}
	return t.emitter.send(ctx, m)
}

// A deaf inbox is that of a program that serves no sockets.
type deaf struct {
	log *slog.Logger
}

// ID implements cluster.Inbox.
func (d *deaf) ID() string { return cluster.EmitterID }

// Receive implements cluster.Inbox.
func (d *deaf) Receive(*cluster.Message) {}

// Malformed implements cluster.Inbox.
func (d *deaf) Malformed(string, error) {}

// Gap implements cluster.Inbox.
func (d *deaf) Gap(error) {}

// Has implements cluster.Inbox.
func (d *deaf) Has(string, string) bool { return false }

// Namespaces implements cluster.Inbox.
func (d *deaf) Namespaces() []string { return nil }

// Rooms implements cluster.Inbox.
func (d *deaf) Rooms(string) []string { return nil }

// Logger implements cluster.Inbox.
func (d *deaf) Logger() *slog.Logger { return d.log }
