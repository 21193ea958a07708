// Package history keeps the last events of rooms, on all servers of a cluster, and
// gives them to who joins:
//
//	h, err := history.New(srv, srv.Of("/chat"), history.Options{Size: 50})
//	defer h.Close()
//
//	err = h.Join(ctx, s, "room:1")                      // in place of s.Join
//	err = h.Emit(ctx, "room:1", "message", m)           // in place of ns.To("room:1").Emit
//
// Who joins gets the event "history" with {room, events}, each of which is {id, time,
// event, args}, the oldest first; what is sent later comes as itself. Nothing is in both,
// and nothing in neither.
//
//	socket.on("history", ({ room, events }) => events.forEach((e) => show(e.event, ...e.args)));
//
// # In a cluster
//
// Emit sends one message to the other servers, and each keeps it and delivers it to its
// own clients; a server asks the others for a room that it meets first. What is kept is
// in memory: it is there as long as one server is that has it. What the broker loses is
// missing on the servers that it did not reach.
//
// Events that are sent this way are no part of connection state recovery between
// servers (core.Recoverer). A client that has come back to its rooms gets "history"
// again; by their ids it can tell what it has.
package history

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// Event is what who joins gets.
const Event = "history"

// The events that servers send each other.
const (
	addEvent = "history:add"
	askEvent = "history:last"
)

