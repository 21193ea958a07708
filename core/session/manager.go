package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// Options configure a Manager. The zero value of every field is its default.
type Options struct {
	// Transports that sessions may use. At least one is needed. Those that
	// are carried by HTTP implement transports.HTTPTransport.
	Transports []transports.Transport

	// PingInterval is the time between a pong and the next ping. Default
	// 25 s.
	PingInterval time.Duration
	// PingTimeout is how long the client may take to answer a ping. Default
	// 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long an upgrade may take. Default 10 s.
	UpgradeTimeout time.Duration
	// DisableUpgrades keeps sessions on the transport they opened on.
	DisableUpgrades bool

	// MaxPayload is the largest message in bytes, type digit included: the
	// whole body of a POST, or one WebSocket message. Default 1,000,000. It
	// is announced to clients.
	MaxPayload int64
	// MaxOutboxBytes bounds what may wait for one client, counting 64 bytes
	// for each packet besides its data. What happens to a client that falls
	// further behind, the Delivery of what is sent to it says: by default it
	// is closed as a slow consumer. Default 4 MiB.
	MaxOutboxBytes int
	// MaxOutboxPackets bounds the same in packets; an event is one, and one
	// more for each of its attachments. Default 65,536, which is what
	// the default MaxOutboxBytes has room for.
	MaxOutboxPackets int
	// MaxVolatileBytes is how much may wait for a client that is sent
	// something volatile. Beyond it, that is dropped, as it is while the
	// transport is not ready. Default 64 KiB.
	MaxVolatileBytes int
	// MaxSessions bounds the number of sessions. Handshakes beyond it are
	// refused with status 503 and ErrTooManySessions. Default 0: no limit.
	MaxSessions int
	// MaxSessionsPerAddress bounds the sessions of one address. Handshakes
	// beyond it are refused with status 429 and
	// ErrTooManySessionsFromAddress. Default 0: no limit.
	MaxSessionsPerAddress int
	// MaxConnectRate bounds handshakes per second. One second's worth, but at
	// least one, may come at once. Handshakes beyond it are refused with
	// status 503 and ErrConnectRate. Default 0: no limit.
	MaxConnectRate float64
	// MaxConnectRatePerAddress bounds the same for one address. Handshakes
	// beyond it are refused with status 429 and ErrConnectRateFromAddress.
	// Default 0: no limit.
	MaxConnectRatePerAddress float64
	// ClientAddress says which address a handshake counts for; "" is none.
	// It is called once for each handshake if there is a limit for addresses,
	// and must not block. Behind a proxy it is the place to read
	// X-Forwarded-For, if the proxy is one to be trusted. Default: the
	// address of the TCP peer without the port, and of an IPv6 address the
	// network of 64 bits.
	ClientAddress func(h *transports.Handshake) string
	// ShutdownSpread is the time over which Shutdown spreads the closing of
	// the sessions, so that their clients do not all come back at once.
	// Default 0: they are closed at once.
	ShutdownSpread time.Duration

	// AllowEIO3 lets clients in that speak revision 3 of the protocol, on
	// transports that can. Default: they are refused with
	// CodeUnsupportedVersion.
	AllowEIO3 bool

	// AllowRequest decides whether a handshake may go on; its error's text is the
	// body of the 403. It is not called for requests of a session that exists. It
	// runs on the goroutine of the request and may block it. It may set
	// h.Context, whose values handlers then find in theirs. Default: every
	// handshake is allowed.
	AllowRequest func(ctx context.Context, h *transports.Handshake) error
	// GenerateID makes the session id. It must be unguessable and unique;
	// an error, or an id that is in use, refuses the handshake. Default: 15
	// bytes of crypto/rand, 20 characters.
	GenerateID func(h *transports.Handshake) (string, error)
	// SessionTag is what session ids begin with, 4 characters of A-Z, a-z, 0-9,
	// - and _, so that the servers of a cluster can tell whose a session is. 96
	// bits of the id are random then. Not with GenerateID. Default: none.
	SessionTag string
	// Headers is called before the response head of a handshake, a poll, a
	// data request or an upgrade is written and may set fields on it.
	// initial is true for the first response of a session. Default: none.
	Headers func(ex transports.Exchange, initial bool)
	// OnReject is called for each request that is refused with an Engine.IO
	// error. Default: none.
	OnReject func(e *RequestError)
	// OnUpgrade is called when an upgrade has ended: with a nil error when the
	// session has moved to the transport, and otherwise with the reason why
	// it stays where it is, or has ended. It is called once for each candidate, on
	// any goroutine, and must not block. Default: none.
	OnUpgrade func(s *Session, transport string, err error)
	// Cookie carries the session id for sticky load balancers. Default:
	// none.
	Cookie *Cookie
	// CORS lets pages of other origins connect. Default: none may, only those of
	// the server's own.
	CORS *CORS

	// Logger takes one record per refused request, at debug level. Default:
	// none.
	Logger *slog.Logger
}

