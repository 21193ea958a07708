package core

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// A state is what a client comes back to. It does not hold on to the socket that
// the client had, nor to what that had been sent.
type state struct {
	id, privateID string
	rooms         []string
	values        map[any]any   // set when finished is closed
	finished      chan struct{} // that of the socket

	// Of a clusterRecovery.
	taken   *ClientState
	missed  []transports.Packet
	reached Offset // of missed

	progress progress
	left     uint64 // of the log, when the client left
	from     uint64 // of the log: what comes after it is missing; set by take
	size     int64
	until    time.Time
	claimant *Socket // is on its way to take it, and has it as its claim
}

// errReplaced is behind the end of a connection whose client has come back on
// another one before anybody noticed that it was lost.
var errReplaced = errors.New("the client has come back on another connection")

// leave takes a socket out of the namespace and, if it may come back, keeps
// what it comes back to. From then on that is what the socket's membership in
// the namespace is for.
func (r *recovery) leave(s *Socket, cause *CloseError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.namespace.rooms.remove(s)
	if st := s.claim; st != nil {
		s.claim = nil
		r.giveBack(st, cause)
	}
	if r.live[s.privateID] != s {
		return
	}
	delete(r.live, s.privateID)
	if r.closed || s.conn.old || !recoverable(cause.Reason) {
		return
	}
	st := &state{
		id: s.id, privateID: s.privateID, rooms: r.namespace.rooms.of(s), finished: s.finished,
		progress: s.progress, left: r.log.last,
		until: time.Now().Add(r.server.options.Recovery.Window),
	}
	st.size = sizeOfState(st.rooms)
	s.kept = true
	r.states[s.privateID] = st
	r.gone = append(r.gone, st)
	r.server.recoveryBytes.Add(st.size)
	r.makeRoom()
	r.sweepLater()
}

// giveBack lets a client come back that has been disconnected again on its way,
// if the cause allows it. The lock is held.
func (r *recovery) giveBack(st *state, cause *CloseError) {
	if r.closed || !recoverable(cause.Reason) {
		r.forget(st)
		return
	}
	if r.states[st.privateID] != st {
		return
	}
	again := *st // the place of st among those gone is not right any more
	again.claimant = nil
	again.until = time.Now().Add(r.server.options.Recovery.Window)
	r.log.hold(st.from)
	r.states[st.privateID] = &again
	st.rooms, st.values, st.claimant = nil, nil, nil
	r.gone = append(r.gone, &again)
	r.sweepLater()
}

// bequeath keeps the values of a socket that has left, and that nobody but the
// program uses any more, for the one that comes after it.
func (r *recovery) bequeath(s *Socket) {
	s.mu.Lock()
	values := maps.Clone(s.values)
	s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.states[s.privateID]; st != nil && st.finished == s.finished {
		st.values = values
	}
}

// recoverable reports whether a client that was disconnected for this reason
// may come back. The list is the reference's.
func recoverable(reason Reason) bool {
	switch reason {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShuttingDown, ForcedServerClose:
		return true
	default:
		return false
	}
}

func sizeOfState(rooms []string) int64 {
	size := 1024 // the state itself, and what the program keeps with a socket
	for _, room := range rooms {
		size += len(room)
	}
	return int64(size)
}

// claim finds what a client that connects can come back to, and makes sure that
// nobody else does. It returns nil if there is nothing. It waits until all that
// the client has sent over its lost connection has been handled, but not for so
// long that there is no time left to connect afresh.
func (r *recovery) claim(ctx context.Context, s *Socket) *state {
	ctx, cancel := context.WithTimeout(ctx, r.server.options.ConnectTimeout/2)
	defer cancel()
	var wish struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if s.conn.old || s.Auth(&wish) != nil || wish.PID == "" {
		return nil
	}
	for old := r.holder(wish.PID); old != nil && ctx.Err() == nil; old = r.holder(wish.PID) {
		old.conn.session.Close(&CloseError{Reason: TransportClose, Err: errReplaced})
		select {
		case <-old.ctx.Done():
		case <-ctx.Done():
		}
	}
	st := r.take(s, wish.PID, wish.Offset)
	if st == nil {
		if !s.hasLeft() {
			r.server.stats.recoveryFailed.Add(1)
		}
		return nil
	}
	select {
	case <-st.finished:
	case <-ctx.Done():
		r.release(s)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.claim != st {
		return nil
	}
	s.resume(st)
	return st
}

// holder returns the socket that is connected under a private id, or is about to
// be, if there is one. If its client asks for the same again it is lost.
func (r *recovery) holder(pid string) *Socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.states[pid]; st != nil {
		return st.claimant
	}
	return r.live[pid]
}

// name gives a socket that connects afresh what its client can come back with.
func (r *recovery) name(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.privateID = newID()
}