// Options are what is kept. The zero value of each field is its default.
type Options struct {
	// Size is how many events of a room are kept. Default 50.
	Size int
	// MaxAge is for how long. Default 24 hours.
	MaxAge time.Duration
	// MaxRooms is of how many rooms; those that nothing was sent to or read from for
	// the longest are forgotten first. Default 10,000.
	MaxRooms int
	// MaxBytes is how much memory the events may take, about. Default 64 MiB.
	MaxBytes int
	// AskTimeout is how long other servers are waited for when a room is met first.
	// Default 2 s.
	AskTimeout time.Duration
	// Logger takes what goes wrong. Default slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	o.Size = cmp.Or(o.Size, 50)
	o.MaxAge = cmp.Or(o.MaxAge, 24*time.Hour)
	o.MaxRooms = cmp.Or(o.MaxRooms, 10_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.AskTimeout = cmp.Or(o.AskTimeout, 2*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Size < 0 || o.MaxAge < 0 || o.MaxRooms < 0 || o.MaxBytes < 0 || o.AskTimeout < 0 {
		return o, errors.New("history: an option is negative")
	}
	return o, nil
}

// An Entry is an event that is kept.
type Entry struct {
	// ID is unique, Time is when it was sent, in milliseconds since 1970 by the clock
	// of the server that did.
	ID   string `json:"id"`
	Time int64  `json:"time"`
	// Event and Args are as they were sent. Args is an array.
	Event string    `json:"event"`
	Args  codec.Raw `json:"args"`
}

// values are the arguments one by one.
func (e *Entry) values() ([]any, error) {
	var raws []codec.Raw
	if err := e.Args.Bind(&raws); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	all := make([]any, len(raws))
	for i, raw := range raws {
		all[i] = raw
	}
	return all, nil
}

// size is about what an entry takes.
func (e *Entry) size() int {
	const overhead = 200
	return overhead + len(e.Event) + len(e.Args.Bytes())
}

// A History keeps the events of the rooms of one namespace. Its methods are safe for
// concurrent use.
type History struct {
	ns      *core.Namespace
	options Options
	ctx     context.Context //nolint:containedctx // of what goes on in the background
	cancel  context.CancelFunc
	work    sync.WaitGroup // goroutines that ask other servers, or greet clients that have come back
	sent    atomic.Uint32  // events of this server

	mu    sync.Mutex // guards what follows
	rooms map[string]*room
	bytes int
	uses  uint64 // counts what is done to rooms
}

// New begins to keep what is sent by Emit, of this server and of others that have a
// History of the namespace, too.
func New(srv *core.Server, ns *core.Namespace, o Options) (*History, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &History{ns: ns, options: o, rooms: make(map[string]*room)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	ns.OnServerSide(addEvent, h.heard)
	ns.OnServerSide(askEvent, h.asked)
	srv.Observe(core.Hooks{Connected: h.connected})
	return h, nil
}

// Close ends what goes on in the background.
func (h *History) Close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.work.Wait()
}

// start runs f on a goroutine that Close waits for, or reports that it is too late.
func (h *History) start(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.work.Go(f)
	return true
}

// Emit sends an event to a room, on all servers, and keeps it. The error is about the
// arguments, or that other servers were not reached; the clients of this one are.
func (h *History) Emit(ctx context.Context, room, event string, args ...any) error {
	if args == nil {
		args = []any{}
	}
	packed, err := codec.AppendMsgPack(nil, args)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	raw, err := codec.ReadMsgPack(packed)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	id := make([]byte, 12)
	binary.BigEndian.PutUint32(id, h.sent.Add(1)) // the order within a millisecond
	_, _ = rand.Read(id[4:])                      // it never fails
	e := Entry{ID: hex.EncodeToString(id), Time: time.Now().UnixMilli(), Event: event, Args: raw}
	if err := h.deliver(ctx, room, &e); err != nil {
		return err
	}
	if err := h.ns.ServerSideEmit(ctx, addEvent, room, e); err != nil && !errors.Is(err, core.ErrNoAdapter) {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Join puts a socket into a room and sends it what is kept, before anything that is
// sent to the room later. It may wait for other servers, see Options.AskTimeout.
func (h *History) Join(ctx context.Context, s *core.Socket, name string) error {
	r := h.load(ctx, name)
	defer r.mu.Unlock()
	if err := s.Join(ctx, name); err != nil {
		return err
	}
	return s.Self().Local().Emit(ctx, Event, h.greetingLocked(r))
}

// Last returns at most n of the events that are kept of a room, the oldest first. It
// may wait for other servers, see Options.AskTimeout.
func (h *History) Last(ctx context.Context, name string, n int) []Entry {
	r := h.load(ctx, name)
	defer r.mu.Unlock()
	h.expireLocked(r)
	return slices.Clone(r.events[max(0, len(r.events)-max(n, 0)):])
}

// A greeting is what who joins is sent.
type greeting struct {
	Room   string  `json:"room"`
	Events []Entry `json:"events"`
}

func (h *History) greetingLocked(r *room) greeting {
	h.expireLocked(r)
	return greeting{r.name, append([]Entry{}, r.events...)}
}

// connected greets a socket that has come back to its rooms.
func (h *History) connected(s *core.Socket) {
	if s.Namespace() != h.ns || !s.Recovered() {
		return
	}
	h.start(func() {
		for _, name := range s.Rooms() {
			r := h.lock(name, false)
			if r == nil {
				continue
			}
			err := s.Self().Local().Emit(h.ctx, Event, h.greetingLocked(r))
			r.mu.Unlock()
			if err != nil {
				return // it has gone again, or is too slow
			}
		}
	})
}

// deliver keeps an event and sends it to the clients of this server.
func (h *History) deliver(ctx context.Context, name string, e *Entry) error {
	args, err := e.values()
	if err != nil {
		return err
	}
	if err := codec.CheckEvent(e.Event); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	r := h.lock(name, true)
	if h.addLocked(r, e) {
		// Who is too slow is no news of this kind.
		if err = h.ns.To(name).Local().Emit(ctx, e.Event, args...); errors.Is(err, core.ErrOutboxFull) {
			err = nil
		}
	}
	r.mu.Unlock()
	h.shrink(r)
	return err
}

// load returns a room, locked, with what other servers have of it. They are asked
// once, for all who join meanwhile.
func (h *History) load(ctx context.Context, name string) *room {
	r := h.lock(name, true)
	if r.told == nil || r.silent && time.Since(r.asked) > askPause {
		told := make(chan struct{})
		r.asked, r.told, r.silent = time.Now(), told, false
		if !h.start(func() { h.ask(r, told) }) {
			close(told)
		}
	}
	told := r.told
	r.mu.Unlock()
	select {
	case <-told:
	case <-ctx.Done():
	}
	return h.lock(name, true)
}

// ask asks the other servers what they have of a room.
func (h *History) ask(r *room, told chan<- struct{}) {
	defer close(told)
	ctx, cancel := context.WithTimeout(h.ctx, h.options.AskTimeout)
	defer cancel()
	for args, err := range h.ns.ServerSideCall(ctx, askEvent, r.name) {
		var events []Entry
		if err == nil {
			err = args.Bind(&events)
		}
		if err != nil {
			h.options.Logger.WarnContext(ctx, "history: a server has not said what it has of a room", slog.String("room", r.name), slog.Any("error", err))
		}
		r.mu.Lock()
		r.silent = r.silent || err != nil
		for i := range events {
			if r.gone {
				break
			}
			h.addLocked(r, &events[i])
		}
		r.mu.Unlock()
	}
	h.shrink(r)
}

// heard takes an event of another server.
func (h *History) heard(ctx context.Context, args core.Args) (any, error) {
	var (
		name string
		e    Entry
	)
	if err := args.Bind(&name, &e); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if e.ID == "" {
		return nil, errors.New("history: an event without an id")
	}
	return nil, h.deliver(ctx, name, &e)
}

// asked says what is kept of a room.
func (h *History) asked(_ context.Context, args core.Args) (any, error) {
	var name string
	if err := args.Bind(&name); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	r := h.lock(name, false)
	if r == nil {
		return []Entry{}, nil
	}
	defer r.mu.Unlock()
	return h.greetingLocked(r).Events, nil
}