// withDefaults validates o and fills in its defaults.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.PingInterval, 25*time.Second)
	setDefault(&o.PingTimeout, 20*time.Second)
	setDefault(&o.UpgradeTimeout, 10*time.Second)
	setDefault(&o.MaxPayload, 1_000_000)
	setDefault(&o.MaxOutboxBytes, 4<<20)
	setDefault(&o.MaxOutboxPackets, 1<<16)
	setDefault(&o.MaxVolatileBytes, 64<<10)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.PingInterval < time.Millisecond:
		return o, errors.New("session: PingInterval is below one millisecond")
	case o.PingTimeout < time.Millisecond:
		return o, errors.New("session: PingTimeout is below one millisecond")
	case o.UpgradeTimeout < 0:
		return o, errors.New("session: UpgradeTimeout is negative")
	case o.MaxPayload < 0:
		return o, errors.New("session: MaxPayload is negative")
	case o.MaxOutboxBytes < 0:
		return o, errors.New("session: MaxOutboxBytes is negative")
	case o.MaxSessions < 0, o.MaxSessionsPerAddress < 0, o.MaxConnectRate < 0, o.MaxConnectRatePerAddress < 0:
		return o, errors.New("session: a limit on sessions or handshakes is negative")
	case o.ShutdownSpread < 0:
		return o, errors.New("session: ShutdownSpread is negative")
	case o.MaxOutboxPackets < 0:
		return o, errors.New("session: MaxOutboxPackets is negative")
	case o.MaxVolatileBytes < 0:
		return o, errors.New("session: MaxVolatileBytes is negative")
	case o.SessionTag != "" && !validTag(o.SessionTag):
		return o, errors.New("session: SessionTag is not 4 characters of A-Z, a-z, 0-9, - and _")
	case o.SessionTag != "" && o.GenerateID != nil:
		return o, errors.New("session: SessionTag and GenerateID are both set")
	case len(o.Transports) == 0:
		return o, errors.New("session: Transports is empty")
	}
	for i, t := range o.Transports {
		if slices.ContainsFunc(o.Transports[:i], func(u transports.Transport) bool { return u.Name() == t.Name() }) {
			return o, fmt.Errorf("session: Transports has %q twice", t.Name())
		}
	}
	if err := o.CORS.validate(); err != nil {
		return o, err
	}
	return o, o.Cookie.validate()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Manager opens sessions, finds them again, and ends them. All methods are
// safe for concurrent use.
type Manager struct {
	handler   Handler
	options   Options
	heartbeat *heartbeat
	gate      *gate
	flushers  []*flusher
	turn      atomic.Uint32 // which flusher the next session gets
	sessions  registry
	counters  counters

	mu     sync.Mutex    // guards what follows
	count  int           // of sessions, from before they are registered
	closed bool          // no session opens any more
	empty  chan struct{} // closed when closed is set and count is 0
}

// New makes a Manager that passes its sessions to h.
func New(h Handler, o Options) (*Manager, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		handler:   h,
		options:   o,
		heartbeat: newHeartbeat(o.PingInterval, o.PingTimeout),
		flushers:  make([]*flusher, runtime.GOMAXPROCS(0)),
		empty:     make(chan struct{}),
	}
	m.gate = newGate(&m.options)
	for i := range m.flushers {
		m.flushers[i] = new(flusher)
	}
	return m, nil
}

// Len is the number of sessions.
func (m *Manager) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// Closed reports whether Shutdown has begun.
func (m *Manager) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// All yields the sessions there are. No lock is held meanwhile, so one that
// opens or ends during the loop may be among them or not.
func (m *Manager) All() iter.Seq[*Session] { return m.sessions.all() }

// MaxPayload implements transports.Host.
func (m *Manager) MaxPayload() int64 { return m.options.MaxPayload }

var _ transports.Host = (*Manager)(nil)

