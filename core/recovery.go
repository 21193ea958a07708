package core

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// Recovery lets a client that has lost its connection come back to where it
// was: with its id, its rooms, its values, and the events it has missed
// meanwhile. Clients of version 4.6 and later take part without being asked;
// on their side it shows as socket.recovered.
//
// What it costs: every event that is sent, volatile ones and those that are to
// be answered excepted, is kept for a while, and carries an offset of ten
// characters as a surplus last argument, which handlers on the client
// get to see; volatile events carry null there. It is in memory: a client that comes back to another server, or
// after a restart, starts afresh.
type Recovery struct {
	// Window is how long after its disconnection a client may come back.
	// Default 2 minutes. Events are kept for that time and for the time in
	// which a dead connection is noticed (PingInterval and PingTimeout).
	Window time.Duration
	// RunMiddleware runs connect middleware for clients that come back.
	// Default: it is not run, since it has run before; but a user who was
	// banned meanwhile comes back then.
	RunMiddleware bool
	// MaxBytes bounds what is kept, of all namespaces together. When it is
	// reached the oldest goes, and who would need it starts afresh. Default
	// 64 MiB.
	MaxBytes int64
}

func (r *Recovery) withDefaults() (*Recovery, error) {
	if r == nil {
		return nil, nil //nolint:nilnil // no recovery
	}
	own := *r
	if own.Window == 0 {
		own.Window = 2 * time.Minute
	}
	if own.MaxBytes == 0 {
		own.MaxBytes = 64 << 20
	}
	if own.Window < 0 || own.MaxBytes < 0 {
		return nil, errors.New("core: Options.Recovery has a negative limit")
	}
	return &own, nil
}

// errReplaced is behind the end of a connection whose client has come back on
// another one before anybody noticed that it was lost.
var errReplaced = errors.New("the client has come back on another connection")

// A recovery is what one namespace keeps for clients that may come back.
//
// Everything that decides whether a client gets an event live or later happens
// under one lock: an event gets its offset, is kept, and is queued for those
// who are connected; a client that comes back gets what it has missed queued and
// becomes reachable. So it gets each event once, and in the order of the
// offsets, which is what makes the last one it has seen tell what is missing.
type recovery struct {
	namespace *Namespace
	server    *Server

	mu     sync.Mutex // guards what follows, and progress of every socket
	log    eventLog
	live   map[string]*Socket // connected, by private id
	states map[string]*state  // of those who may come back, by private id
	gone   []*state           // the same, and some that are not any more, by when they left
	timer  *time.Timer        // runs while anything is kept
	closed bool
}

// A progress is how far a socket has got in the log.
type progress struct {
	since uint64 // what came up to here came before the client connected
	last  uint64 // the last that was sent to it
}

// A state is what a client comes back to.
type state struct {
	socket   *Socket // the one it had
	rooms    []string
	progress progress
	left     uint64 // of the log, when the client left
	from     uint64 // of the log: what comes after it is missing; set by take
	size     int64
	until    time.Time
	claimed  bool // a socket is on its way to take it
}

func newRecovery(n *Namespace) *recovery {
	return &recovery{
		namespace: n,
		server:    n.server,
		log:       newEventLog(n.server),
		live:      make(map[string]*Socket),
		states:    make(map[string]*state),
	}
}

// encode encodes an event with room for its offset.
func (r *recovery) encode(event string, args []any) (*encoded, error) {
	return r.server.encode(codec.Packet{
		Type: codec.Event, Namespace: r.namespace.name, Event: event,
		Args: append(slices.Clip(args), offsetBlank),
	})
}

// broadcast sends an event to those of t who are connected, and keeps it for
// those who come back.
func (r *recovery) broadcast(t *Target, event string, args []any) error {
	packets, err := r.encode(event, args)
	if err != nil {
		return err
	}
	defer packets.release()
	packets.share(t.noCompress)
	found := selections.Get().(*selection) //nolint:forcetypeassert // the pool holds nothing else
	defer found.release()
	refused := 0
	r.mu.Lock()
	r.log.stamp(packets.list)
	r.keep(t, packets.list)
	found.sockets = t.find(found.sockets, r.namespace)
	for _, s := range found.sockets {
		if err := s.conn.session.DeliverLater(t.delivery, packets.list...); errors.Is(err, session.ErrOutboxFull) {
			refused++
		}
		s.progress.last = r.log.last
	}
	r.mu.Unlock()
	r.namespace.tellOutgoing(found.sockets, event, args)
	return refusedError(refused, len(found.sockets))
}

