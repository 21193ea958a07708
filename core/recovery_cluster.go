package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
)

// A clusterRecovery is the recovery of one namespace if the broker of the cluster
// keeps the events. They come back from there, in an order that is the same on all
// servers, and only then go to clients: so an offset means the same everywhere.
//
// A client that comes back has what it has missed read from the broker. What is
// delivered meanwhile is held for it.
type clusterRecovery struct {
	namespace *Namespace
	server    *Server
	adapter   Recoverer

	mu        sync.Mutex // guards what follows, and since and unsaved of every socket
	live      map[string]*Socket
	returning map[*Socket]*returning
	claimants map[string]*Socket   // those that are returning, by private id
	held      []heldEvent          // what was delivered while somebody was returning
	heldFrom  uint64               // the number of the first of held
	dirty     map[*Socket]struct{} // whose state is to be saved
	saving    *time.Timer          // runs while dirty is not empty
	refresh   *time.Timer          // runs while live is not empty
	last      Offset               // of what has been delivered
	closed    bool
}

// saveDelay is how long changes of a client's rooms wait for further ones before
// they are saved.
const saveDelay = 100 * time.Millisecond

func newClusterRecovery(n *Namespace, adapter Recoverer) *clusterRecovery {
	return &clusterRecovery{
		namespace: n, server: n.server, adapter: adapter,
		live: make(map[string]*Socket), returning: make(map[*Socket]*returning), claimants: make(map[string]*Socket),
		dirty: make(map[*Socket]struct{}),
	}
}

// keep sends an event on to all servers, by way of the broker. It reports false if
// the event is not one that is kept.
func (r *clusterRecovery) keep(ctx context.Context, t *Target, event string, args []any) (kept bool, err error) {
	if t.local || t.delivery.Volatile {
		return false, nil
	}
	if err := codec.CheckEvent(event); err != nil {
		return true, err
	}
	return true, r.adapter.Keep(ctx, t.broadcast(r.namespace, event, args))
}

// maxPrivateID is how long a private id may be, which the broker is asked for at a
// client's word. Those of all servers have 20 characters.
const maxPrivateID = 64

// settleTime is how long somebody who is to be disconnected waits, at most, for what was
// sent to it before.
const settleTime = time.Second

// settle waits until what was sent before has come back from the broker, if it goes by
// way of it. It must not be called on a goroutine that delivers what comes from there.
func (n *Namespace) settle() {
	if n == nil || n.cluster == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	n.cluster.adapter.Settle(ctx)
}

// broadcast sends an event to those of t who are connected here.
func (r *clusterRecovery) broadcast(t *Target, event string, args []any) (recipients int, err error) {
	packets, err := r.encode(event, args, t.offset)
	if err != nil {
		return 0, err
	}
	defer packets.release()
	if !r.server.fits(packets.list) {
		return 0, ErrTooLarge
	}
	packets.share(t.noCompress)
	found := selections.Get().(*selection) //nolint:forcetypeassert // the pool holds nothing else
	defer found.release()
	refused := 0
	r.mu.Lock()
	if t.offset.Compare(r.last) > 0 {
		r.last = t.offset
	}
	r.hold(t, packets.list)
	found.sockets = t.find(found.sockets, r.namespace)
	for _, s := range found.sockets {
		if !t.offset.IsZero() && t.offset.Compare(s.since) <= 0 {
			continue // it was among what the client had missed
		}
		if err := s.conn.session.DeliverLater(t.delivery, packets.list...); err == session.ErrOutboxFull { //nolint:errorlint // it is returned bare
			refused++
		}
	}
	r.mu.Unlock()
	r.namespace.tellOutgoing(found.sockets, event, args)
	return len(found.sockets), refusedError(refused, len(found.sockets))
}

// encode encodes an event with its offset. Clients take the last argument for one
// if it is text, so what is not kept has null there.
func (r *clusterRecovery) encode(event string, args []any, offset Offset) (*encoded, error) {
	var last any
	if !offset.IsZero() {
		last = offset.String()
	}
	return r.server.encode(codec.Packet{
		Type: codec.Event, Namespace: r.namespace.name, Event: event, Args: append(slices.Clip(args), last),
	})
}

