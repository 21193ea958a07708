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
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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
	// MaxRooms is of how many rooms; those that nothing was sent to for the longest
	// are forgotten first. Default 10,000.
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
	work    sync.WaitGroup // goroutines that greet clients that have come back

	mu    sync.Mutex // guards what follows
	rooms map[string]*room
	bytes int
	uses  uint64 // counts what is done to rooms
}

// A room is what is kept of one.
type room struct {
	name string

	mu     sync.Mutex // guards events and known, and orders what is sent to the room
	events []Entry
	known  bool // other servers were asked

	used uint64 // guarded by History.mu
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
	h.cancel()
	h.work.Wait()
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
	id := make([]byte, 10)
	_, _ = rand.Read(id) // it never fails
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
	r.mu.Lock()
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
	r.mu.Lock()
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
	h.work.Go(func() {
		for _, name := range s.Rooms() {
			r := h.find(name, false)
			if r == nil {
				continue
			}
			r.mu.Lock()
			err := s.Self().Local().Emit(h.ctx, Event, h.greetingLocked(r))
			r.mu.Unlock()
			if err != nil {
				return // it has gone again, or is too slow
			}
		}
	})
}

// find returns a room. One that is not there is made, or is nil.
func (h *History) find(name string, create bool) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[name]
	if r == nil {
		if !create {
			return nil
		}
		r = &room{name: name}
		h.rooms[name] = r
	}
	h.uses++
	r.used = h.uses
	return r
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
	r := h.find(name, true)
	r.mu.Lock()
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

// addLocked keeps an event in its place, by time. It reports false if it is there.
func (h *History) addLocked(r *room, e *Entry) bool {
	at, found := slices.BinarySearchFunc(r.events, e, func(a Entry, b *Entry) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID))
	})
	if found {
		return false
	}
	r.events = slices.Insert(r.events, at, *e)
	h.count(e.size())
	for len(r.events) > h.options.Size {
		h.dropLocked(r)
	}
	return true
}

func (h *History) dropLocked(r *room) {
	h.count(-r.events[0].size())
	r.events = slices.Delete(r.events, 0, 1)
}

func (h *History) count(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += bytes
}

// expireLocked forgets what is too old.
func (h *History) expireLocked(r *room) {
	for before := time.Now().Add(-h.options.MaxAge).UnixMilli(); len(r.events) > 0 && r.events[0].Time < before; {
		h.dropLocked(r)
	}
}

// shrink forgets rooms, of all but one, until there are not too many and they are not
// too large.
func (h *History) shrink(but *room) {
	for {
		h.mu.Lock()
		var oldest *room
		if len(h.rooms) > h.options.MaxRooms || h.bytes > h.options.MaxBytes {
			for _, r := range h.rooms {
				if r != but && (oldest == nil || r.used < oldest.used) {
					oldest = r
				}
			}
		}
		if oldest != nil {
			delete(h.rooms, oldest.name)
		}
		h.mu.Unlock()
		if oldest == nil {
			return
		}
		oldest.mu.Lock()
		for len(oldest.events) > 0 {
			h.dropLocked(oldest)
		}
		oldest.mu.Unlock()
	}
}

// load returns a room with what other servers have of it.
func (h *History) load(ctx context.Context, name string) *room {
	r := h.find(name, true)
	r.mu.Lock()
	known := r.known
	r.known = true
	r.mu.Unlock()
	if known {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, h.options.AskTimeout)
	defer cancel()
	for args, err := range h.ns.ServerSideCall(ctx, askEvent, name) {
		var events []Entry
		if err == nil {
			err = args.Bind(&events)
		}
		if err != nil {
			h.options.Logger.WarnContext(ctx, "history: a server has not said what it has of a room", slog.String("room", name), slog.Any("error", err))
			continue
		}
		r.mu.Lock()
		for i := range events {
			h.addLocked(r, &events[i])
		}
		r.mu.Unlock()
	}
	h.shrink(r)
	return r
}

// heard takes an event of another server.
func (h *History) heard(ctx context.Context, args core.Args) (any, error) {
	var (
		name string
		e    Entry
	)
	if err := args.Bind(&name, &e); err != nil || e.ID == "" {
		return nil, fmt.Errorf("history: not an event: %w", err)
	}
	return nil, h.deliver(ctx, name, &e)
}

// asked says what is kept of a room.
func (h *History) asked(_ context.Context, args core.Args) (any, error) {
	var name string
	if err := args.Bind(&name); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	r := h.find(name, false)
	if r == nil {
		return []Entry{}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.greetingLocked(r).Events, nil
}
