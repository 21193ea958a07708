package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A saved client. It is the last message of its subject; if that is empty, the client
// has left for good.
type saved struct {
	Namespace string    `json:"nsp"`
	ID        string    `json:"sid"`
	PrivateID string    `json:"pid"`
	Rooms     []string  `json:"rooms"`
	Data      codec.Raw `json:"data"`
	Since     string    `json:"since"`
	Until     int64     `json:"until"` // in milliseconds since 1970
}

func (e *logEngine) stateSubject(privateID string) string {
	return e.options.Prefix + ".state." + token(privateID)
}

// ownerHeader names the server that has saved a client.
const ownerHeader = "Upshift-Owner"

// stateMsg makes the message of a change.
func (e *logEngine) stateMsg(c cluster.Change) (m *nats.Msg, err error) {
	m = nats.NewMsg(e.stateSubject(c.PrivateID))
	m.Header.Set(ownerHeader, e.in.ID())
	if c.State != nil {
		m.Data, err = encodeState(c.State)
	}
	return m, err
}

// Update implements cluster.Log. What this server has saved before is known by the
// sequence that it got; that of nothing is 0.
func (e *logEngine) Update(ctx context.Context, changes []cluster.Change) error {
	if err := e.makeStreams(ctx); err != nil {
		return err
	}
	acks := make([]jetstream.PubAckFuture, len(changes))
	var failed error
	for i, c := range changes {
		e.mu.Lock()
		e.forgetLocked()
		before, own := e.owned[c.PrivateID]
		e.mu.Unlock()
		if !own && (c.State == nil || !c.State.Fresh) {
			continue
		}
		m, err := e.stateMsg(c)
		if err == nil {
			acks[i], err = e.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0), jetstream.WithExpectLastSequencePerSubject(before.sequence))
		}
		if err != nil {
			failed = fmt.Errorf("nats: %w", err)
		}
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		if err := e.settle(ctx, changes[i], ack); err != nil {
			failed = err
		}
	}
	return failed
}

// settle waits for the answer to one change.
func (e *logEngine) settle(ctx context.Context, c cluster.Change, ack jetstream.PubAckFuture) error {
	select {
	case done := <-ack.Ok():
		e.own(c, done.Sequence)
		return nil
	case err := <-ack.Err():
		if !isWrongSequence(err) {
			e.unsure(c.PrivateID)
			return fmt.Errorf("nats: %w", err)
		}
		if c.State != nil && c.State.Fresh || e.isUnsure(c.PrivateID) {
			return e.again(ctx, c)
		}
		e.disown(c.PrivateID) // another server has the client
		return nil
	case <-ctx.Done():
		e.unsure(c.PrivateID)
		return context.Cause(ctx)
	}
}

// again makes a change if what is saved is what this server has saved without knowing,
// since the answer was lost. Otherwise another server has the client.
func (e *logEngine) again(ctx context.Context, c cluster.Change) error {
	states, err := e.js.Stream(ctx, e.states())
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	last, err := states.GetLastMsgForSubject(ctx, e.stateSubject(c.PrivateID))
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	if last.Header.Get(ownerHeader) != e.in.ID() {
		e.disown(c.PrivateID)
		return nil
	}
	m, err := e.stateMsg(c)
	if err != nil {
		return err
	}
	ack, err := e.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0), jetstream.WithExpectLastSequencePerSubject(last.Sequence))
	switch {
	case isWrongSequence(err):
		e.disown(c.PrivateID)
	case err != nil:
		return fmt.Errorf("nats: %w", err)
	default:
		e.own(c, ack.Sequence)
	}
	return nil
}

