// Package presence knows who is in which room, on all servers of a cluster, and tells
// the clients that are there, by ordinary events:
//
//	p, err := presence.New(srv, srv.Of("/chat"), presence.Options{
//		Who: func(s *core.Socket, room string) (presence.Member, bool) {
//			return presence.Member{Key: userOf(s).ID, Meta: userOf(s).Name}, strings.HasPrefix(room, "room:")
//		},
//	})
//	defer p.Close()
//
// Who joins a room gets the event "presence:state" with {room, count, members}, and
// everybody in it, from then on, "presence:diff" with {room, count, joined, left};
// joined are members, left are keys. A member with several sockets, say tabs, is one:
// it joins with the first and leaves with the last.
//
//	socket.on("presence:state", ({ room, count, members }) => …)
//	socket.on("presence:diff", ({ room, count, joined, left }) => …)
//
// # In a cluster
//
// Every server knows all members of all rooms, so that Count and Members cost nothing
// but memory. The servers tell each other what changes, in batches, through the
// core.Adapter of the server, whichever it is. Each holds a lease: of a server that is
// silent for Options.Lease, all members have left. One that was cut off and is back, or
// that has missed something, is asked for all it has. So servers agree after a batch
// when all is well, and after a lease at the latest.
package presence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// The events that clients get.
const (
	StateEvent = "presence:state"
	DiffEvent  = "presence:diff"
)

// A Member is somebody in a room.
type Member struct {
	// Key says who it is. Sockets with the same key are the same member.
	Key string `json:"key"`
	// Meta is what others are told about it, anything that JSON can have. That of
	// its first socket counts. Default: nothing.
	Meta any `json:"meta,omitempty"`
}

// Options say who counts. Who is needed; the zero value of each other field is its
// default.
type Options struct {
	// Who returns the member that a socket is in a room, and whether the room
	// counts. It is called when a socket joins, on the goroutine that does so, and
	// must not block.
	Who func(s *core.Socket, room string) (m Member, ok bool)
	// Batch is for how long changes wait for others before they are told. Default
	// 100 ms.
	Batch time.Duration
	// Interval is how often a server says that it is there, if it has nothing else
	// to say. Default 5 s.
	Interval time.Duration
	// Lease is for how long the members of a server that says nothing count. All
	// servers should have the same. Default 3 times Interval.
	Lease time.Duration
	// MaxListed is how many members "presence:state" lists; count is always that of
	// all. Default 1,000.
	MaxListed int
	// MaxMembers is how many members of rooms other servers may tell of, all
	// together. What is beyond it is left out, and logged. Default 1,000,000.
	MaxMembers int
	// Logger takes what goes wrong. Default slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Who == nil {
		return o, errors.New("presence: Options.Who is missing")
	}
	o.Batch = cmp.Or(o.Batch, 100*time.Millisecond)
	o.Interval = cmp.Or(o.Interval, 5*time.Second)
	o.Lease = cmp.Or(o.Lease, 3*o.Interval)
	o.MaxListed = cmp.Or(o.MaxListed, 1000)
	o.MaxMembers = cmp.Or(o.MaxMembers, 1_000_000)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Batch < 0 || o.Interval < 0 || o.MaxListed < 0 || o.MaxMembers < 0 {
		return o, errors.New("presence: an option is negative")
	}
	if o.Lease <= o.Interval {
		return o, fmt.Errorf("presence: Options.Lease of %s is not longer than Interval, %s", o.Lease, o.Interval)
	}
	return o, nil
}

// A Presence knows who is where in one namespace. Its methods are safe for concurrent
// use. It has one goroutine until Close, and for a while one for each question to other
// servers.
type Presence struct {
	ns      *core.Namespace
	options Options
	id      string
	ctx     context.Context //nolint:containedctx // of the goroutine
	cancel  context.CancelFunc
	more    chan struct{} // has one element if there is something to do
	done    chan struct{}
	asking  sync.WaitGroup // goroutines that ask other servers

	mu   sync.Mutex // guards what follows
	view view
	own  map[place]*ownMember // members by the sockets of this server
	// sockets are keys by rooms. They are not known by their ids: one that comes back
	// has that of another, which may not be through.
	sockets map[*core.Socket]map[string]string
	outbox  map[string]*change // of this server's own members, for other servers
	told    map[string]*change // of the view, for the clients here
	greet   []greeting
	peers   map[string]*peer
	seq     uint64
	full    bool // that MaxMembers was reached has been logged
}

// A place is a member's in a room.
type place struct{ room, key string }

// An ownMember is there by some sockets of this server.
type ownMember struct {
	Member
	sockets int
}

// A greeting is a state that a socket is to get.
type greeting struct {
	socket *core.Socket
	room   string
}

