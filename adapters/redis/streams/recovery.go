package streams

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

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

// A savedByAny is what may stand in its place: in Node a room can be a number.
type savedByAny struct {
	ID        string      `json:"sid"`
	PrivateID string      `json:"pid"`
	Rooms     []codec.Raw `json:"rooms"`
	Data      codec.Raw   `json:"data"`
	Since     string      `json:"since"`
}

// ownerLen is how much of the text of a saved client is the same for all that one
// server has saved, and for no other: the beginning of the map, and its first member
// with 16 digits.
const ownerLen = 32

// The first three compare the beginning of the value with their first argument. The last
// writes it over the beginning of a value that is one of ours, whose server it was.
const (
	saveFresh = `local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end`
	replaceOwn = `local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end`
	deleteOwn = `local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`
	takeOwn = `local v = redis.call('GET', KEYS[1])
if v and string.sub(v, 1, #ARGV[2]) == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1] .. string.sub(v, #ARGV[1] + 1), 'KEEPTTL')
end
return v`
)

// ownStart is what the texts of all servers of ours begin with, and of no other.
const ownStart = 8

func (e *engine) encodeState(c *core.ClientState) (string, error) {
	packed, err := codec.AppendMsgPack(nil, saved{e.in.ID(), c.ID, c.PrivateID, c.Rooms, c.Data, c.Since.String()})
	return base64.StdEncoding.EncodeToString(packed), err
}

// owner is what the text of everything that this server saves begins with.
func (e *engine) owner() (string, error) {
	text, err := e.encodeState(new(core.ClientState))
	if err != nil {
		return "", err
	}
	return text[:ownerLen], nil
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
	client, err := e.link.Client(ctx)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	owner, err := e.owner()
	if err != nil {
		return err
	}
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
		script, window := replaceOwn, strconv.FormatInt(c.State.Window.Milliseconds(), 10)
		if c.State.Fresh {
			script = saveFresh
		}
		commands = append(commands, client.B().Eval().Script(script).Numkeys(1).Key(key).Arg(owner, text, window).Build())
	}
	return pubsub.FirstError(notNil(client.DoMulti(ctx, commands...)))
}

// notNil leaves out the answers of scripts, which have none.
func notNil(results []rueidis.RedisResult) []rueidis.RedisResult {
	return slices.DeleteFunc(results, func(r rueidis.RedisResult) bool { return rueidis.IsRedisNil(r.Error()) })
}

// Take implements cluster.Log.
func (e *engine) Take(ctx context.Context, namespace, privateID string) (*core.ClientState, error) {
	client, err := e.link.Client(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	state, err := e.takeState(ctx, client, privateID)
	if err == nil {
		state.Namespace = namespace
	}
	return state, err
}

// Read implements cluster.Log. What comes after it must be what the reader hands on, so
// that has to have begun.
func (e *engine) Read(ctx context.Context, namespace string, from core.Offset, take func(m *cluster.Message)) (core.Offset, error) {
	if err := e.reader.ready(ctx); err != nil {
		return core.Offset{}, err
	}
	client, err := e.link.Client(ctx)
	if err != nil {
		return core.Offset{}, fmt.Errorf("redis: %w", err)
	}
	now, err := e.look(ctx, client)
	if err != nil {
		return core.Offset{}, err
	}
	if from.Compare(now.last) > 0 {
		return core.Offset{}, fmt.Errorf("%w: nothing is known of offset %v", core.ErrNotRecoverable, from)
	}
	if err := e.readPages(ctx, client, namespace, from, now.last, take); err != nil {
		return core.Offset{}, err
	}
	// That nothing was trimmed is looked at last: then it was not while reading.
	switch intact, err := e.intact(ctx, client, from); {
	case err != nil:
		return core.Offset{}, err
	case !intact:
		return core.Offset{}, fmt.Errorf("%w: what came after %v is not kept any more", core.ErrNotRecoverable, from)
	}
	return now.last, nil
}

// takeState makes what a client comes back to that of this server.
func (e *engine) takeState(ctx context.Context, client rueidis.Client, privateID string) (*core.ClientState, error) {
	owner, err := e.owner()
	if err != nil {
		return nil, err
	}
	key := e.options.States + privateID
	text, err := client.Do(ctx, client.B().Eval().Script(takeOwn).Numkeys(1).Key(key).Arg(owner, owner[:ownStart]).Build()).ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, fmt.Errorf("%w: nothing is saved", core.ErrNotRecoverable)
	case err != nil:
		return nil, fmt.Errorf("redis: %w", err)
	}
	state, err := readState(text, privateID)
	if err == nil && text[:ownStart] != owner[:ownStart] {
		err = e.replace(ctx, client, key, state)
	}
	return state, err
}

// replace saves what a server of Node has saved as if this one had.
func (e *engine) replace(ctx context.Context, client rueidis.Client, key string, state *core.ClientState) error {
	text, err := e.encodeState(state)
	if err != nil {
		return err
	}
	err = client.Do(ctx, client.B().Set().Key(key).Value(text).Xx().Keepttl().Build()).Error()
	if rueidis.IsRedisNil(err) {
		return fmt.Errorf("%w: somebody else has taken it", core.ErrNotRecoverable)
	}
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

func readState(text, privateID string) (*core.ClientState, error) {
	var s savedByAny
	var rooms []string
	packed, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = cluster.ReadValue(packed, &s)
	}
	if err == nil {
		rooms, err = cluster.Rooms(s.Rooms)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrNotRecoverable, err)
	}
	if s.PrivateID != privateID || s.ID == "" {
		return nil, fmt.Errorf("%w: what is saved is of another client", core.ErrNotRecoverable)
	}
	since, _ := core.ParseOffset(s.Since) // Node's adapter saves none
	return &core.ClientState{ID: s.ID, PrivateID: s.PrivateID, Rooms: rooms, Data: s.Data, Since: since}, nil
}

// page is how many entries are read at once of what clients have missed.
const page = 1000

// readPages reads the events of a namespace after from, up to until.
func (e *engine) readPages(ctx context.Context, client rueidis.Client, namespace string, from, until core.Offset, take func(m *cluster.Message)) error {
	for from.Compare(until) < 0 {
		entries, err := client.Do(ctx, client.B().Xrange().Key(e.options.Stream).
			Start("("+from.String()).End(until.String()).Count(page).Build()).AsXRange()
		if err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		for i := range entries {
			one, err := entryOf(&entries[i])
			if err != nil {
				return err
			}
			from = one.offset
			if one.fields["nsp"] != namespace {
				continue
			}
			if m, err := one.message(); err == nil && !m.Offset.IsZero() { // what cannot be read has been complained of when it came
				take(m)
			}
		}
		if len(entries) < page {
			break
		}
	}
	return nil
}
