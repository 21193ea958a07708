package client

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// A Socket is the client in one namespace. Its methods may be called from any
// goroutine, and from handlers.
type Socket struct {
	// Fixed.
	manager   *Manager
	namespace string
	options   SocketOptions
	owner     bool            // the Manager is closed with the socket
	ctx       context.Context //nolint:containedctx // the life of the socket, for handlers
	cancel    context.CancelCauseFunc

	mu        sync.Mutex // guards what follows
	state     State
	active    bool    // wants to be connected
	closed    bool    // for good
	engine    *engine // that it is connected over; nil if it is not
	joined    *visit  // over it; nil if it is not
	joining   *visit  // that has begun; nil if none has
	left      *engine // that it was connected over before, if that may go on
	id        string
	pid       string // what it can come back with
	offset    string // of the last event
	recovered bool
	waiters   []*waiter

	early      []*codec.Received // events that came before the namespace was joined
	earlyBytes int

	buffer      []*buffered // what waits for a connection
	bufferBytes int
	calls       map[uint64]*call
	asked       uint64 // how many answers it has asked for
	retried     []*retried
	retryBytes  int

	queue     queue
	handlers  map[string][]*listener[handler]
	all       []*listener[func(context.Context, string, codec.Args)]
	outgoing  []*listener[outgoing]
	observers []*listener[func(context.Context, StateChange)]
	watchers  []*watcher
}

// A Socket takes descriptors of events.
var (
	_ event.Emitter  = (*Socket)(nil)
	_ event.Caller   = (*Socket)(nil)
	_ event.Listener = (*Socket)(nil)
)

// A waiter is a call of Connect.
type waiter struct {
	done  chan error // has room
	once  bool       // the first attempt counts
	fault error      // of the last attempt; guarded by Socket.mu
}

// Dial connects to a namespace, the path of the URL, of a server: the scheme
// is http, https, ws or wss, and https if there is none. It makes one attempt,
// with each of Options.Transports, and closes everything again if that fails,
// or ctx ends before it has succeeded; ctx is of no meaning afterwards. The
// error is a *ConnectError if the server has refused the namespace.
//
// Who wants to wait until there is a server, or to receive what it sends at
// once, uses New and Connect. Closing the Socket closes its connection.
func Dial(ctx context.Context, url string, o Options) (*Socket, error) {
	s, err := New(url, o)
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx, true); err != nil {
		_ = s.Close() // it has none
		return nil, err
	}
	return s, nil
}

// New makes the Socket of a namespace with a connection of its own, as Dial
// does, but does not connect it: that is left to Connect.
func New(url string, o Options) (*Socket, error) {
	m, namespace, err := newManager(url, o)
	if err != nil {
		return nil, err
	}
	s, err := m.Socket(namespace, o.Socket)
	if err != nil {
		return nil, err
	}
	s.owner = true
	return s, nil
}

func newSocket(m *Manager, namespace string, o SocketOptions) *Socket {
	s := &Socket{manager: m, namespace: namespace, options: o}
	s.ctx, s.cancel = context.WithCancelCause(m.ctx)
	return s
}

// Manager returns the socket's Manager, of which other namespaces can be had
// over the same connection.
func (s *Socket) Manager() *Manager { return s.manager }

// Namespace is the namespace.
func (s *Socket) Namespace() string { return s.namespace }

// Connect joins the namespace, and waits until that is done. Attempts that fail
// are repeated, as Options.Reconnection says; Connect returns when the server
// has refused the namespace, with a *ConnectError, when there will be no
// further attempt, or with the cause of ctx when that ends, joined with the
// error of the last attempt. The socket goes on trying then, until Disconnect
// or Close is called. There is nothing to wait for if it is connected.
func (s *Socket) Connect(ctx context.Context) error { return s.connect(ctx, false) }

func (s *Socket) connect(ctx context.Context, once bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	w := &waiter{done: make(chan error, 1), once: once}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return ErrClosed
	case s.engine != nil:
		s.mu.Unlock()
		return nil
	}
	s.active = true
	s.waiters = append(s.waiters, w)
	s.mu.Unlock()
	s.manager.want(s)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters = slices.DeleteFunc(s.waiters, func(other *waiter) bool { return other == w })
	return errors.Join(context.Cause(ctx), w.fault)
}

