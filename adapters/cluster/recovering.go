package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A Recovering is an Adapter that is a core.Recoverer, too.
type Recovering struct {
	*Adapter
	log Log
}

var _ core.Recoverer = (*Recovering)(nil)

// NewRecovering is New for an engine whose broker keeps events.
func NewRecovering(engine Log, o Options) *Recovering {
	a := New(engine, o)
	a.kept = newKept(a, engine)
	return &Recovering{Adapter: a, log: engine}
}

// Keep implements core.Recoverer.
func (a *Recovering) Keep(_ context.Context, b *core.Broadcast) error {
	m := broadcast(b)
	m.Nonce = strconv.FormatUint(a.kept.last.Add(1), 10)
	return a.send(m)
}

// Settle implements core.Recoverer.
func (a *Recovering) Settle(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ctx, cancel)() // nothing comes back any more
	a.kept.flights.settle(ctx)
}

// Position implements core.Recoverer.
func (a *Recovering) Position() core.Offset {
	a.kept.recent.begin() // whoever asks has a client that may come back
	return a.log.Position()
}

// Save implements core.Recoverer.
func (a *Recovering) Save(c *core.ClientState) {
	a.kept.change(Change{Namespace: c.Namespace, PrivateID: c.PrivateID, State: c})
}

// Forget implements core.Recoverer.
func (a *Recovering) Forget(namespace, privateID string) {
	a.kept.change(Change{Namespace: namespace, PrivateID: privateID})
}

// Restore implements core.Recoverer.
func (a *Recovering) Restore(ctx context.Context, namespace, privateID, seen string) (*core.Comeback, error) {
	a.kept.recent.begin()
	if err := a.kept.saved(ctx, namespace, privateID); err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrNotRecoverable, err)
	}
	state, err := a.take(ctx, namespace, privateID)
	if err != nil {
		return nil, err
	}
	// Official clients that have connected afresh still name the offset they had
	// before, until they are sent something; and one may name any.
	from, ok := core.ParseOffset(seen)
	if !ok || from.Compare(state.Since) < 0 {
		from = state.Since
	}
	back, err := a.missed(ctx, namespace, state.Rooms, from)
	if err != nil {
		return nil, err
	}
	back.Client = *state
	return back, nil
}

// lateSave is how long a state is waited for that is not there: the server that had
// the client may be about to save it. It is looked for every lateLook.
const (
	lateSave = 500 * time.Millisecond
	lateLook = 50 * time.Millisecond
)

// take takes what a client comes back to, now or when it has been saved.
func (a *Recovering) take(ctx context.Context, namespace, privateID string) (*core.ClientState, error) {
	for attempt := 0; ; attempt++ {
		state, err := a.log.Take(ctx, namespace, privateID)
		if !errors.Is(err, core.ErrNotRecoverable) || attempt >= int(lateSave/lateLook) {
			return state, err
		}
		select {
		case <-time.After(lateLook):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// missed reads the events after from that were for who is in the rooms.
func (a *Recovering) missed(ctx context.Context, namespace string, rooms []string, from core.Offset) (*core.Comeback, error) {
	if from.IsZero() {
		return nil, fmt.Errorf("%w: nobody knows what the client has seen", core.ErrNotRecoverable)
	}
	joined := make(map[string]bool, len(rooms))
	for _, room := range rooms {
		joined[room] = true
	}
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return joined[name] })
	}
	back := new(core.Comeback)
	take := func(m *Message) {
		if m.Namespace == namespace && (len(m.In) == 0 || in(m.In)) && !in(m.Except) {
			back.Missed = append(back.Missed, &core.Broadcast{
				Namespace: namespace, In: m.In, Except: m.Except, Event: m.Event, Args: m.Args, Key: m.Flags.Key, Offset: m.Offset,
			})
		}
	}
	var ok bool
	if back.Until, ok = a.kept.recent.after(from, take); ok {
		return back, nil
	}
	var err error
	back.Until, err = a.log.Read(ctx, namespace, from, take)
	return back, err
}

// kept is what an adapter knows of its events that are on their way to the broker
// and back, and of changes to what clients come back to that wait to be saved.
type kept struct {
	adapter *Adapter
	log     Log
	more    chan struct{}
	done    chan struct{}
	recent  recent
	flights flights
	last    atomic.Uint64 // nonce

	mu      sync.Mutex // guards what follows
	changes map[clientKey]Change
	idle    *sync.Cond // told when changes have been saved
	saving  map[clientKey]Change
	closed  bool

	// Of the goroutine that saves.
	failing bool
	unsaved map[clientKey]time.Time // who could not be saved for the first time; by then at the latest it is tried again, or never
	sweep   time.Time               // when to look next for what is of no use in unsaved
}

// A clientKey names what one client comes back to.
type clientKey struct{ namespace, privateID string }