// New begins to watch a namespace of a server. The sockets that are there already do
// not count.
func New(srv *core.Server, ns *core.Namespace, o Options) (*Presence, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	p := &Presence{
		ns: ns, options: o, id: hex.EncodeToString(id), more: make(chan struct{}, 1), done: make(chan struct{}),
		view: make(view), own: make(map[place]*ownMember), sockets: make(map[*core.Socket]map[string]string),
		outbox: make(map[string]*change), told: make(map[string]*change), peers: make(map[string]*peer),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	ns.OnServerSide(newsEvent, p.heard)
	ns.OnServerSide(askEvent, p.asked)
	srv.Observe(core.Hooks{
		Connected:    p.connected,
		Disconnected: func(s *core.Socket, _ *core.CloseError) { p.gone(s) },
		RoomJoined:   p.joined,
		RoomLeft:     p.left,
	})
	go p.run()
	return p, nil
}

// Close tells the other servers that the members here are gone, and ends the
// goroutine. It is to be called before the server is shut down, or after.
func (p *Presence) Close() {
	p.mu.Lock()
	p.cancel() // nobody begins to ask any more
	p.mu.Unlock()
	<-p.done
	p.asking.Wait()
}

// Count is how many members are in a room, on all servers. It costs the same for any
// number.
func (p *Presence) Count(room string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.view[room])
}

// Members are those in a room, on all servers, by their keys. Meta of members of other
// servers is as JSON or MessagePack have it.
func (p *Presence) Members(room string) []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.view.list(room, len(p.view[room]))
}

// connected counts a socket that has come back to its rooms.
func (p *Presence) connected(s *core.Socket) {
	if s.Namespace() == p.ns && s.Recovered() {
		for _, room := range s.Rooms() {
			p.joined(s, room)
		}
	}
}

// joined counts a socket in a room.
func (p *Presence) joined(s *core.Socket, room string) {
	if s.Namespace() != p.ns {
		return
	}
	m, ok := p.options.Who(s, room)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || s.Context().Err() != nil {
		return // nobody would be told, or it is gone, and will not be said to be again
	}
	rooms := p.sockets[s]
	if rooms == nil {
		rooms = make(map[string]string)
		p.sockets[s] = rooms
		if !s.Connected() { // if it never is, that it is gone is not said
			context.AfterFunc(s.Context(), func() { p.gone(s) })
		}
	}
	if _, twice := rooms[room]; twice {
		return
	}
	rooms[room] = m.Key
	at := place{room, m.Key}
	own := p.own[at]
	if own == nil {
		own = &ownMember{Member: m}
		p.own[at] = own
		p.addLocked(p.id, room, m)
		changeOf(p.outbox, room).join(m)
	}
	own.sockets++
	p.greet = append(p.greet, greeting{s, room})
	p.wake()
}

// left counts a socket in a room no more.
func (p *Presence) left(s *core.Socket, room string) {
	if s.Namespace() == p.ns {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leftLocked(s, room)
	}
}

// gone counts a socket no more.
func (p *Presence) gone(s *core.Socket) {
	if s.Namespace() != p.ns {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for room := range p.sockets[s] {
		p.leftLocked(s, room)
	}
}

func (p *Presence) leftLocked(s *core.Socket, room string) {
	rooms := p.sockets[s]
	key, ok := rooms[room]
	if !ok {
		return
	}
	if delete(rooms, room); len(rooms) == 0 {
		delete(p.sockets, s)
	}
	at := place{room, key}
	if p.own[at].sockets--; p.own[at].sockets == 0 {
		delete(p.own, at)
		p.removeLocked(p.id, room, key)
		changeOf(p.outbox, room).leave(key)
		p.wake()
	}
}

// wake has the goroutine tell what has changed.
func (p *Presence) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// run tells what has changed, in batches, until Close.
func (p *Presence) run() {
	defer close(p.done)
	beat := time.NewTicker(p.options.Interval)
	defer beat.Stop()
	p.asking.Go(func() { p.ask("") })
	for {
		select {
		case <-p.more:
			select {
			case <-time.After(p.options.Batch):
			case <-p.ctx.Done():
			}
			p.publish(false)
			p.tell()
		case <-beat.C:
			p.publish(true)
			p.expire()
			p.tell()
		case <-p.ctx.Done():
			p.sayGoodbye()
			return
		}
	}
}

// tell tells the clients here.
func (p *Presence) tell() {
	p.mu.Lock()
	told, greet := p.told, p.greet
	p.told, p.greet = make(map[string]*change), nil
	states := make([]state, len(greet))
	for i, g := range greet {
		states[i] = state{Room: g.room, Count: len(p.view[g.room]), Members: p.view.list(g.room, p.options.MaxListed)}
	}
	diffs := make([]diff, 0, len(told))
	for room, c := range told {
		if d := c.diff(); len(d.Joined)+len(d.Left) > 0 {
			d.Room, d.Count = room, len(p.view[room])
			diffs = append(diffs, d)
		}
	}
	p.mu.Unlock()
	for i, g := range greet {
		p.complain(g.socket.Self().Local().Emit(p.ctx, StateEvent, states[i]))
	}
	for _, d := range diffs {
		// Who gets the state here has it in there, and what is the same twice
		// changes nothing.
		p.complain(p.ns.To(d.Room).Local().Emit(p.ctx, DiffEvent, d))
	}
}

// complain logs what clients are not told, unless they have gone or are too slow.
func (p *Presence) complain(err error) {
	if err != nil && !errors.Is(err, core.ErrDisconnected) && !errors.Is(err, core.ErrOutboxFull) && p.ctx.Err() == nil {
		p.options.Logger.ErrorContext(p.ctx, "presence: clients are not told", slog.Any("error", err))
	}
}
