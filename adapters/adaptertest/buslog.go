package adaptertest

import (
	"context"
	"fmt"
	"slices"
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
	if n == 0 {
		return core.Offset{}
	}
	return core.Offset{Major: 1, Minor: uint64(n)} //nolint:gosec // it is positive
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
		switch own := b.clients[key].owner == e.in.ID(); {
		case c.State == nil && own:
			delete(b.clients, key)
		case c.State != nil && (own || c.State.Fresh):
			b.clients[key] = savedClient{e.in.ID(), *c.State, time.Now().Add(c.State.Window)}
		}
	}
	return nil
}

// Take implements cluster.Log.
func (e *BusEngine) Take(_ context.Context, namespace, privateID, seen string) (*core.Comeback, error) {
	if e.isCut() {
		return nil, errCut
	}
	b := e.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	key := clientKey(namespace, privateID)
	saved, ok := b.clients[key]
	if !ok || time.Now().After(saved.until) {
		return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
	}
	from := saved.state.Since
	if offset, ok := core.ParseOffset(seen); ok {
		from = offset
	}
	if from.Major > 1 || from.Minor > uint64(len(b.log)) {
		return nil, fmt.Errorf("%w: offset %v is unknown", core.ErrNotRecoverable, from)
	}
	delete(b.clients, key)
	back := &core.Comeback{Client: saved.state, Until: offsetOf(len(b.log))}
	in := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool { return slices.Contains(saved.state.Rooms, room) })
	}
	for i, p := range b.log[from.Minor:] {
		m, err := cluster.ReadMessage(p.Data)
		if err != nil {
			return nil, err
		}
		if m.Namespace == namespace && (len(m.In) == 0 || in(m.In)) && !in(m.Except) {
			back.Missed = append(back.Missed, &core.Broadcast{
				Namespace: namespace, In: m.In, Except: m.Except, Event: m.Event, Args: m.Args,
				Key: m.Flags.Key, Offset: offsetOf(int(from.Minor) + i + 1), //nolint:gosec // a place in the log
			})
		}
	}
	return back, nil
}

func (e *BusEngine) isCut() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cut
}
