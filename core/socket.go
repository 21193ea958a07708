package core

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
)

// A Socket is one client in one namespace. Its methods are safe for concurrent
// use, from handlers and from anywhere else.
type Socket struct {
	// Set before anybody else knows the socket.
	name   string // of the namespace, as the client sent it
	conn   *connection
	auth   codec.Raw
	ctx    context.Context //nolint:containedctx // a socket is a life, and this is how long it lasts
	cancel context.CancelCauseFunc

	// Set, with mu held, before user code or a namespace knows the socket.
	namespace *Namespace
	id        string
	privateID string // with recovery: what the client comes back with; set with recovery.mu held, too
	recovered bool

	// With recovery.
	finished chan struct{} // closed when the worker has done everything
	kept     bool          // its membership in the namespace goes on; set before ctx ends
	progress progress      // guarded by recovery.mu
	since    Offset        // the same, of a clusterRecovery: what came up to here has been sent to it
	first    Offset        // the same: where it connected first
	unsaved  bool          // the same: nothing has been saved for its client yet
	claim    *state        // what it is about to come back to, the same

	// Guarded by namespace.rooms.mu.
	rooms   []string // without the socket's own
	ownRoom bool
	gone    bool // left for good; rooms stay to be read

	mu        sync.Mutex // guards what follows
	queue     queue
	values    map[any]any
	inherited map[string]codec.Raw // values of shared keys that come from another server
	calls     map[uint64]*call     // waiting for the client's answer; nil if none
}

// ID is the socket's public id, unique in the cluster. It is also a room that
// the socket is in. It changes with each connection: do not use it to tell
// users apart.
func (s *Socket) ID() string { return s.id }

// Namespace is where the socket is connected.
func (s *Socket) Namespace() *Namespace { return s.namespace }

// Handshake is what the client sent when it opened its session: headers,
// query, address. Sockets of one client share it.
func (s *Socket) Handshake() *Handshake { return s.conn.session.Handshake() }

// Auth decodes the auth payload that the client sent to connect to this
// namespace into dst. If it sent none, dst is left alone.
func (s *Socket) Auth(dst any) error { return s.auth.Bind(dst) }

// Session is what carries the socket, and the sockets of the same client in other
// namespaces.
func (s *Socket) Session() *Session { return s.conn.session }

// Transport is the name of the transport that the client's session uses now.
func (s *Socket) Transport() string { return s.conn.session.Transport() }

// Context ends when the socket leaves; context.Cause tells why, as a
// *CloseError. It is the context that handlers get.
func (s *Socket) Context() context.Context { return s.ctx }

// Connected reports whether the client is connected to the namespace.
func (s *Socket) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.stage == connected && s.queue.cause == nil
}

// Recovered reports whether the client has lost its connection and has come
// back to where it was: its id, rooms and values are those it had. See
// Options.Recovery.
func (s *Socket) Recovered() bool { return s.recovered }

// Join puts the socket into rooms, at once. Joining a room twice does nothing.
// It returns ErrDisconnected after the socket has left, and ErrTooManyRooms at
// the first room that is beyond Options.MaxRooms.
func (s *Socket) Join(_ context.Context, rooms ...string) error {
	server := s.namespace.server
	var news []string
	err := s.namespace.rooms.join(s, rooms, server.options.MaxRooms, server.wantsRooms(&news))
	server.roomsJoined(s, news)
	s.changed()
	if errors.Is(err, ErrTooManyRooms) {
		server.stats.rooms.Add(1)
	}
	return err
}

// Leave takes the socket out of rooms, at once. Rooms it is not in are passed
// over. A socket that leaves the room of its own id can no longer be addressed
// by it. It returns ErrDisconnected after the socket has left.
func (s *Socket) Leave(_ context.Context, rooms ...string) error {
	server := s.namespace.server
	var news []string
	err := s.namespace.rooms.leave(s, rooms, server.wantsRooms(&news))
	server.roomsLeft(s, news)
	s.changed()
	return err
}

// changed takes note of what a client would come back to.
func (s *Socket) changed() {
	if n := s.namespace; n != nil && n.recovery != nil {
		n.recovery.changed(s)
	}
}

// Rooms returns the rooms the socket is in, its own id among them. After the
// socket has left, and in OnDisconnect, they are those it was in.
func (s *Socket) Rooms() []string { return s.namespace.rooms.of(s) }

// To returns a target: everybody but this socket who is in one of the rooms.
func (s *Socket) To(rooms ...string) Target { return s.Broadcast().To(rooms...) }

// In is To.
func (s *Socket) In(rooms ...string) Target { return s.To(rooms...) }

// Except returns a target: everybody but this socket, and but who is in one of
// the rooms.
func (s *Socket) Except(rooms ...string) Target { return s.Broadcast().Except(rooms...) }

// Broadcast returns a target: everybody in the namespace but this socket.
func (s *Socket) Broadcast() Target { return Target{namespace: s.namespace, except: []string{s.id}} }