// Open implements transports.Host.
func (m *Manager) Open(t transports.Transport, h transports.Handshake, conn transports.Conn) (transports.Sink, error) {
	if !slices.Contains(m.options.Transports, t) {
		return nil, fmt.Errorf("session: transport %q is not configured", t.Name())
	}
	if h.SessionID != "" {
		s := m.sessions.get(h.SessionID)
		if s == nil {
			return nil, &RequestError{Code: CodeUnknownSession, Transport: t.Name(), SessionID: h.SessionID}
		}
		return sink(s.offer(t, conn))
	}
	from := asker{
		origin: h.Header.Get("Origin"), host: h.Header.Get("Host"), fetchSite: h.Header.Get("Sec-Fetch-Site"), secure: h.Secure,
	}
	if !m.mayConnect(from) {
		m.counters.originRefused.Add(1)
		return nil, &RequestError{Code: CodeForbidden, Context: "ORIGIN_REFUSED", Transport: t.Name(), Err: ErrOrigin}
	}
	address := m.gate.address(&h)
	if err := m.mayOpen(address); err != nil {
		return nil, err
	}
	if m.options.AllowRequest != nil {
		if err := m.options.AllowRequest(context.Background(), &h); err != nil {
			return nil, &RequestError{Code: CodeForbidden, Transport: t.Name(), Err: err}
		}
	}
	id, err := m.newID(&h)
	if err != nil {
		return nil, err
	}
	return sink(m.open(t, opening{id: id, revision: transports.Revision4, address: address, handshake: &h}, conn))
}

// sink keeps a nil *link from becoming a Sink that is not nil.
func sink(l *link, err error) (transports.Sink, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// An opening is a session to be.
type opening struct {
	id        string
	revision  int
	address   string // that it counts for
	handshake *transports.Handshake
}

// open starts a session on conn.
func (m *Manager) open(t transports.Transport, o opening, conn transports.Conn) (*link, error) {
	if err := m.admit(o.address); err != nil {
		return nil, err
	}
	m.counters.opened.Add(1)
	turn := m.turn.Add(1)
	o.handshake.SessionID = ""
	s := &Session{
		manager:   m,
		flusher:   m.flushers[int(turn)%len(m.flushers)],
		id:        o.id,
		revision:  o.revision,
		address:   o.address,
		handshake: o.handshake,
	}
	l := &link{session: s, transport: t, conn: conn}
	s.link = l
	s.outbox.push(m.openPacket(s, t))
	receiver := m.handler.Opened(s)
	s.mu.Lock()
	s.receiver = receiver
	ended := s.cause
	if ended == nil {
		m.heartbeat.start(s)
	}
	s.mu.Unlock()
	if ended != nil {
		receiver.Closed(ended)
		s.fail(ended)
		return nil, ErrClosed
	}
	if !m.sessions.add(s) {
		s.fail(&transports.CloseError{Reason: transports.ForcedClose, Err: errDuplicateID})
		return nil, errDuplicateID
	}
	s.mu.Lock()
	over := s.state == closed
	s.mu.Unlock()
	if over { // before there was anything to remove
		m.sessions.remove(s)
	}
	m.mu.Lock()
	late := m.closed
	m.mu.Unlock()
	if late { // Shutdown may have looked at the sessions before this one was among them
		s.Close(&transports.CloseError{Reason: transports.ForcedClose, Err: ErrShutdown})
	}
	return l, nil
}

// mayOpen takes a handshake's share of the rates, and reports why no session can
// open now, if so. It is asked before anything costly is done; admit has the
// last word.
func (m *Manager) mayOpen(address string) error {
	m.mu.Lock()
	err := m.fullLocked()
	m.mu.Unlock()
	if err == nil && m.gate.full(address) {
		err = ErrTooManySessionsFromAddress
	}
	if err == nil {
		err = m.gate.knock(address)
	}
	m.counters.refused(err)
	return err
}

// admit counts a session in, or refuses it.
func (m *Manager) admit(address string) error {
	if err := m.gate.enter(address); err != nil {
		m.counters.refused(err)
		return err
	}
	m.mu.Lock()
	err := m.fullLocked()
	if err == nil {
		m.count++
	}
	m.mu.Unlock()
	if err != nil {
		m.gate.exit(address)
		m.counters.refused(err)
	}
	return err
}

func (m *Manager) fullLocked() error {
	switch {
	case m.closed:
		return ErrShutdown
	case m.options.MaxSessions > 0 && m.count >= m.options.MaxSessions:
		return ErrTooManySessions
	}
	return nil
}

// release counts a session out that has ended, and whose receiver knows.
func (m *Manager) release(s *Session) {
	m.counters.ended(s.cause)
	m.gate.exit(s.address)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count--
	if m.closed && m.count == 0 {
		close(m.empty)
	}
}
