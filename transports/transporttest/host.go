package transporttest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// A Host takes the place of the server: every connection that a transport
// offers it becomes a session of the suite.
type Host struct {
	// Fixed before the first connection.
	transport transports.Transport
	script    script
	arrived   chan *session // sessions, as they are attached

	mu       sync.Mutex // guards what follows
	sessions map[string]*session
	faults   []string
}

var _ transports.Host = (*Host)(nil)

func newHost(t transports.Transport) *Host {
	return &Host{transport: t, arrived: make(chan *session, 1024), sessions: make(map[string]*session)}
}

// Open implements transports.Host.
func (h *Host) Open(t transports.Transport, hs transports.Handshake, conn transports.Conn) (transports.Sink, error) {
	if t.Name() != h.transport.Name() {
		h.fault("a conn of transport %q was offered, not of %q", t.Name(), h.transport.Name())
	}
	if hs.SessionID != "" {
		return nil, errors.New("transporttest: there is no session to upgrade")
	}
	return h.attach(conn)
}

// MaxPayload implements transports.Host.
func (h *Host) MaxPayload() int64 { return MaxPayload }

// Serve answers a request as the session manager does: one without a session
// id is for the transport to accept, any other for the conn of that session.
func (h *Host) Serve(ex transports.Exchange) {
	id := ex.Query().Get("sid")
	if id != "" {
		h.mu.Lock()
		s := h.sessions[id]
		h.mu.Unlock()
		var conn transports.RequestConn
		if s != nil {
			conn, _ = s.conn.(transports.RequestConn)
		}
		if conn == nil {
			refuse(ex, "unknown session")
			return
		}
		conn.ServeRequest(ex)
		return
	}
	t, ok := h.transport.(transports.HTTPTransport)
	if !ok {
		h.fault("transport %q serves no HTTP", h.transport.Name())
		refuse(ex, "no HTTP")
		return
	}
	attached := false // Accept and Hijack may use two goroutines, one after the other
	t.Accept(ex, transports.Admission{
		MaxPayload: MaxPayload,
		Attach: func(conn transports.Conn) (transports.Sink, error) {
			if attached {
				h.fault("Attach was called twice")
			}
			attached = true
			return h.attach(conn)
		},
		Refuse: refuse,
	})
}

func refuse(ex transports.Exchange, detail string) {
	ex.SetHeader("Content-Type", "application/json")
	_ = ex.Respond(400, []byte(`{"code":3,"message":`+strconv.Quote(detail)+`}`)) // the client may be gone
}

// attach makes a session of a conn.
func (h *Host) attach(conn transports.Conn) (transports.Sink, error) {
	if h.script.refusal != nil {
		return nil, h.script.refusal
	}
	h.mu.Lock()
	id := fmt.Sprintf("session-%d", len(h.sessions)+1)
	s := newSession(h, id, conn)
	h.sessions[id] = s
	h.mu.Unlock()
	h.arrived <- s
	return s, nil
}

// fault notes that the transport did what it must not do. Faults are reported
// when the check has ended, because they may be found on any goroutine.
func (h *Host) fault(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) < 20 { // the first ones tell
		h.faults = append(h.faults, fmt.Sprintf(format, args...))
	}
}

func (h *Host) takeFaults() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults
}
