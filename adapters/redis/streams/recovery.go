package streams

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A saved client, as Node's adapter saves one, with who has saved it: that comes
// first, so that a script can compare it without reading the rest.
type saved struct {
	Owner     string    `json:"owner"`
	ID        string    `json:"sid"`
	PrivateID string    `json:"pid"`
	Rooms     []string  `json:"rooms"`
	Data      codec.Raw `json:"data"`
	Since     string    `json:"since"`
}

// ownerLen is how much of the text of a saved client is the same for all that one
// server has saved, and for no other: the beginning of the map, and its first member
// with 16 digits.
const ownerLen = 32

// Both compare the beginning of the value with their first argument.
const (
	replaceOwn = `local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end`
	deleteOwn = `local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`
)

func (e *engine) encodeState(c *core.ClientState) (string, error) {
	packed, err := codec.AppendMsgPack(nil, saved{e.in.ID(), c.ID, c.PrivateID, c.Rooms, c.Data, c.Since.String()})
	return base64.StdEncoding.EncodeToString(packed), err
}

// Decode implements cluster.Log.
func (e *engine) Decode(p cluster.Publication) (*cluster.Message, error) {
	own := entry{fields: map[string]string{
		"uid": e.in.ID(), "nsp": p.Namespace, "type": strconv.Itoa(int(p.Type)), "data": string(p.Data),
	}}
	return own.message()
}

// Update implements cluster.Log.
func (e *engine) Update(ctx context.Context, changes []cluster.Change) error {
	client, err := e.link.Client()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	owner, err := e.encodeState(new(core.ClientState))
	if err != nil {
		return err
	}
	owner = owner[:ownerLen]
	commands := make(rueidis.Commands, 0, len(changes))
	for _, c := range changes {
		key := e.options.States + c.PrivateID
		if c.State == nil {
			commands = append(commands, client.B().Eval().Script(deleteOwn).Numkeys(1).Key(key).Arg(owner).Build())
			continue
		}
		text, err := e.encodeState(c.State)
		if err != nil {
			return err
		}
		window := c.State.Window.Milliseconds()
		if c.State.Fresh {
			commands = append(commands, client.B().Set().Key(key).Value(text).PxMilliseconds(window).Build())
			continue
		}
		commands = append(commands, client.B().Eval().Script(replaceOwn).Numkeys(1).Key(key).Arg(owner, text, strconv.FormatInt(window, 10)).Build())
	}
	return pubsub.FirstError(notNil(client.DoMulti(ctx, commands...)))
}

// notNil leaves out the answers of scripts, which have none.
func notNil(results []rueidis.RedisResult) []rueidis.RedisResult {
	return slices.DeleteFunc(results, func(r rueidis.RedisResult) bool { return rueidis.IsRedisNil(r.Error()) })
}

// Take implements cluster.Log.
func (e *engine) Take(ctx context.Context, namespace, privateID, seen string) (*core.Comeback, error) {
	client, err := e.link.Client()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	state, err := e.takeState(ctx, client, privateID)
	if err != nil {
		return nil, err
	}
	state.Namespace = namespace
	from, ok := core.ParseOffset(seen)
	if !ok {
		from = state.Since
	}
	now, err := e.look(ctx, client)
	if err != nil {
		return nil, err
	}
	if from.IsZero() || from.Compare(now.last) > 0 {
		return nil, fmt.Errorf("%w: nothing is known of offset %v", core.ErrNotRecoverable, from)
	}
	missed, err := e.missed(ctx, client, state, from, now.last)
	if err != nil {
		return nil, err
	}
	// That nothing was trimmed is looked at last: then it was not while reading.
	switch intact, err := e.intact(ctx, client, from); {
	case err != nil:
		return nil, err
	case !intact:
		return nil, fmt.Errorf("%w: what came after %v is not kept any more", core.ErrNotRecoverable, from)
	}
	return &core.Comeback{Client: *state, Missed: missed, Until: now.last}, nil
}

// lateSave is how long a state is waited for that is not there: the server that had
// the client may be about to save it.
const lateSave = 50 * time.Millisecond

// takeState takes what a client comes back to.
func (e *engine) takeState(ctx context.Context, client rueidis.Client, privateID string) (*core.ClientState, error) {
	key := e.options.States + privateID
	for attempt := range 2 {
		text, err := client.Do(ctx, client.B().Getdel().Key(key).Build()).ToString()
		switch {
		case err == nil:
			return readState(text, privateID)
		case !rueidis.IsRedisNil(err):
			return nil, fmt.Errorf("redis: %w", err)
		case attempt > 0:
			continue
		}
		select {
		case <-time.After(lateSave):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
}

func readState(text, privateID string) (*core.ClientState, error) {
	var s saved
	packed, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = cluster.ReadValue(packed, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrNotRecoverable, err)
	}
	if s.PrivateID != privateID || s.ID == "" {
		return nil, fmt.Errorf("%w: what is saved is of another client", core.ErrNotRecoverable)
	}
	since, _ := core.ParseOffset(s.Since) // Node's adapter saves none
	return &core.ClientState{ID: s.ID, PrivateID: s.PrivateID, Rooms: s.Rooms, Data: s.Data, Since: since}, nil
}

// page is how many entries are read at once of what a client has missed.
const page = 1000

// missed reads the events after from, up to until, that were for a client.
func (e *engine) missed(ctx context.Context, client rueidis.Client, c *core.ClientState, from, until core.Offset) ([]*core.Broadcast, error) {
	rooms := make(map[string]bool, len(c.Rooms))
	for _, room := range c.Rooms {
		rooms[room] = true
	}
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return rooms[name] })
	}
	var events []*core.Broadcast
	for from.Compare(until) < 0 {
		entries, err := client.Do(ctx, client.B().Xrange().Key(e.options.Stream).
			Start("("+from.String()).End(until.String()).Count(page).Build()).AsXRange()
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		for i := range entries {
			one, err := entryOf(&entries[i])
			if err != nil {
				return nil, err
			}
			from = one.offset
			if one.fields["nsp"] != c.Namespace {
				continue
			}
			m, err := one.message()
			if err != nil || m.Offset.IsZero() || len(m.In) > 0 && !in(m.In) || in(m.Except) {
				continue // what cannot be read has been complained of when it came
			}
			events = append(events, &core.Broadcast{
				Namespace: m.Namespace, In: m.In, Except: m.Except, Event: m.Event, Args: m.Args, Key: m.Flags.Key, Offset: m.Offset,
			})
		}
		if len(entries) < page {
			break
		}
	}
	return events, nil
}