func newKept(a *Adapter, log Log) *kept {
	k := &kept{
		adapter: a, log: log, more: make(chan struct{}, 1), done: make(chan struct{}),
		changes: make(map[clientKey]Change), unsaved: make(map[clientKey]time.Time),
	}
	k.idle = sync.NewCond(&k.mu)
	return k
}

// back takes an own event that the broker has given its place.
func (k *kept) back(m *Message) {
	for {
		p, ok := k.flights.next(m.Nonce)
		switch {
		case !ok:
			return
		case p.Nonce != m.Nonce:
			k.adapter.stats.publishFailed.Add(1)
			k.alone(&p)
		default:
			k.adapter.deliver(m)
			k.flights.landed(m.Nonce)
		}
	}
}

// notKept sends what may not have reached the broker to this server's clients. If
// it comes back yet it is passed over.
func (k *kept) notKept(batch []Publication) {
	for i := range batch {
		if batch[i].Nonce != "" && k.flights.land(batch[i].Nonce) {
			k.alone(&batch[i])
		}
	}
}

// alone sends an event to this server's clients without an offset.
func (k *kept) alone(p *Publication) {
	defer k.flights.landed(p.Nonce)
	m, err := k.log.Decode(*p)
	if err != nil {
		k.adapter.log.ErrorContext(k.adapter.ctx, "an own event cannot be read", slog.Any("error", err))
		return
	}
	m.Offset = core.Offset{}
	k.adapter.deliver(m)
}

// change has something saved. What waits for the same client is replaced.
func (k *kept) change(c Change) {
	k.mu.Lock()
	if !k.closed {
		key := clientKey{c.Namespace, c.PrivateID}
		if before, ok := k.changes[key]; ok && before.State != nil && c.State != nil && before.State.Fresh {
			c.State.Fresh = true // it has not been saved yet
		}
		k.changes[key] = c
	}
	k.mu.Unlock()
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// run saves what has changed, until the adapter is closed.
func (k *kept) run() {
	defer close(k.done)
	for {
		k.mu.Lock()
		k.saving, k.changes = k.changes, make(map[clientKey]Change)
		batch := make([]Change, 0, len(k.saving))
		for key, c := range k.saving {
			if _, yes := k.unsaved[key]; yes && c.State != nil {
				c.State.Fresh = true // or nothing of it would ever be saved
			}
			batch = append(batch, c)
		}
		closed := k.closed
		k.mu.Unlock()
		for len(batch) > 0 && k.adapter.ctx.Err() == nil {
			n := min(len(batch), maxBatch)
			k.save(batch[:n])
			batch = batch[n:]
		}
		k.mu.Lock()
		k.saving = nil
		k.idle.Broadcast()
		again := len(k.changes) > 0
		k.mu.Unlock()
		if again {
			continue
		}
		if closed {
			return
		}
		select {
		case <-k.more:
		case <-k.adapter.ctx.Done():
			return
		}
	}
}

func (k *kept) save(batch []Change) {
	ctx, cancel := context.WithTimeout(k.adapter.ctx, k.adapter.options.PublishTimeout)
	defer cancel()
	err := k.log.Update(ctx, batch)
	if err != nil && !k.failing {
		k.adapter.log.ErrorContext(ctx, "what clients come back to cannot be saved", slog.Any("error", err))
	}
	if k.failing = err != nil; k.failing {
		k.adapter.stats.notSaved.Add(uint64(len(batch)))
	}
	k.note(batch, err == nil)
}

// note takes note of whether changes were saved.
func (k *kept) note(batch []Change, saved bool) {
	now := time.Now()
	for _, c := range batch {
		switch key := (clientKey{c.Namespace, c.PrivateID}); {
		case saved || c.State == nil:
			delete(k.unsaved, key)
		case c.State.Fresh:
			k.unsaved[key] = now.Add(c.State.Window)
		}
	}
	if len(k.unsaved) == 0 || now.Before(k.sweep) {
		return
	}
	k.sweep = now.Add(time.Minute)
	maps.DeleteFunc(k.unsaved, func(_ clientKey, until time.Time) bool { return now.After(until) })
}

// saved waits until nothing of one client is to be saved any more.
func (k *kept) saved(ctx context.Context, namespace, privateID string) error {
	key := clientKey{namespace, privateID}
	wake := context.AfterFunc(ctx, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.idle.Broadcast()
	})
	defer wake()
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		_, waits := k.changes[key]
		_, saving := k.saving[key]
		switch {
		case !waits && !saving:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		k.idle.Wait()
	}
}

// close saves what waits, as long as ctx allows.
func (k *kept) close(ctx context.Context) {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	select {
	case k.more <- struct{}{}:
	default:
	}
	select {
	case <-k.done:
	case <-ctx.Done():
	}
}