// send sends an event to one client.
func (r *clusterRecovery) send(s *Socket, t *Target, event string, args []any) error {
	if kept, err := r.keep(s.ctx, t, event, args); kept {
		return err
	}
	err := s.deliver(t.delivery, t.noCompress, codec.Packet{
		Type: codec.Event, Namespace: r.namespace.name, Event: event, Args: append(slices.Clip(args), nil),
	})
	if errors.Is(err, session.ErrDropped) {
		return nil // as t allows
	}
	return err
}

// leave takes a socket out of the namespace and, if it may come back, saves what
// it comes back to.
func (r *clusterRecovery) leave(s *Socket, cause *CloseError) {
	data := s.shared()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.namespace.rooms.remove(s)
	delete(r.dirty, s)
	claim := s.claim
	s.claim = nil
	r.arrive(s)
	live := r.live[s.privateID] == s
	back := recoverable(cause.Reason) && !r.closed && !s.conn.old
	if live {
		delete(r.live, s.privateID)
	}
	switch {
	case live && back:
		r.adapter.Save(r.state(s, data))
	case live:
		r.adapter.Forget(r.namespace.name, s.privateID)
	case claim != nil && !back: // otherwise it can try again, there is still what it has claimed
		r.adapter.Forget(r.namespace.name, claim.taken.PrivateID)
	}
}

// state is what s comes back to, to be saved. The lock is held.
func (r *clusterRecovery) state(s *Socket, data codec.Raw) *ClientState {
	fresh := s.unsaved
	s.unsaved = false
	return &ClientState{
		Namespace: r.namespace.name, ID: s.id, PrivateID: s.privateID,
		Rooms: r.namespace.rooms.of(s), Data: data, Since: s.first,
		Window: r.server.options.Recovery.Window, Fresh: fresh,
	}
}

// claim takes what a client that connects can come back to. It returns nil if there
// is nothing.
func (r *clusterRecovery) claim(ctx context.Context, s *Socket) *state {
	ctx, cancel := context.WithTimeout(ctx, r.server.options.ConnectTimeout/2)
	defer cancel()
	var wish struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if s.conn.old || s.Auth(&wish) != nil || wish.PID == "" || len(wish.PID) > maxPrivateID {
		return nil
	}
	for {
		old, over := r.enter(s, wish.PID)
		if old == nil {
			break
		}
		old.conn.session.Close(&CloseError{Reason: TransportClose, Err: errReplaced})
		select {
		case <-over:
		case <-ctx.Done():
			return nil
		}
	}
	st, err := r.restore(ctx, wish.PID, wish.Offset)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s.hasLeft(): // its client may be asking again already
		r.arrive(s)
		return nil
	case err != nil:
		r.arrive(s)
		if errors.Is(err, ErrNotRecoverable) {
			r.adapter.Forget(r.namespace.name, wish.PID)
		}
		if ctx.Err() == nil {
			r.server.stats.recoveryFailed.Add(1)
			r.server.log.DebugContext(ctx, "client not recovered", slog.String("namespace", r.namespace.name), slog.Any("error", err))
		}
		return nil
	}
	s.claim = st
	s.resume(st)
	return st
}

// restore reads what a client comes back to, and encodes what it has missed.
func (r *clusterRecovery) restore(ctx context.Context, pid, seen string) (*state, error) {
	back, err := r.adapter.Restore(ctx, r.namespace.name, pid, seen)
	if err != nil {
		return nil, err
	}
	st := &state{id: back.Client.ID, privateID: back.Client.PrivateID, rooms: back.Client.Rooms, taken: &back.Client, until: time.Now()}
	st.reached = back.Until
	latest := make(map[string]int)
	for i, b := range back.Missed {
		if b.Key != "" {
			latest[b.Event+"\x00"+b.Key] = i
		}
	}
	for i, b := range back.Missed {
		if b.Key != "" && latest[b.Event+"\x00"+b.Key] != i {
			continue
		}
		packets, err := r.encode(b.Event, b.Args, b.Offset)
		if err != nil {
			continue // nobody was sent it; that was complained of when it came
		}
		if r.server.fits(packets.list) { // the same
			st.missed = append(st.missed, packets.list...)
		}
		packets.release()
	}
	if len(st.missed) >= r.server.options.MaxOutboxPackets || !r.server.fits(st.missed) {
		return nil, fmt.Errorf("%w: it has missed more than MaxOutboxPackets or bytes", ErrNotRecoverable)
	}
	return st, nil
}

