package core

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// A connection is one session seen from above: it decodes what arrives and
// hands it to the sockets of its namespaces.
type connection struct {
	server  *Server
	session *session.Session
	old     bool // the client is one of Socket.IO 2, see eio3.go

	// Used by the reader only.
	decoder codec.Decoder
	recent  *Socket // that the last event was for, as the next one probably is

	mu      sync.Mutex    // guards what follows
	sockets []*Socket     // joining and connected; few, so a list beats a map
	working int           // sockets whose worker is not through: those, and some that have left
	through chan struct{} // closed when a worker is; nil if nobody waits
	parted  []string      // namespaces whose socket the server disconnected
	timer   *time.Timer
	closed  *CloseError
}

var _ session.Receiver = (*connection)(nil)

// Opened implements session.Handler.
func (srv *Server) Opened(s *session.Session) session.Receiver {
	c := &connection{
		server: srv, session: s, decoder: srv.options.Codec.NewDecoder(),
		old: s.Revision() == transports.Revision3,
	}
	c.mu.Lock()
	c.timer = time.AfterFunc(srv.options.ConnectTimeout, func() {
		s.Close(&CloseError{Reason: ForcedServerClose, Err: errConnectTimeout})
	})
	c.mu.Unlock()
	srv.sessionOpened(s)
	if c.old {
		c.joinMain()
	}
	return c
}

var (
	errConnectTimeout = errors.New("no namespace joined in time")
	errWrongState     = errors.New("packet not allowed in this state")
)

// Message implements session.Receiver. From here to where the payload is parsed frames
// are small: the stack of a reader that waits has been halved, and should not have to
// grow again for an ordinary event.
func (c *connection) Message(p transports.Packet) {
	if err := c.take(c.decoder.Decode(codec.Frame{Binary: p.Binary, Data: p.Data})); err != nil {
		// The reference calls it a forced close, whatever was wrong.
		c.session.Close(&CloseError{Reason: ForcedClose, Err: err})
	}
}

// take takes what the decoder made of a message.
func (c *connection) take(r codec.Received, complete bool, err error) error {
	switch {
	case err != nil:
		c.server.stats.badPackets.Add(1)
		return err
	case !complete:
		return nil
	case c.old:
		splitNamespace(&r)
	}
	return c.route(&r)
}

// route hands a packet to its socket. An error is a violation of the protocol.
func (c *connection) route(r *codec.Received) error {
	if s := c.recent; r.Type == codec.Event && s != nil && s.name == r.Namespace && s.enqueue(r) {
		return nil
	}
	s, err := c.find(r)
	if err != nil || s == nil {
		return err
	}
	switch r.Type {
	case codec.Event:
		c.recent = s
		s.enqueue(r)
	case codec.Ack:
		s.resolve(r)
	case codec.Disconnect:
		if s.end(&CloseError{Reason: ClientDisconnect}, false) {
			c.remove(s)
		}
	case codec.Connect, codec.ConnectError: // find has dealt with them
	}
	return nil
}

// find returns the connected socket that a packet is for, or nil if there is
// nothing to do with it any more. A packet that asks to join is dealt with
// here.
func (c *connection) find(r *codec.Received) (*Socket, error) {
	c.mu.Lock()
	i := slices.IndexFunc(c.sockets, func(s *Socket) bool { return s.name == r.Namespace })
	var s *Socket
	if i >= 0 {
		s = c.sockets[i]
	}
	parted := slices.Contains(c.parted, r.Namespace)
	c.mu.Unlock()
	switch {
	case r.Type == codec.Connect && s == nil:
		return nil, c.join(r)
	case r.Type == codec.Connect, r.Type == codec.ConnectError:
		return nil, errWrongState
	case s == nil && parted:
		// Sent before the client knew that it had been disconnected. It
		// must not cost it its other namespaces.
		return nil, nil
	case s == nil || !s.accepting():
		return nil, errWrongState
	}
	return s, nil
}

// accepting reports whether the client may send packets to the socket.
func (s *Socket) accepting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.stage > joining || s.queue.cause != nil
}

