package presence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/upshift-go/upshift/core"
)

// The events that servers send each other.
const (
	newsEvent = "presence:news" // what has changed at one server
	askEvent  = "presence:ask"  // for all that one server has, or each
)

// A view is who is in which room, and by which servers.
type view map[string]map[string]*present

type present struct {
	Member
	servers map[string]struct{}
}

// list returns at most n members, by their keys.
func (v view) list(room string, n int) []Member {
	all := make([]Member, 0, len(v[room]))
	for _, m := range v[room] {
		all = append(all, m.Member)
	}
	slices.SortFunc(all, func(a, b Member) int { return cmp.Compare(a.Key, b.Key) })
	return all[:min(n, len(all))]
}

// A peer is what is known of another server.
type peer struct {
	seq   uint64 // of the news heard last
	until time.Time
	has   map[place]struct{}
	asked bool // something was missed, and it is being asked for all it has
}

// News are what one server tells the others.
type news struct {
	From string `json:"from"`
	// Seq counts them. State is for all that the server has, up to Seq.
	Seq   uint64              `json:"seq"`
	State bool                `json:"state,omitempty"`
	Bye   bool                `json:"bye,omitempty"`
	Rooms map[string]roomNews `json:"rooms"`
}

type roomNews struct {
	Joined []Member `json:"joined,omitempty"`
	Left   []string `json:"left,omitempty"`
}

// addLocked notes that a member is in a room by a server.
func (p *Presence) addLocked(server, room string, m Member) {
	if p.view[room] == nil {
		p.view[room] = make(map[string]*present)
	}
	there := p.view[room][m.Key]
	if there == nil {
		there = &present{Member: m, servers: make(map[string]struct{})}
		p.view[room][m.Key] = there
		changeOf(p.told, room).join(m)
		p.wake()
	}
	there.servers[server] = struct{}{}
}

// removeLocked notes that a member is not in a room by a server any more.
func (p *Presence) removeLocked(server, room, key string) {
	there := p.view[room][key]
	if there == nil {
		return
	}
	if delete(there.servers, server); len(there.servers) > 0 {
		return
	}
	if delete(p.view[room], key); len(p.view[room]) == 0 {
		delete(p.view, room)
	}
	changeOf(p.told, room).leave(key)
	p.wake()
}

// publish tells the other servers what has changed here, or, always, that this server
// is there.
func (p *Presence) publish(always bool) {
	p.mu.Lock()
	n := news{From: p.id, Rooms: make(map[string]roomNews, len(p.outbox))}
	for room, c := range p.outbox {
		d := c.diff()
		n.Rooms[room] = roomNews{d.Joined, d.Left}
	}
	clear(p.outbox)
	if len(n.Rooms) == 0 && !always {
		p.mu.Unlock()
		return
	}
	p.seq++
	n.Seq = p.seq
	p.mu.Unlock()
	p.send(p.ctx, &n)
}

func (p *Presence) send(ctx context.Context, n *news) {
	// What does not arrive shows by its number.
	if err := p.ns.ServerSideEmit(ctx, newsEvent, n); err != nil && !errors.Is(err, core.ErrNoAdapter) {
		p.options.Logger.WarnContext(ctx, "presence: other servers are not told", slog.Any("error", err))
	}
}

func (p *Presence) sayGoodbye() {
	p.mu.Lock()
	p.seq++
	n := news{From: p.id, Seq: p.seq, Bye: true}
	p.mu.Unlock()
	p.send(context.WithoutCancel(p.ctx), &n)
}

// heard takes the news of another server.
func (p *Presence) heard(_ context.Context, args core.Args) (any, error) {
	var n news
	if err := args.Bind(&n); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takeLocked(&n) {
		if from := p.peers[n.From]; !from.asked {
			from.asked = true
			p.asking.Go(func() { p.askAgain(n.From, from) })
		}
	}
	return nil, nil
}

// askAgain asks a server of which something was missed.
func (p *Presence) askAgain(server string, from *peer) {
	p.ask(server)
	p.mu.Lock()
	defer p.mu.Unlock()
	from.asked = false
}

