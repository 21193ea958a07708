// Package cluster joins servers to a cluster: what is sent to a room reaches its
// members on all servers, servers ask each other for their sockets and call each
// other. An Engine carries the messages; adapters/redis and adapters/nats have
// some, and who writes another gets the rest from here.
//
//	srv, err := core.New(core.Options{Adapter: cluster.New(engine, cluster.Options{})})
//
// # Guarantees
//
// A message reaches another server at most once, and the messages of one server
// in their order. It is lost if the broker cannot be reached, or loses it; then
// Stats and the log say so and Options.OnGap is called, and the sockets of the
// server that has sent it get it nevertheless. A question to the other servers
// ends when all have answered, or with what there is and a *core.PartialError.
//
// # Goroutines
//
// An Adapter has one goroutine that sends, one that saves what clients come back to
// if it was made by NewRecovering, one for heartbeats if its engine needs
// them, and one for each question of another server that it works on. All end
// with Close.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/upshift-go/upshift/core"
)

// An Adapter is a core.Adapter on top of an Engine.
type Adapter struct {
	engine  Engine
	counter Counter // the engine, if it is one
	options Options
	id      string

	// Set by Attach.
	node core.Node
	log  *slog.Logger

	ctx    context.Context //nolint:containedctx // of everything that goes on until Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the goroutines that Close waits for

	queue   queue
	pending requests
	members members
	lanes   lanes
	kept    *kept // of an adapter that was made by NewRecovering
	stats   counters
}

var (
	_ core.Adapter = (*Adapter)(nil)
	_ Inbox        = (*inbox)(nil)
)

// New returns an adapter for core.Options.Adapter, for one server. What is wrong
// with o is what core.New says is wrong.
func New(engine Engine, o Options) *Adapter {
	a := &Adapter{engine: engine, options: o, id: newID()}
	a.counter, _ = engine.(Counter)
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a
}

// newID returns the id of a server or a request: 16 hexadecimal digits, as those
// of socket.io.
func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// ID is the id of this server in the cluster: 16 hexadecimal digits, other ones at
// each start.
func (a *Adapter) ID() string { return a.id }

// Attach implements core.Adapter.
func (a *Adapter) Attach(node core.Node) error {
	if a.node != nil {
		return errors.New("cluster: an adapter is for one server")
	}
	var err error
	if a.options, err = a.options.withDefaults(); err != nil {
		return err
	}
	a.node = node
	a.log = node.Logger().With(slog.String("adapter", a.engine.Name()), slog.String("node", a.id))
	a.queue.init(a)
	if a.kept != nil {
		a.kept.recent.most = a.options.MaxRecentBytes
		a.kept.flights.init(a.options.MaxQueueBytes)
	}
	a.pending.open = make(map[string]*request)
	a.lanes.init(a)
	a.members.init(a)
	if err := a.engine.Start(&inbox{a}); err != nil {
		a.cancel()
		return fmt.Errorf("cluster: %s: %w", a.engine.Name(), err)
	}
	a.wg.Go(a.queue.run)
	if a.kept != nil {
		a.wg.Go(a.kept.run)
	}
	if a.counter == nil {
		a.wg.Go(a.members.run)
	}
	return nil
}

// Close implements core.Adapter. What waits is sent first, as long as ctx allows.
func (a *Adapter) Close(ctx context.Context) error {
	if a.node == nil {
		return nil
	}
	var last []Publication
	if a.counter == nil {
		if p, err := a.encode(&Message{Type: Close}); err == nil {
			last = append(last, p)
		}
	}
	a.queue.close(ctx, last...)
	if a.kept != nil {
		a.kept.close(ctx)
	}
	a.cancel()
	a.wg.Wait()
	err := a.engine.Close(ctx) // from here on nothing new comes
	return errors.Join(err, a.lanes.wait(ctx))
}

// Changed implements core.Adapter.
func (a *Adapter) Changed(namespace string, rooms ...string) { a.engine.Changed(namespace, rooms...) }

// send encodes a message and queues it for the broker.
func (a *Adapter) send(m *Message) error {
	p, err := a.encode(m)
	if err != nil {
		return err
	}
	return a.queue.add(p)
}

func (a *Adapter) encode(m *Message) (Publication, error) {
	m.Sender = a.id
	p, err := a.engine.Encode(m)
	if err != nil {
		return p, fmt.Errorf("cluster: %w", err)
	}
	p.Nonce = m.Nonce
	return p, nil
}

// Broadcast implements core.Adapter.
func (a *Adapter) Broadcast(_ context.Context, b *core.Broadcast) error {
	return a.send(broadcast(b))
}

func broadcast(b *core.Broadcast) *Message {
	return &Message{
		Type: Broadcast, Namespace: b.Namespace, In: b.In, Except: b.Except, Event: b.Event, Args: b.Args,
		Flags: Flags{Volatile: b.Volatile, NoCompress: b.NoCompress, Overflow: b.Overflow, Key: b.Key},
	}
}

// Update implements core.Adapter.
func (a *Adapter) Update(_ context.Context, u *core.Update) error {
	var all []*Message
	if len(u.Join) > 0 {
		all = append(all, &Message{Type: SocketsJoin, Rooms: u.Join})
	}
	if len(u.Leave) > 0 {
		all = append(all, &Message{Type: SocketsLeave, Rooms: u.Leave})
	}
	if u.Disconnect || u.CloseSession {
		all = append(all, &Message{Type: DisconnectSockets, CloseSession: u.CloseSession})
	}
	for _, m := range all {
		m.Namespace, m.In, m.Except = u.Namespace, u.In, u.Except
		if err := a.send(m); err != nil {
			return err
		}
	}
	return nil
}

// Emit implements core.Adapter.
func (a *Adapter) Emit(_ context.Context, e *core.ServerEvent) error {
	return a.send(&Message{Type: ServerSideEmit, Namespace: e.Namespace, Event: e.Event, Args: e.Args})
}
