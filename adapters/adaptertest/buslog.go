package adaptertest

import (
	"context"
	"fmt"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// A savedClient is what a client comes back to.
type savedClient struct {
	owner string // the server that has saved it
	state core.ClientState
	until time.Time
}

func clientKey(namespace, privateID string) string { return namespace + "," + privateID }

func offsetOf(n int) core.Offset {
	return core.Offset{Major: 1, Minor: uint64(n)} //nolint:gosec // it is not negative
}

// Decode implements cluster.Log.
func (e *BusEngine) Decode(p cluster.Publication) (*cluster.Message, error) {
	return cluster.ReadMessage(p.Data)
}

// Position implements cluster.Log.
func (e *BusEngine) Position() core.Offset {
	e.mu.Lock()
	defer e.mu.Unlock()
	return offsetOf(e.position)
}

// Update implements cluster.Log.
func (e *BusEngine) Update(_ context.Context, changes []cluster.Change) error {
	if e.isCut() {
		return errCut
	}
	b := e.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clients == nil {
		b.clients = make(map[string]savedClient)
	}
	for _, c := range changes {
		key := clientKey(c.Namespace, c.PrivateID)
		before, ok := b.clients[key]
		none := !ok || time.Now().After(before.until)
		switch own := before.owner == e.in.ID(); {
		case c.State == nil && own:
			delete(b.clients, key)
		case c.State != nil && (own || none && c.State.Fresh):
			b.clients[key] = savedClient{e.in.ID(), *c.State, time.Now().Add(c.State.Window)}
		}
	}
	if e.echoes() {
		return errCut
	}
	return nil
}

// Take implements cluster.Log.
func (e *BusEngine) Take(_ context.Context, namespace, privateID string) (*core.ClientState, error) {
	if e.isCut() {
		return nil, errCut
	}
	if state := e.bus.take(e.in.ID(), clientKey(namespace, privateID)); state != nil {
		return state, nil
	}
	return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
}

// take makes what is saved that of another server. It returns nil if there is nothing.
func (b *Bus) take(owner, key string) *core.ClientState {
	b.mu.Lock()
	defer b.mu.Unlock()
	saved, ok := b.clients[key]
	if !ok || time.Now().After(saved.until) {
		return nil
	}
	saved.owner = owner
	b.clients[key] = saved
	return &saved.state
}

// Read implements cluster.Log.
func (e *BusEngine) Read(_ context.Context, namespace string, from core.Offset, take func(*cluster.Message)) (core.Offset, error) {
	if e.isCut() || e.readFails() {
		return core.Offset{}, errCut
	}
	b := e.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if from.Major > 1 || from.Minor > uint64(len(b.log)) {
		return core.Offset{}, fmt.Errorf("%w: offset %v is unknown", core.ErrNotRecoverable, from)
	}
	for i, p := range b.log[from.Minor:] {
		m, err := cluster.ReadMessage(p.Data)
		if err != nil {
			return core.Offset{}, err
		}
		m.Offset = offsetOf(int(from.Minor) + i + 1) //nolint:gosec // a place in the log
		if m.Namespace == namespace {
			take(m)
		}
	}
	return offsetOf(len(b.log)), nil
}

// FailReads makes what is kept unreadable n times.
func (e *BusEngine) FailReads(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failReads = n
}

func (e *BusEngine) readFails() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failReads--
	return e.failReads >= 0
}

func (e *BusEngine) echoes() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.echo
}

func (e *BusEngine) isCut() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cut
}