// name gives a socket that connects afresh what its client can come back with.
func (r *clusterRecovery) name(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.privateID = newID()
}

// release gives up what s has claimed, for good.
func (r *clusterRecovery) release(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrive(s)
	r.giveUp(s)
}

// giveUp drops what s has claimed. The lock is held.
func (r *clusterRecovery) giveUp(s *Socket) {
	if s.claim != nil {
		r.adapter.Forget(r.namespace.name, s.claim.taken.PrivateID)
		s.claim = nil
	}
}

// connect makes s reachable and queues what tells its client: what it has missed,
// if it comes back, and then the reply.
func (r *clusterRecovery) connect(s *Socket, st *state, reply *encoded) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	packets := reply.list
	if s.first = r.adapter.Position(); r.last.Compare(s.first) > 0 {
		s.first = r.last
	}
	if st != nil {
		if s.claim != st {
			return ErrDisconnected
		}
		missed := st.missed
		for _, e := range r.held[r.returning[s].from-r.heldFrom:] {
			if e.offset.Compare(st.reached) > 0 && e.matches(st) {
				missed = append(missed, e.packets...)
			}
		}
		if !r.server.fits(missed) {
			r.giveUp(s)
			return errNotRecovered
		}
		packets = append(missed, packets...)
		s.since, s.first = st.reached, st.taken.Since
		_ = r.namespace.rooms.join(s, st.rooms, 0, nil) // if it has left meanwhile, connect says so
	}
	if err := r.namespace.rooms.connect(s, packets); err != nil {
		return err
	}
	if st != nil {
		if !slices.Contains(st.rooms, s.id) {
			_ = r.namespace.rooms.leave(s, []string{s.id}, nil)
		}
		r.arrive(s)
		s.claim = nil
		r.server.stats.recovered.Add(1)
	}
	r.live[s.privateID] = s
	s.unsaved = st == nil
	r.changeLocked(s)
	if r.refresh == nil && !r.closed {
		r.refresh = time.AfterFunc(r.server.options.Recovery.Window/3, r.again)
	}
	return nil
}

// changed has the state of a socket saved again, soon.
func (r *clusterRecovery) changed(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[s.privateID] == s {
		r.changeLocked(s)
	}
}

func (r *clusterRecovery) changeLocked(s *Socket) {
	if r.closed || s.conn.old {
		return
	}
	r.dirty[s] = struct{}{}
	if r.saving == nil {
		r.saving = time.AfterFunc(saveDelay, r.save)
	}
}

// save saves what has changed: if this server dies, its clients find it.
func (r *clusterRecovery) save() {
	r.mu.Lock()
	r.saving = nil
	sockets := maps.Clone(r.dirty)
	clear(r.dirty)
	r.mu.Unlock()
	for s := range sockets {
		data := s.shared() // may call the program
		r.mu.Lock()
		if r.live[s.privateID] == s {
			state := r.state(s, data)
			state.Window += state.Window / 3 // until it is saved again
			r.adapter.Save(state)
		}
		r.mu.Unlock()
	}
}

// again saves the states of all sockets again, before they are dropped.
func (r *clusterRecovery) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh = nil
	if r.closed || len(r.live) == 0 {
		return
	}
	for _, s := range r.live {
		r.changeLocked(s)
	}
	r.refresh = time.AfterFunc(r.server.options.Recovery.Window/3, r.again)
}

// bequeath implements keeper: nothing of a socket is kept here.
func (r *clusterRecovery) bequeath(*Socket) {}

// close stops the timers, for good.
func (r *clusterRecovery) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, timer := range []*time.Timer{r.saving, r.refresh} {
		if timer != nil {
			timer.Stop()
		}
	}
	r.saving, r.refresh = nil, nil
}