// takeLocked takes news. It reports whether something was missed.
func (p *Presence) takeLocked(n *news) (missed bool) {
	if n.From == "" || n.From == p.id || p.ctx.Err() != nil {
		return false
	}
	if n.Bye {
		p.dropLocked(n.From)
		return false
	}
	from := p.peers[n.From]
	if from == nil {
		from = &peer{has: make(map[place]struct{})}
		p.peers[n.From] = from
	}
	from.until = time.Now().Add(p.options.Lease)
	switch {
	case n.State && n.Seq < from.seq:
		return false // news are ahead of it; the next shows what is missing
	case n.State:
		p.replaceLocked(n, from)
	case n.Seq != from.seq+1:
		return n.Seq > from.seq
	default:
		for room, r := range n.Rooms {
			for _, m := range r.Joined {
				p.gainLocked(n.From, from, room, m)
			}
			for _, key := range r.Left {
				p.loseLocked(n.From, from, place{room, key})
			}
		}
	}
	from.seq = n.Seq
	return false
}

// replaceLocked makes what a server has all that it says.
func (p *Presence) replaceLocked(n *news, from *peer) {
	now := make(map[place]struct{}, len(from.has))
	for room, r := range n.Rooms {
		for _, m := range r.Joined {
			now[place{room, m.Key}] = struct{}{}
			p.gainLocked(n.From, from, room, m)
		}
	}
	for at := range from.has {
		if _, still := now[at]; !still {
			p.loseLocked(n.From, from, at)
		}
	}
}

func (p *Presence) gainLocked(server string, from *peer, room string, m Member) {
	members := 0
	for _, other := range p.peers {
		members += len(other.has)
	}
	if members >= p.options.MaxMembers {
		if !p.full {
			p.full = true
			p.options.Logger.Error("presence: other servers have more than MaxMembers") //nolint:sloglint // there is no context
		}
		return
	}
	from.has[place{room, m.Key}] = struct{}{}
	p.addLocked(server, room, m)
}

func (p *Presence) loseLocked(server string, from *peer, at place) {
	delete(from.has, at)
	p.removeLocked(server, at.room, at.key)
}

// dropLocked forgets a server.
func (p *Presence) dropLocked(server string) {
	from := p.peers[server]
	if from == nil {
		return
	}
	for at := range from.has {
		p.loseLocked(server, from, at)
	}
	delete(p.peers, server)
}

// expire forgets servers whose lease has ended.
func (p *Presence) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for server, from := range p.peers {
		if now.After(from.until) {
			p.options.Logger.WarnContext(p.ctx, "presence: a server is silent, its members have left", slog.String("server", server), slog.Int("members", len(from.has)))
			p.dropLocked(server)
		}
	}
}

// ask asks one server, or all, for what they have.
func (p *Presence) ask(server string) {
	ctx, cancel := context.WithTimeout(p.ctx, p.options.Interval)
	defer cancel()
	for args, err := range p.ns.ServerSideCall(ctx, askEvent, server) {
		if err != nil {
			continue // its next news show that something is missing
		}
		var n news
		if args.Bind(&n) == nil {
			p.mu.Lock()
			p.takeLocked(&n)
			p.mu.Unlock()
		}
	}
}

// asked answers with all that this server has, if it is meant.
func (p *Presence) asked(_ context.Context, args core.Args) (any, error) {
	var server string
	if err := args.Bind(&server); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	if server != "" && server != p.id {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return nil, nil // it has said goodbye
	}
	n := &news{From: p.id, Seq: p.seq, State: true, Rooms: make(map[string]roomNews)}
	for at, m := range p.own {
		if c := p.outbox[at.room]; c != nil {
			if _, fresh := c.joined[at.key]; fresh {
				continue // the next news have it
			}
		}
		r := n.Rooms[at.room]
		r.Joined = append(r.Joined, m.Member)
		n.Rooms[at.room] = r
	}
	return n, nil
}