// take claims a state for s.
func (r *recovery) take(s *Socket, pid, offset string) *state {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.states[pid]
	if st == nil || st.claimant != nil || time.Now().After(st.until) {
		return nil
	}
	if s.hasLeft() { // if it leaves from now on, leave gives the state back
		return nil
	}
	seen, ok := r.log.parse(offset)
	if !ok {
		return nil
	}
	st.from = max(seen, st.progress.since)
	if st.from >= st.progress.last {
		// It has seen all that was sent to it, however long ago that was.
		st.from = max(st.from, st.left)
	}
	if !r.log.reaches(st.from) || !r.fits(st) {
		return nil
	}
	st.claimant, s.claim = s, st
	return st
}

// fits reports whether what is missing can be sent at once. The lock is held.
func (r *recovery) fits(st *state) bool {
	missed, _ := r.log.missed(st)
	return len(missed) < r.server.options.MaxOutboxPackets && r.server.fits(missed) // the reply is one more
}

// release gives up what s has claimed, for good: s connects afresh or not at
// all. It does nothing if there is no claim, or none any more.
func (r *recovery) release(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.claim != nil {
		r.forget(s.claim)
		s.claim = nil
	}
}

var errNotRecovered = errors.New("what the client has missed is more than can be sent")

// connect makes s reachable and queues what tells its client: what it has
// missed, if it comes back to st, and then the reply. An error means that it
// could not be brought up to date.
func (r *recovery) connect(s *Socket, st *state, reply *encoded) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	packets := reply.list
	s.progress = progress{since: r.log.last, last: r.log.last}
	if st != nil {
		if s.claim != st {
			return ErrDisconnected
		}
		if !r.log.reaches(st.from) {
			r.forget(st)
			s.claim = nil
			return errNotRecovered
		}
		missed, last := r.log.missed(st)
		packets = append(missed, packets...)
		if len(missed) > 0 {
			r.log.hold(st.from)
		}
		s.progress = progress{since: st.from, last: max(last, st.progress.last)}
		_ = r.namespace.rooms.join(s, st.rooms, 0, nil) // if it has left meanwhile, connect says so
	}
	if err := r.namespace.rooms.connect(s, packets); err != nil {
		if st != nil && !errors.Is(err, session.ErrClosed) { // otherwise leave gives it back
			r.forget(st)
			s.claim = nil
		}
		return err
	}
	r.live[s.privateID] = s
	if st != nil {
		if !slices.Contains(st.rooms, s.id) {
			_ = r.namespace.rooms.leave(s, []string{s.id}, nil) // the same
		}
		r.forget(st)
		s.claim = nil
		r.server.stats.recovered.Add(1)
	}
	return nil
}

// changed implements keeper: a state is made when its socket leaves.
func (r *recovery) changed(*Socket) {}

// forget drops a state. Its place among those gone goes later. The lock is held.
func (r *recovery) forget(st *state) {
	if r.states[st.privateID] != st {
		return
	}
	delete(r.states, st.privateID)
	st.rooms, st.values, st.claimant = nil, nil, nil
	r.server.recoveryBytes.Add(-st.size)
	if r.namespace.dynamic != nil && r.server.countOut(r.namespace) {
		r.closeLocked()
	}
}

// forgetFirst drops the state that is oldest. The lock is held.
func (r *recovery) forgetFirst() {
	st := r.gone[0]
	r.gone[0] = nil
	r.gone = r.gone[1:]
	if st.claimant == nil { // otherwise a socket is about to take it
		r.forget(st)
	}
}

// sweepLater makes sure that what is kept is dropped in time. The lock is held.
func (r *recovery) sweepLater() {
	if r.timer == nil && !r.closed {
		r.timer = time.AfterFunc(r.server.options.Recovery.Window/4, r.sweep)
	}
}

// sweep drops what has been kept for long enough.
func (r *recovery) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = nil
	now := time.Now()
	for len(r.gone) > 0 && (!r.gone[0].until.After(now) || r.states[r.gone[0].privateID] != r.gone[0]) {
		r.forgetFirst()
	}
	r.log.prune()
	if len(r.gone) > 0 || !r.log.empty() {
		r.sweepLater()
	}
}

// close drops everything, for good.
func (r *recovery) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeLocked()
}

func (r *recovery) closeLocked() {
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	for _, st := range r.states {
		r.forget(st)
	}
	r.gone = nil
	r.log.clear()
}

// closeRecovery drops what is kept for clients that may come back.
func (srv *Server) closeRecovery() {
	srv.mu.RLock()
	all := slices.Collect(maps.Values(srv.namespaces))
	srv.mu.RUnlock()
	for _, n := range all {
		if n.recovery != nil {
			n.recovery.close()
		}
	}
}
