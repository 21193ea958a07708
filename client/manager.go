package client

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports/ws"
)

// A Manager keeps one connection to a server, which the sockets of several
// namespaces share. It connects when a socket wants to be connected, opens the
// connection again when it is lost, and closes it when no socket wants it any
// more. Its methods may be called from any goroutine.
//
// Locks are taken in this order: Manager, Socket, engine. None is held while a
// conn or a handler is called.
type Manager struct {
	// Fixed.
	options  Options
	endpoint string // scheme, host and path, up to the question mark
	query    string // what is added to each query
	http     *http.Client
	owned    *http.Transport // of http, if it is ours
	dialer   *ws.Dialer
	ctx      context.Context //nolint:containedctx // the life of the Manager
	cancel   context.CancelCauseFunc
	running  group // every goroutine but those of handlers

	mu       sync.Mutex // guards what follows
	sockets  map[string]*Socket
	engine   *engine            // open; nil otherwise
	attempt  context.CancelFunc // ends the goroutine that connects; nil if there is none
	remember bool               // WebSocket has worked
	closed   bool
}

// NewManager makes a Manager for the server at a URL, whose scheme is http,
// https, ws or wss, and https if it has none. The path of the URL is not the
// Manager's: that of a namespace is Socket's, that of the server is
// Options.Path. The Manager does not connect yet.
func NewManager(url string, o Options) (*Manager, error) {
	m, _, err := newManager(url, o)
	return m, err
}

func newManager(url string, o Options) (m *Manager, namespace string, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, "", err
	}
	address, namespace, query, err := parseURL(url)
	if err != nil {
		return nil, "", fmt.Errorf("client: %w", err)
	}
	for name, values := range o.Query {
		query[name] = append(query[name], values...)
	}
	m = &Manager{
		options: o,
		// Servers that are mounted without the slash at the end take it too.
		endpoint: address + "/" + strings.Trim(o.Path, "/") + "/?",
		query:    query.Encode(),
		http:     o.HTTPClient,
		dialer:   sharedDialer(o.Compression),
		sockets:  make(map[string]*Socket, 1),
	}
	if strings.Trim(o.Path, "/") == "" {
		m.endpoint = address + "/?"
	}
	if m.http != nil && m.http.Timeout > 0 {
		patient := *m.http // a poll takes as long as the server has nothing to say
		patient.Timeout = 0
		m.http = &patient
	}
	if m.http == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return nil, "", fmt.Errorf("client: %w", err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true) // WebSocket needs it, and its connections end when they are told to
		m.owned = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			Protocols:             protocols,
			MaxIdleConnsPerHost:   2, // a GET and a POST
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   o.Timeout,
			ExpectContinueTimeout: time.Second,
		}
		m.http = &http.Client{Transport: m.owned, Jar: jar}
	}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	return m, namespace, nil
}

// sharedDialer returns a dialer for connections with the given compression.
// Those without share one, and its buffers.
func sharedDialer(c ws.Compression) *ws.Dialer {
	if c.Enabled {
		return ws.NewDialer(ws.Options{Compression: c})
	}
	return plainDialer()
}

var plainDialer = sync.OnceValue(func() *ws.Dialer { return ws.NewDialer(ws.Options{}) })

// Socket returns the socket of a namespace. There is one for each; o is heeded
// when it is made, that is by the first call. It is not connected: call
// Connect. An error is one in o, in the namespace, or ErrClosed.
func (m *Manager) Socket(namespace string, o SocketOptions) (*Socket, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(namespace, "/") {
		namespace = "/" + namespace
	}
	if err := (&codec.Packet{Type: codec.Disconnect, Namespace: namespace}).Validate(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	s := m.sockets[namespace]
	if s == nil {
		s = newSocket(m, namespace, o)
		m.sockets[namespace] = s
	}
	return s, nil
}

// Close closes all sockets, and the connection after what was emitted before
// has been sent, for which it waits up to 5 seconds. Nothing of the Manager
// runs any more when it returns, but for handlers that do not heed the end of
// their context. It returns nil.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true // there will be no further sockets
	sockets := m.socketsLocked()
	m.mu.Unlock()
	for _, s := range sockets {
		s.close()
	}
	m.mu.Lock()
	e := m.engine
	m.stopLocked()
	m.mu.Unlock()
	if e != nil {
		m.leave(e)
	}
	m.cancel(ErrClosed)
	if m.owned != nil {
		// Before and after: a connection that a canceled request has used
		// ends by itself, one that it has not is kept.
		m.owned.CloseIdleConnections()
		defer m.owned.CloseIdleConnections()
	}
	m.running.wait()
	return nil
}

// closeTimeout is how long a connection has to send what is left.
const closeTimeout = 5 * time.Second

// leave ends an engine and waits for it.
func (m *Manager) leave(e *engine) {
	e.leave()
	patience := time.NewTimer(closeTimeout)
	defer patience.Stop()
	select {
	case <-e.over:
	case <-patience.C:
		e.end(&CloseError{Reason: ForcedClose})
	}
}

// spawn runs f on a goroutine that Close waits for.
func (m *Manager) spawn(f func()) { m.running.run(f) }

func (m *Manager) socketsLocked() []*Socket { return slices.Collect(maps.Values(m.sockets)) }

// want connects a socket that has become active, or has the goroutine that
// connects do so.
func (m *Manager) want(s *Socket) {
	m.mu.Lock()
	e := m.engine
	// It may have been disconnected meanwhile, and nobody would end the attempt.
	if e == nil && m.attempt == nil && !m.closed && s.isActive() {
		m.connectLocked(nil)
	}
	m.mu.Unlock()
	if e != nil {
		s.join(e)
	}
}

// release is called when a socket has become inactive. The last one closes the
// connection.
func (m *Manager) release() {
	m.mu.Lock()
	for _, s := range m.sockets {
		if s.isActive() {
			m.mu.Unlock()
			return
		}
	}
	e := m.engine
	m.engine = nil
	m.stopLocked()
	if e != nil {
		m.spawn(func() { m.leave(e) })
	}
	m.mu.Unlock()
}

// stopLocked ends the goroutine that connects.
func (m *Manager) stopLocked() {
	if m.attempt != nil {
		m.attempt()
		m.attempt = nil
	}
}

// received passes a packet to the socket of its namespace. It blocks while that
// takes nothing.
func (m *Manager) received(e *engine, r *codec.Received) {
	if r.Type == codec.Connect || r.Type == codec.ConnectError {
		m.replied(e, r)
		return
	}
	m.mu.Lock()
	s := m.sockets[r.Namespace]
	m.mu.Unlock()
	if s != nil {
		s.received(e, r)
	}
}

// lost is called once for each engine that has ended.
func (m *Manager) lost(e *engine, cause *CloseError) {
	m.mu.Lock()
	current := m.engine == e
	if current {
		m.engine = nil
	}
	sockets := m.socketsLocked()
	m.mu.Unlock()
	for _, s := range sockets {
		s.lost(e, cause)
	}
	if !current {
		return
	}
	// What the connection was lost by may have struck those that are kept for
	// the next requests too, and they would not tell.
	m.http.CloseIdleConnections()
	active := m.active()
	m.mu.Lock()
	again := len(active) > 0 && !m.closed && m.engine == nil && m.attempt == nil
	if again {
		m.connectLocked(cause)
	}
	m.mu.Unlock()
}
