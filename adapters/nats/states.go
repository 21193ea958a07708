package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A saved client. It is the last message of its subject; if that is empty, somebody
// has taken it.
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

// Update implements cluster.Log. What this server has saved before is known by the
// sequence that it got.
func (e *logEngine) Update(ctx context.Context, changes []cluster.Change) error {
	if err := e.makeStreams(ctx); err != nil {
		return err
	}
	acks := make([]jetstream.PubAckFuture, len(changes))
	var failed error
	for i, c := range changes {
		m := nats.NewMsg(e.stateSubject(c.PrivateID))
		e.mu.Lock()
		e.forgetLocked()
		before, own := e.owned[c.PrivateID]
		e.mu.Unlock()
		if !own && (c.State == nil || !c.State.Fresh) {
			continue
		}
		options := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
		if c.State == nil || !c.State.Fresh {
			options = append(options, jetstream.WithExpectLastSequencePerSubject(before.sequence))
		}
		var err error
		if c.State != nil {
			m.Data, err = encodeState(c.State)
		}
		if err == nil {
			acks[i], err = e.js.PublishMsgAsync(m, options...)
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
		if c.State == nil {
			e.disown(c.PrivateID)
			return nil
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.owned[c.PrivateID] = ownership{done.Sequence, time.Now().Add(c.State.Window)}
		return nil
	case err := <-ack.Err():
		if isWrongSequence(err) {
			e.disown(c.PrivateID) // another server has the client
			return nil
		}
		return fmt.Errorf("nats: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// An ownership is what this server knows of what it has saved for a client.
type ownership struct {
	sequence uint64
	until    time.Time // then it is of no use any more
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

func readState(data []byte, namespace, privateID string) (*core.ClientState, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: somebody has taken what was saved", core.ErrNotRecoverable)
	}
	var s saved
	if err := cluster.ReadValue(data, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrNotRecoverable, err)
	}
	since, ok := core.ParseOffset(s.Since)
	switch {
	case !ok || s.ID == "" || s.PrivateID != privateID || s.Namespace != namespace:
		return nil, fmt.Errorf("%w: what is saved is of another client", core.ErrNotRecoverable)
	case time.Now().UnixMilli() > s.Until:
		return nil, fmt.Errorf("%w: it is too late", core.ErrNotRecoverable)
	}
	return &core.ClientState{Namespace: namespace, ID: s.ID, PrivateID: privateID, Rooms: s.Rooms, Data: s.Data, Since: since}, nil
}

// Take implements cluster.Log.
func (e *logEngine) Take(ctx context.Context, namespace, privateID, seen string) (*core.Comeback, error) {
	if err := e.makeStreams(ctx); err != nil {
		return nil, err
	}
	state, err := e.takeState(ctx, namespace, privateID)
	if err != nil {
		return nil, err
	}
	from, ok := core.ParseOffset(seen)
	if !ok {
		from = state.Since
	}
	stream, err := e.js.Stream(ctx, e.log.Stream)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	info := stream.CachedInfo()
	until := offset(info.Created, info.State.LastSeq)
	if from.Major != until.Major || from.Minor > until.Minor {
		return nil, fmt.Errorf("%w: nothing is known of offset %v", core.ErrNotRecoverable, from)
	}
	missed, err := e.missed(ctx, stream, state, from, until)
	if err != nil {
		return nil, err
	}
	// That nothing was dropped is looked at last: then it was not while reading.
	if info, err = stream.Info(ctx); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	if info.State.FirstSeq > from.Minor+1 {
		return nil, fmt.Errorf("%w: what came after %v is not kept any more", core.ErrNotRecoverable, from)
	}
	return &core.Comeback{Client: *state, Missed: missed, Until: until}, nil
}

// lateSave is how long a state is waited for that is not there: the server that had
// the client may be about to save it.
const lateSave = 50 * time.Millisecond

// takeState takes what a client comes back to: of several that try, one succeeds.
func (e *logEngine) takeState(ctx context.Context, namespace, privateID string) (*core.ClientState, error) {
	states, err := e.js.Stream(ctx, e.states())
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	subject := e.stateSubject(privateID)
	m, err := states.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		select {
		case <-time.After(lateSave):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		m, err = states.GetLastMsgForSubject(ctx, subject)
	}
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
	case err != nil:
		return nil, fmt.Errorf("nats: %w", err)
	}
	state, err := readState(m.Data, namespace, privateID)
	if err != nil {
		return nil, err
	}
	_, err = e.js.PublishMsg(ctx, nats.NewMsg(subject), jetstream.WithExpectLastSequencePerSubject(m.Sequence), jetstream.WithRetryAttempts(0))
	switch {
	case isWrongSequence(err):
		return nil, fmt.Errorf("%w: somebody has taken what was saved", core.ErrNotRecoverable)
	case err != nil:
		return nil, fmt.Errorf("nats: %w", err)
	}
	e.disown(privateID)
	return state, nil
}

// page is how many events are read at once of what a client has missed.
const page = 500

// missed reads the events after from, up to until, that were for a client.
func (e *logEngine) missed(ctx context.Context, stream jetstream.Stream, c *core.ClientState, from, until core.Offset) ([]*core.Broadcast, error) {
	if from.Minor == until.Minor {
		return nil, nil
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: e.logSubject(c.Namespace), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from.Minor + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: answerTime,
	})
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(c.Rooms, name) })
	}
	var events []*core.Broadcast
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(min(left, page)), jetstream.FetchContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("nats: %w", err)
		}
		for m := range batch.Messages() {
			left--
			meta, err := m.Metadata()
			if err != nil {
				return nil, fmt.Errorf("nats: %w", err)
			}
			message, err := cluster.ReadMessage(m.Data())
			if meta.Sequence.Stream > until.Minor || err != nil || message.Type != cluster.Broadcast || message.Flags.Volatile ||
				len(message.In) > 0 && !in(message.In) || in(message.Except) {
				continue // what cannot be read has been complained of when it came
			}
			events = append(events, &core.Broadcast{
				Namespace: c.Namespace, In: message.In, Except: message.Except, Event: message.Event, Args: message.Args,
				Key: message.Flags.Key, Offset: core.Offset{Major: until.Major, Minor: meta.Sequence.Stream},
			})
		}
		if err := batch.Error(); err != nil {
			return nil, fmt.Errorf("nats: %w", err)
		}
	}
	_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) // it goes by itself, only later
	return events, nil
}