// own takes note of a change that was made.
func (e *logEngine) own(c cluster.Change, sequence uint64) {
	if c.State == nil {
		e.disown(c.PrivateID)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.owned[c.PrivateID] = ownership{sequence: sequence, until: time.Now().Add(c.State.Window)}
}

// An ownership is what this server knows of what it has saved for a client.
type ownership struct {
	sequence uint64
	until    time.Time // then it is of no use any more
	unsure   bool      // there was no answer to a change after that
}

func (e *logEngine) unsure(privateID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o, ok := e.owned[privateID]; ok {
		o.unsure = true
		e.owned[privateID] = o
	}
}

func (e *logEngine) isUnsure(privateID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.owned[privateID].unsure
}

func (e *logEngine) disown(privateID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.owned, privateID)
}

// forgetLocked forgets, now and then, what is of no use any more. e.mu is held.
func (e *logEngine) forgetLocked() {
	now := time.Now()
	if now.Before(e.forget) {
		return
	}
	e.forget = now.Add(time.Minute)
	for id, o := range e.owned {
		if now.After(o.until) {
			delete(e.owned, id)
		}
	}
}

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func encodeState(c *core.ClientState) ([]byte, error) {
	return codec.AppendMsgPack(nil, saved{
		c.Namespace, c.ID, c.PrivateID, c.Rooms, c.Data, c.Since.String(), time.Now().Add(c.Window).UnixMilli(),
	})
}

func readState(data []byte, namespace, privateID string) (c *core.ClientState, until time.Time, err error) {
	var s saved
	if err := cluster.ReadValue(data, &s); err != nil {
		return nil, until, fmt.Errorf("%w: %w", core.ErrNotRecoverable, err)
	}
	since, ok := core.ParseOffset(s.Since)
	switch {
	case !ok || s.ID == "" || s.PrivateID != privateID || s.Namespace != namespace:
		return nil, until, fmt.Errorf("%w: what is saved is of another client", core.ErrNotRecoverable)
	case time.Now().UnixMilli() > s.Until:
		return nil, until, fmt.Errorf("%w: it is too late", core.ErrNotRecoverable)
	}
	c = &core.ClientState{Namespace: namespace, ID: s.ID, PrivateID: privateID, Rooms: s.Rooms, Data: s.Data, Since: since}
	return c, time.UnixMilli(s.Until), nil
}

// Take implements cluster.Log: it saves the same again. The server that had the client
// may save it meanwhile, as it does when it notices that the client is gone: then that
// is taken.
func (e *logEngine) Take(ctx context.Context, namespace, privateID string) (state *core.ClientState, err error) {
	if err := e.makeStreams(ctx); err != nil {
		return nil, err
	}
	for range takes {
		if state, err = e.take(ctx, namespace, privateID); !isWrongSequence(err) {
			return state, err
		}
	}
	return nil, fmt.Errorf("%w: it is saved again and again", core.ErrNotRecoverable)
}

// takes is how often Take tries.
const takes = 10

// take is one attempt.
func (e *logEngine) take(ctx context.Context, namespace, privateID string) (*core.ClientState, error) {
	again := nats.NewMsg(e.stateSubject(privateID))
	again.Header.Set(ownerHeader, e.in.ID())
	m, err := e.lastState(ctx, again.Subject)
	if err != nil {
		return nil, err
	}
	state, until, err := readState(m.Data, namespace, privateID)
	if err != nil {
		return nil, err
	}
	again.Data = m.Data
	ack, err := e.js.PublishMsg(ctx, again, jetstream.WithExpectLastSequencePerSubject(m.Sequence), jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.owned[privateID] = ownership{sequence: ack.Sequence, until: until}
	return state, nil
}

// lastState returns the message with what a client comes back to.
func (e *logEngine) lastState(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	states, err := e.js.Stream(ctx, e.states())
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	m, err := states.GetLastMsgForSubject(ctx, subject)
	switch none := errors.Is(err, jetstream.ErrMsgNotFound); {
	case !none && err != nil:
		return nil, fmt.Errorf("nats: %w", err)
	case none || len(m.Data) == 0:
		return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
	}
	return m, nil
}