// send sends an event to one client, or keeps it for when it comes back.
func (r *recovery) send(s *Socket, t *Target, event string, args []any) error {
	packets, err := r.encode(event, args)
	if err != nil {
		return err
	}
	defer packets.release()
	if t.noCompress {
		packets.noCompress()
	}
	to, err := r.queue(s, t, packets.list)
	if to != nil {
		to.conn.session.Flush()
	}
	return err
}

// queue queues an event for whoever has come after s, or is s still. It returns
// that socket, if there is one, for the caller to flush.
func (r *recovery) queue(s *Socket, t *Target, packets []transports.Packet) (to *Socket, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to = r.live[s.privateID]
	if to == nil && r.states[s.privateID] == nil {
		return nil, ErrDisconnected
	}
	r.log.stamp(packets)
	if to != nil {
		switch err := to.conn.session.Queue(t.delivery, packets...); {
		case errors.Is(err, session.ErrOutboxFull), errors.Is(err, session.ErrTooLarge):
			return nil, err
		case errors.Is(err, session.ErrDropped):
			return nil, nil
		}
		// A client that is too slow, or whose session is ending, gets it
		// when it comes back.
		to.progress.last = r.log.last + 1
	}
	r.keep(t, packets)
	return to, nil
}

// keep puts an event that has been stamped into the log. The lock is held.
func (r *recovery) keep(t *Target, packets []transports.Packet) {
	r.log.append(t, packets)
	r.sweepLater()
}

// leave takes a socket out of the namespace and, if it may come back, keeps
// what it comes back to. From then on that is what the socket's membership in
// the namespace is for.
func (r *recovery) leave(s *Socket, cause *CloseError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.namespace.rooms.remove(s)
	if r.live[s.privateID] != s {
		return
	}
	delete(r.live, s.privateID)
	if r.closed || !recoverable(cause.Reason) {
		return
	}
	options := r.server.options.Recovery
	st := &state{
		socket: s, rooms: r.namespace.rooms.of(s), progress: s.progress, left: r.log.last,
		until: time.Now().Add(options.Window),
	}
	st.size = sizeOfState(st.rooms)
	s.kept = true
	r.states[s.privateID] = st
	r.gone = append(r.gone, st)
	r.server.recoveryBytes.Add(st.size)
	for len(r.gone) > 0 && r.server.recoveryBytes.Load() > options.MaxBytes {
		r.forgetFirst()
	}
	r.sweepLater()
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
	size := 1024 // the socket that is kept, with its handshake
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
	if s.Auth(&wish) != nil || wish.PID == "" {
		return nil
	}
	r.mu.Lock()
	old := r.live[wish.PID]
	r.mu.Unlock()
	if old != nil {
		old.conn.session.Close(&CloseError{Reason: TransportClose, Err: errReplaced})
		select {
		case <-old.ctx.Done():
		case <-ctx.Done():
		}
	}
	st := r.take(wish.PID, wish.Offset)
	if st == nil {
		r.server.stats.recoveryFailed.Add(1)
		return nil
	}
	select {
	case <-st.socket.finished:
	case <-ctx.Done():
		r.release(st)
		return nil
	}
	s.resume(st)
	return st
}

// take claims a state.
func (r *recovery) take(pid, offset string) *state {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.states[pid]
	if st == nil || st.claimed || time.Now().After(st.until) {
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
	if !r.log.reaches(st.from) {
		return nil
	}
	st.claimed = true
	return st
}

// release gives up a state that was claimed. It does nothing if there is none.
func (r *recovery) release(st *state) {
	if st == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(st)
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
		defer r.forget(st)
		if !r.log.reaches(st.from) {
			return errNotRecovered
		}
		missed, last := r.log.missed(st)
		packets = append(missed, packets...)
		s.progress = progress{since: st.from, last: max(last, st.progress.last)}
		_ = r.namespace.rooms.join(s, st.rooms, 0) // if it has left meanwhile, connect says so
	}
	if err := r.namespace.rooms.connect(s, packets); err != nil {
		return err
	}
	r.live[s.privateID] = s
	if st != nil {
		r.server.stats.recovered.Add(1)
		if !slices.Contains(st.rooms, s.id) {
			r.namespace.rooms.leave(s, []string{s.id})
		}
	}
	return nil
}

// forget drops a state. The lock is held.
func (r *recovery) forget(st *state) {
	if r.states[st.socket.privateID] != st {
		return
	}
	delete(r.states, st.socket.privateID)
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
	if !st.claimed { // a socket is about to take it
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
	for len(r.gone) > 0 && (!r.gone[0].until.After(now) || r.states[r.gone[0].socket.privateID] != r.gone[0]) {
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
