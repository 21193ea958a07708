package core

import (
	"context"
	"errors"
	"sync"

	"github.com/upshift-go/upshift/codec"
)

// A Socket is one client in one namespace. Its methods are safe for concurrent
// use, from handlers and from anywhere else.
type Socket struct {
	// Set before anybody else knows the socket.
	id        string
	namespace *Namespace
	conn      *connection
	auth      codec.Raw
	ctx       context.Context //nolint:containedctx // a socket is a life, and this is how long it lasts
	cancel    context.CancelCauseFunc

	// Guarded by namespace.rooms.mu.
	rooms   []string // without the socket's own
	ownRoom bool
	gone    bool // left for good; rooms stay to be read

	mu     sync.Mutex // guards what follows
	queue  queue
	values map[any]any
	calls  map[uint64]*call // waiting for the client's answer; nil if none
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

// Join puts the socket into rooms, at once. Joining a room twice does nothing.
// It returns ErrDisconnected after the socket has left.
func (s *Socket) Join(_ context.Context, rooms ...string) error {
	if !s.namespace.rooms.join(s, rooms) {
		return ErrDisconnected
	}
	return nil
}

// Leave takes the socket out of rooms, at once. Rooms it is not in are passed
// over. A socket that leaves the room of its own id can no longer be addressed
// by it. It returns ErrDisconnected after the socket has left.
func (s *Socket) Leave(_ context.Context, rooms ...string) error {
	if !s.namespace.rooms.leave(s, rooms) {
		return ErrDisconnected
	}
	return nil
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

// Emit sends an event to the client. It returns when the event is queued, and
// does not wait for the client. See Target.Emit for the arguments. The error
// says that the event cannot be encoded, that it is larger than the outbox
// (ErrTooLarge), that the client is too slow and has been disconnected for it
// (ErrSlowConsumer), or that the socket has left (ErrDisconnected).
func (s *Socket) Emit(_ context.Context, event string, args ...any) error {
	return s.send(codec.Packet{Type: codec.Event, Namespace: s.namespace.name, Event: event, Args: args})
}

// Disconnect ends the client's connection to this namespace. Its connections
// to others go on. Events that wait for their handlers are dropped; a handler
// that runs sees its context end. OnDisconnect follows.
func (s *Socket) Disconnect() {
	cause := &CloseError{Reason: ServerDisconnect}
	if s.end(cause, true) {
		s.conn.left(s)
		// If the session is gone there is nobody to tell.
		_ = s.write(codec.Packet{Type: codec.Disconnect, Namespace: s.namespace.name})
	}
}

// send writes a packet of a connected socket.
func (s *Socket) send(p codec.Packet) error {
	s.mu.Lock()
	left := s.queue.cause != nil
	s.mu.Unlock()
	if left {
		return ErrDisconnected
	}
	return s.write(p)
}

// write encodes a packet and queues it for the client.
func (s *Socket) write(p codec.Packet) error {
	packets, err := s.namespace.server.encode(p)
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
	s.mu.Unlock()
	s.leave(cause)
	if run {
		s.conn.server.workers.run(s)
	}
	return true
}

// leave makes the socket unreachable and ends what waits for it.
func (s *Socket) leave(cause *CloseError) {
	s.namespace.rooms.remove(s)
	s.cancel(cause)
}

// connect runs connect middleware and, if it consents, tells the client. It
// reports whether the socket is connected.
func (s *Socket) connect() bool {
	server := s.conn.server
	routes := s.namespace.routes.Load()
	ctx, cancel := context.WithTimeout(s.ctx, server.options.ConnectTimeout)
	err := guard(func() error { return routes.connect(ctx, &Request{Socket: s, connect: true}) })
	if err == nil {
		err = ctx.Err() // middleware that ignores its context took too long
	}
	cancel()
	if err != nil {
		if s.end(&CloseError{Reason: ServerDisconnect, Err: err}, true) {
			s.conn.remove(s)
			server.report(s, "connect refused", "", err)
			// If the session is gone there is nobody to tell.
			_ = s.write(codec.Packet{Type: codec.ConnectError, Namespace: s.namespace.name, Data: refusal(clientError(err))})
		}
		return false
	}
	reply, err := server.encode(codec.Packet{
		Type: codec.Connect, Namespace: s.namespace.name, Data: connectReply{SID: s.id},
	})
	if err != nil { // the codec is broken
		server.report(s, "connect failed", "", err)
		s.Disconnect()
		return false
	}
	defer reply.release()
	// The client may send events as soon as it has read the reply: be ready
	// for them first.
	s.mu.Lock()
	if s.queue.cause != nil {
		s.mu.Unlock()
		return false
	}
	s.queue.stage = connected
	s.mu.Unlock()
	s.conn.joined()
	s.namespace.rooms.connect(s, reply)
	for _, fn := range routes.onConnect {
		if err := guard(func() error { return fn(s.ctx, s) }); err != nil {
			server.report(s, "OnConnect failed", "", err)
			s.Disconnect()
			break
		}
	}
	return true
}

type connectReply struct {
	SID string `json:"sid"`
}

// disconnected calls OnDisconnect, last of all.
func (s *Socket) disconnected(cause *CloseError) {
	ctx := context.WithoutCancel(s.ctx)
	for _, fn := range s.namespace.routes.Load().onDisconnect {
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
func (s *Socket) handle(r *codec.Received) {
	req := &Request{Socket: s, Event: r.Event, Args: r.Args, acked: r.HasID}
	h := s.namespace.routes.Load().event(r.Event)
	err := guard(func() error { return h(s.ctx, req) })
	if err != nil {
		s.conn.server.report(s, "handler failed", r.Event, err)
		if !r.HasID {
			return
		}
		req.answer = []any{s.conn.server.options.ErrorAnswer(clientError(err))}
	}
	if !r.HasID {
		return
	}
	answer := codec.Packet{Type: codec.Ack, Namespace: s.namespace.name, ID: r.ID, HasID: true, Args: req.answer}
	err = s.send(answer)
	if err == nil || errors.Is(err, ErrDisconnected) || errors.Is(err, ErrSlowConsumer) {
		return
	}
	// The answer does not encode, or is too large. The client must not wait
	// for ever.
	s.conn.server.report(s, "answer not sent", r.Event, err)
	answer.Args = []any{s.conn.server.options.ErrorAnswer(clientError(err))}
	_ = s.send(answer) // fails only if the client has gone
}
