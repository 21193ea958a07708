package core

import (
	"context"
	"errors"
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
// What it costs, unless the adapter is a Recoverer: every event that is sent, volatile ones and those that are to
// be answered excepted, is kept for a while, and every event that is not to be
// answered carries an offset of ten characters as a surplus last argument, which
// handlers on the client get to see; it is null in what is sent before the
// client is connected. It is in memory: a client that comes back to another
// server, or after a restart, starts afresh.
//
// With an Adapter that is a Recoverer, events are kept by its broker, and a client
// can come back to any server of the cluster, also if its own has been killed. Then
// every event for clients, even for a single one, goes by way of the broker, what
// clients come back to is saved there whenever their rooms change, connect
// middleware always runs, values have to be of shared keys to come along, and
// events of Target.Local are not kept.
type Recovery struct {
	// Window is how long after its disconnection a client may come back.
	// Default 2 minutes. Events are kept for that time and for the time in
	// which a dead connection is noticed (PingInterval and PingTimeout), from
	// when they were sent last: a client that is lost again has the same time.
	Window time.Duration
	// RunMiddleware runs connect middleware for clients that come back.
	// Default: it is not run, since it has run before; but a user who was
	// banned meanwhile comes back then.
	RunMiddleware bool
	// MaxBytes bounds what is kept, of all namespaces together. A namespace
	// that keeps something when it is reached drops the oldest it has, and who
	// would need that starts afresh. Default 64 MiB.
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

// A keeper is what one namespace has for clients that may come back.
type keeper interface {
	// broadcast sends an event to those of t who are connected here, and returns how
	// many they are.
	broadcast(t *Target, event string, args []any) (recipients int, err error)
	// send sends an event to one client.
	send(s *Socket, t *Target, event string, args []any) error
	// claim finds what a client that connects can come back to, and makes sure
	// that nobody else does. It returns nil if there is nothing.
	claim(ctx context.Context, s *Socket) *state
	// name gives a socket that connects afresh what its client can come back
	// with.
	name(s *Socket)
	// release gives up what s has claimed, for good.
	release(s *Socket)
	// connect makes s reachable and queues what tells its client. An error means
	// that it could not be brought up to date.
	connect(s *Socket, st *state, reply *encoded) error
	// leave takes a socket out of the namespace.
	leave(s *Socket, cause *CloseError)
	// changed takes note of a socket whose rooms or shared values have changed.
	changed(s *Socket)
	// bequeath keeps the values of a socket that has left.
	bequeath(s *Socket)
	// close drops everything, for good.
	close()
}

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
func (r *recovery) broadcast(t *Target, event string, args []any) (recipients int, err error) {
	packets, err := r.encode(event, args)
	if err != nil {
		return 0, err
	}
	defer packets.release()
	if !r.server.fits(packets.list) {
		return 0, ErrTooLarge // nor is it kept: it could not be sent later, and nothing with it
	}
	packets.share(t.noCompress)
	found := selections.Get().(*selection) //nolint:forcetypeassert // the pool holds nothing else
	defer found.release()
	refused := 0
	r.mu.Lock()
	r.log.stamp(packets.list, t.delivery.Volatile)
	if !t.delivery.Volatile {
		r.keep(t, packets.list)
	}
	found.sockets = t.find(found.sockets, r.namespace)
	for _, s := range found.sockets {
		if err := s.conn.session.DeliverLater(t.delivery, packets.list...); errors.Is(err, session.ErrOutboxFull) {
			refused++
		}
		s.progress.last = r.log.last
	}
	r.mu.Unlock()
	r.namespace.tellOutgoing(found.sockets, event, args)
	return len(found.sockets), refusedError(refused, len(found.sockets))
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
	volatile := t.delivery.Volatile
	to = r.live[s.privateID]
	if to == nil && (volatile || r.states[s.privateID] == nil) {
		return nil, ErrDisconnected
	}
	r.log.stamp(packets, volatile)
	if volatile {
		err := to.conn.session.Queue(t.delivery, packets...)
		if errors.Is(err, session.ErrDropped) {
			err = nil
		}
		return to, sessionError(err)
	}
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
	if r.closed { // nobody comes back, and nobody would drop it
		return
	}
	r.log.append(t, packets)
	r.makeRoom()
	r.sweepLater()
}

// makeRoom drops what is oldest in this namespace, be it events or clients,
// until no more is kept than may be. The lock is held.
func (r *recovery) makeRoom() {
	options := r.server.options.Recovery
	for r.server.recoveryBytes.Load() > options.MaxBytes {
		switch {
		case len(r.gone) > 0 && (r.log.empty() || r.log.oldest().After(r.gone[0].until.Add(-options.Window))):
			r.forgetFirst()
		case !r.log.empty():
			r.log.drop(1)
		default:
			return
		}
	}
}