// Disconnect ends the client's connection to this namespace. Its connections
// to others go on. Events that wait for their handlers are dropped; a handler
// that runs sees its context end. OnDisconnect follows.
func (s *Socket) Disconnect() { s.DisconnectCause(nil) }

// DisconnectCause is Disconnect for a reason that OnDisconnect and the context of
// the socket are to know: their cause wraps it. The client does not learn of it;
// an event that is emitted before reaches it.
func (s *Socket) DisconnectCause(why error) {
	if !s.hasLeft() {
		s.namespace.settle()
	}
	s.disconnect(why)
}

// disconnect is DisconnectCause when what was sent before is on its way to the client.
func (s *Socket) disconnect(why error) {
	cause := &CloseError{Reason: ServerDisconnect, Err: why}
	if s.end(cause, true) {
		s.conn.left(s)
		// If the session is gone there is nobody to tell.
		_ = s.write(codec.Packet{Type: codec.Disconnect, Namespace: s.name})
	}
}

// CloseSession disconnects the client from all of its namespaces, in the way of
// Disconnect, and then ends its session. The client does not come back by
// itself.
func (s *Socket) CloseSession() {
	if !s.hasLeft() {
		s.namespace.settle()
	}
	s.closeSession()
}

// closeSession is CloseSession when what was sent before is on its way to the client.
func (s *Socket) closeSession() {
	c := s.conn
	c.mu.Lock()
	sockets := slices.Clone(c.sockets)
	c.mu.Unlock()
	for _, other := range sockets {
		other.disconnect(nil)
	}
	c.session.Close(&CloseError{Reason: ForcedServerClose})
}

// write encodes a packet and queues it for the client.
func (s *Socket) write(p codec.Packet) error {
	packets, err := s.conn.server.encode(p)
	if err != nil {
		return err
	}
	defer packets.release()
	return sessionError(s.conn.session.Send(packets.list...))
}

// end begins the end of the socket, once, and reports whether it was this call
// that did. The socket leaves at once; what runs sees its context end. Events
// that wait are still handled, unless drop is set, and OnDisconnect comes after
// them.
func (s *Socket) end(cause *CloseError, drop bool) bool {
	s.mu.Lock()
	if s.queue.cause != nil {
		s.mu.Unlock()
		return false
	}
	s.queue.end(cause, drop)
	run := s.startLocked()
	n := s.namespace
	s.mu.Unlock()
	s.leave(n, cause)
	if run {
		s.conn.server.workers.run(s)
	}
	return true
}

// leave makes the socket unreachable and ends what waits for it. n is nil if it
// is not known yet where it was to be.
func (s *Socket) leave(n *Namespace, cause *CloseError) {
	switch {
	case n == nil:
	case n.recovery != nil:
		n.recovery.leave(s, cause)
	default:
		n.rooms.remove(s)
	}
	s.abandon(cause)
	s.cancel(cause)
}

// finish is the last that happens to a socket. stage is how far it had come.
func (s *Socket) finish(stage stage, cause *CloseError) {
	<-s.ctx.Done()   // whoever ends the socket has taken it out of everything
	defer s.vanish() // also if OnDisconnect ends the goroutine
	if stage == connected {
		s.disconnected(cause)
	}
}

// vanish lets go of what the socket was counted for.
func (s *Socket) vanish() {
	if s.finished != nil {
		if s.kept {
			s.namespace.recovery.bequeath(s)
		}
		close(s.finished)
	}
	if s.namespace != nil && !s.kept {
		s.conn.server.exit(s.namespace)
	}
	s.conn.finished()
}