// join starts a socket in the namespace that the client asks for.
func (c *connection) join(r *codec.Received) error {
	srv := c.server
	c.settle()
	s := &Socket{id: c.socketID(r.Namespace), name: r.Namespace, conn: c, auth: r.Data}
	s.namespace = srv.enter(r.Namespace)
	switch {
	case s.namespace != nil:
		s.queue.stage = joining
	case !srv.hasDynamics():
		return c.refuse(r.Namespace, errInvalidNamespace)
	}
	s.ctx, s.cancel = context.WithCancelCause(c.session.Handshake().Values())
	if srv.options.Recovery != nil {
		s.finished = make(chan struct{})
	}
	c.mu.Lock()
	full := len(c.sockets) >= srv.options.MaxNamespaces
	if c.closed != nil || full {
		cause := c.closed
		c.mu.Unlock()
		if s.namespace != nil {
			srv.exit(s.namespace)
		}
		if cause == nil {
			srv.stats.namespaces.Add(1)
			return c.refuse(r.Namespace, errTooManyNamespaces)
		}
		return nil
	}
	c.sockets = append(c.sockets, s)
	c.working++
	c.parted = slices.DeleteFunc(c.parted, func(name string) bool { return name == s.name })
	c.mu.Unlock()
	s.mu.Lock()
	run := s.startLocked()
	s.mu.Unlock()
	if run {
		srv.workers.run(s)
	}
	return nil
}

// settle waits while too many sockets have left that still have events to handle:
// a client that joins and leaves all the time would get around the limits of
// each. It is called by the reader.
func (c *connection) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.closed == nil && c.working-len(c.sockets) >= c.server.options.MaxNamespaces {
		if c.through == nil {
			c.through = make(chan struct{})
		}
		through := c.through
		c.mu.Unlock()
		<-through // closed by a worker, or by the end of the session
		c.mu.Lock()
	}
}

// finished says that the worker of a socket is through.
func (c *connection) finished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working--
	c.release()
}

// release lets a reader that waits for workers look again. The lock is held.
func (c *connection) release() {
	if c.through != nil {
		close(c.through)
		c.through = nil
	}
}

var errTooManyNamespaces = &Error{Code: CodeTooManyNamespaces, Message: "too many namespaces"}

// refuse tells the client that it may not connect to a namespace.
func (c *connection) refuse(namespace string, why *Error) error {
	c.server.connectRefused(c.session, namespace, nil, why)
	packets, err := c.server.encode(codec.Packet{Type: codec.ConnectError, Namespace: namespace, Data: c.refusal(why)})
	if err != nil {
		return err
	}
	defer packets.release()
	_ = c.session.Send(packets.list...) // if the session is gone there is nobody to tell
	return nil
}

// joined stops the connect timer, for good.
func (c *connection) joined() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil // sessions are many, and have this behind them
	}
}

// remove forgets a socket that has ended.
func (c *connection) remove(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(s)
}

func (c *connection) removeLocked(s *Socket) {
	c.sockets = slices.DeleteFunc(c.sockets, func(other *Socket) bool { return other == s })
}

// left forgets a socket that the server has disconnected, and remembers its
// namespace: what the client sends there was sent before it knew.
func (c *connection) left(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(s)
	if slices.Contains(c.parted, s.name) {
		return
	}
	if len(c.parted) == c.server.options.MaxNamespaces {
		c.parted = slices.Delete(c.parted, 0, 1)
	}
	c.parted = append(c.parted, s.name)
}

// Closed implements session.Receiver.
func (c *connection) Closed(cause *transports.CloseError) {
	c.joined()
	c.mu.Lock()
	c.closed = cause
	sockets := c.sockets
	c.sockets = nil
	c.release()
	c.mu.Unlock()
	c.server.log.LogAttrs(context.Background(), slog.LevelDebug, "session closed",
		slog.String("reason", string(cause.Reason)), slog.Any("cause", cause.Err),
		slog.String("remote", c.session.Handshake().RemoteAddr))
	c.server.sessionClosed(c.session, cause)
	for _, s := range sockets {
		s.end(cause, false)
	}
}

// newID makes the public id of a socket, in the form of the reference's: 20
// characters.
func newID() string {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