// resolveLocked ends the calls of Connect.
func (s *Socket) resolveLocked(err error) {
	for _, w := range s.waiters {
		w.done <- err
	}
	s.waiters = nil
}

// faultLocked tells calls of Connect of a failed attempt.
func (s *Socket) faultLocked(err error) {
	s.waiters = slices.DeleteFunc(s.waiters, func(w *waiter) bool {
		if w.once {
			w.done <- err
		}
		w.fault = err
		return w.once
	})
}

// State is the state of the socket now. It may be ahead of what OnState has
// told.
func (s *Socket) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Connected reports whether the socket is in its namespace.
func (s *Socket) Connected() bool { return s.State() == Connected }

// ID is what the server knows the socket by, empty while it is not connected.
func (s *Socket) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Recovered reports whether the server has restored, when the socket was
// connected last, what it had before: its id, its rooms, and the events it
// would have missed.
func (s *Socket) Recovered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recovered
}

// Transport is the transport that carries the socket now, empty while it is
// not connected.
func (s *Socket) Transport() string {
	s.mu.Lock()
	e := s.engine
	s.mu.Unlock()
	if e == nil {
		return ""
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.link.name
}

func (s *Socket) isActive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// Disconnect leaves the namespace, after what was emitted before has been sent.
// Events that have not been handled yet no longer are. The Manager closes the
// connection when none of its sockets needs it any more. Connect joins again.
func (s *Socket) Disconnect() {
	s.depart(&CloseError{Reason: ClientDisconnect}, true)
	s.manager.release()
}

// Close is Disconnect for good: calls that wait end with ErrClosed, and so do
// further ones; the context of handlers ends. It ends the Manager too if the
// socket was made by Dial or New, see Manager.Close. It returns nil.
func (s *Socket) Close() error {
	s.close()
	if s.owner {
		return s.manager.Close()
	}
	m := s.manager
	m.mu.Lock()
	if m.sockets[s.namespace] == s {
		delete(m.sockets, s.namespace)
	}
	m.mu.Unlock()
	m.release()
	return nil
}

// close is Close without the connection.
func (s *Socket) close() {
	cause := &CloseError{Reason: ClientDisconnect}
	s.mu.Lock()
	closed := s.closed
	s.closed = true // nothing is added any more
	s.mu.Unlock()
	if closed {
		return
	}
	s.depart(cause, true)
	s.mu.Lock()
	s.queue.end()
	s.changeLocked(StateChange{State: Closed, final: true})
	failed := s.dropBufferLocked()
	s.mu.Unlock()
	s.tellFailed(failed)
	s.cancel(cause)
}

// depart makes the socket inactive. tell: the server is to know.
func (s *Socket) depart(cause *CloseError, tell bool) {
	s.mu.Lock()
	if !s.active {
		s.mu.Unlock()
		return
	}
	s.active = false
	e := s.engine
	if e == nil {
		s.changeLocked(StateChange{State: Disconnected, final: true})
	} else if tell {
		packets, err := s.manager.encode(&codec.Packet{Type: codec.Disconnect, Namespace: s.namespace})
		if err == nil {
			_ = e.push(packets, math.MaxInt) // the connection may be over
		}
	}
	if tell {
		s.queue.drop()
	}
	failed := s.detachLocked(cause, true)
	s.resolveLocked(&disconnectedError{cause})
	s.mu.Unlock()
	if e != nil {
		e.flush()
	}
	s.tellFailed(failed)
}

// encode turns a packet into those of the layer below.
func (m *Manager) encode(p *codec.Packet) ([]transports.Packet, error) {
	frames, err := m.options.Codec.Encode(nil, p)
	if err != nil {
		return nil, err
	}
	packets := make([]transports.Packet, len(frames))
	for i, f := range frames {
		packets[i] = transports.Packet{Type: transports.Message, Binary: f.Binary, Data: f.Data}
	}
	return packets, nil
}