// locate finds the namespace that the client asks for.
func (s *Socket) locate() {
	server := s.conn.server
	ctx, cancel := context.WithTimeout(s.ctx, server.options.ConnectTimeout)
	n, err := server.resolve(ctx, &NamespaceRequest{Name: s.name, Handshake: s.Handshake(), auth: s.auth})
	cancel()
	if err != nil {
		s.refused(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespace = n
	s.queue.stage = joining
}

// refused tells the client that it may not connect.
func (s *Socket) refused(err error) {
	if s.end(&CloseError{Reason: ServerDisconnect, Err: err}, true) {
		s.conn.remove(s)
		s.conn.server.report(s, "connect refused", "", err)
		s.conn.server.connectRefused(s.conn.session, s.name, s, err)
		// If the session is gone there is nobody to tell.
		_ = s.write(codec.Packet{Type: codec.ConnectError, Namespace: s.name, Data: s.conn.refusal(clientError(err))})
	}
}

// connect runs connect middleware and, if it consents, tells the client.
func (s *Socket) connect() {
	server, n := s.conn.server, s.namespace
	routes := n.load()
	back, err := s.admit(routes)
	if err != nil {
		s.releaseClaim()
		s.refused(err)
		return
	}
	reply, err := server.encode(codec.Packet{
		Type: codec.Connect, Namespace: n.name, Data: s.connectReply(),
	})
	if err != nil { // the codec is broken
		s.releaseClaim()
		server.report(s, "connect failed", "", err)
		s.Disconnect()
		return
	}
	defer reply.release()
	// The client may send events as soon as it has read the reply: be ready
	// for them first.
	s.mu.Lock()
	if s.queue.cause != nil {
		s.mu.Unlock()
		return
	}
	s.queue.stage = connected
	s.mu.Unlock()
	s.conn.joined()
	if n.recovery != nil {
		err = n.recovery.connect(s, back, reply)
	} else {
		err = n.rooms.connect(s, reply.list)
	}
	if err != nil {
		// Without the reply there is no way on. If the session is not ending
		// already, the client tries again. This one has not connected.
		s.mu.Lock()
		s.queue.stage = joining
		s.mu.Unlock()
		s.conn.session.Close(&CloseError{Reason: ForcedServerClose, Err: err})
		<-s.ctx.Done() // whoever has closed it may not have told us yet, and we must not connect twice
		return
	}
	server.socketConnected(s)
	for _, fn := range routes.onConnect {
		if err := guard(func() error { return fn(s.ctx, s) }); err != nil {
			server.report(s, "OnConnect failed", "", err)
			s.Disconnect()
			break
		}
	}
}

// releaseClaim gives up what the socket would have come back to.
func (s *Socket) releaseClaim() {
	if s.namespace.recovery != nil {
		s.namespace.recovery.release(s)
	}
}

// admit lets the client come back to where it was or has middleware decide. An
// error refuses it; what it would have come back to is to be released then.
func (s *Socket) admit(routes *routes) (back *state, err error) {
	n := s.namespace
	if routes.connect == nil && n.recovery == nil {
		return nil, nil // a context made of s.ctx would leave it larger
	}
	ctx, cancel := context.WithTimeout(s.ctx, n.server.options.ConnectTimeout)
	defer cancel()
	if n.recovery != nil {
		if back = n.recovery.claim(ctx, s); back == nil {
			n.recovery.name(s)
		} else if n.cluster == nil && !n.server.options.Recovery.RunMiddleware {
			return back, nil
		}
	}
	if routes.connect == nil {
		return back, ctx.Err()
	}
	err = guard(func() error { return routes.connect(ctx, &Request{Socket: s, connect: true}) })
	if err == nil {
		err = ctx.Err() // middleware that ignores its context took too long
	}
	return back, err
}

// resume makes s what it was before the connection was lost.
func (s *Socket) resume(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id, s.privateID, s.recovered = st.id, st.privateID, true
	s.values = maps.Clone(st.values) // others may come back to st yet
	if st.taken != nil {
		_ = st.taken.Data.Bind(&s.inherited) // another language's data may be anything
	}
}

// connectReply is what the client is told. Clients take the private id for a
// sign that recovery is on. Those of Socket.IO 2 are told nothing.
func (s *Socket) connectReply() any {
	if s.conn.old {
		return nil
	}
	return struct {
		SID string `json:"sid"`
		PID string `json:"pid,omitempty"`
	}{s.id, s.privateID}
}

// disconnected calls OnDisconnect, last of all.
func (s *Socket) disconnected(cause *CloseError) {
	s.conn.server.socketDisconnected(s, cause)
	ctx := context.WithoutCancel(s.ctx)
	for _, fn := range s.namespace.load().onDisconnect {
		err := guard(func() error {
			fn(ctx, s, cause)
			return nil
		})
		if err != nil {
			s.conn.server.report(s, "OnDisconnect failed", "", err)
		}
	}
}

// handle runs one event through its chain and answers it.
func (s *Socket) handle(r *Request) {
	event, args := r.Event, r.Args // middleware may change them
	routes := s.namespace.load()
	s.conn.server.eventReceived(s, event, args)
	for _, fn := range routes.onAny {
		s.tellAny(fn, event, args)
	}
	err := r.run(s.ctx, routes.event(event))
	if err != nil {
		s.conn.server.report(s, "handler failed", event, err)
	}
	if !r.acked {
		return
	}
	if err != nil {
		r.answer = []any{s.conn.server.options.ErrorAnswer(clientError(err))}
	}
	answer := codec.Packet{Type: codec.Ack, Namespace: s.namespace.name, ID: r.id, HasID: true, Args: r.answer}
	err = s.deliver(session.Delivery{}, false, answer)
	if err == nil || errors.Is(err, ErrDisconnected) || errors.Is(err, ErrSlowConsumer) {
		return
	}
	// The answer does not encode, or is too large. The client must not wait
	// for ever.
	s.conn.server.report(s, "answer not sent", event, err)
	answer.Args = []any{s.conn.server.options.ErrorAnswer(clientError(err))}
	_ = s.deliver(session.Delivery{}, false, answer) // fails only if the client has gone
}

// tellAny calls one OnAny function.
func (s *Socket) tellAny(fn func(ctx context.Context, s *Socket, event string, args Args), event string, args Args) {
	err := guard(func() error {
		fn(s.ctx, s, event, args)
		return nil
	})
	if err != nil {
		s.conn.server.report(s, "OnAny failed", event, err)
	}
}
