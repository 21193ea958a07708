package session

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// Serve answers one HTTP request: a handshake, a request of a session that
// exists, an upgrade, or a CORS preflight. The path has been matched by the
// caller. It blocks for as long as the request takes, which for a poll is
// until there is something to answer.
//
// The checks and their order are those of the reference: they decide which
// code a request gets that is wrong in several ways.
func (m *Manager) Serve(ex transports.Exchange) {
	if m.options.CORS.Apply(ex) {
		return
	}
	query := ex.Query()
	t := m.transport(query.Get("transport"))
	if t == nil {
		m.reject(ex, &RequestError{Code: CodeUnknownTransport, Transport: query.Get("transport")})
		return
	}
	origin := ex.Header("Origin")
	if !validOrigin(origin) {
		m.reject(ex, &RequestError{Code: CodeBadRequest, Context: "INVALID_ORIGIN", Transport: t.Name()})
		return
	}
	if origin != "" && !m.mayConnect(askerOf(ex, origin)) {
		m.counters.originRefused.Add(1)
		m.reject(ex, &RequestError{
			Code: CodeForbidden, Context: "ORIGIN_REFUSED", Transport: t.Name(), Method: ex.Method(), Err: ErrOrigin,
		})
		return
	}
	if sid := query.Get("sid"); sid != "" {
		m.serveSession(ex, t, sid)
		return
	}
	m.serveHandshake(ex, t)
}

func askerOf(ex transports.Exchange, origin string) asker {
	return asker{
		origin: origin, host: ex.Header("Host"), fetchSite: ex.Header("Sec-Fetch-Site"), secure: ex.Secure(),
	}
}

// transport returns the configured HTTP transport of that name, or nil.
func (m *Manager) transport(name string) transports.HTTPTransport {
	for _, t := range m.options.Transports {
		if t.Name() == name {
			h, _ := t.(transports.HTTPTransport)
			return h
		}
	}
	return nil
}

// serveSession answers a request that names a session.
func (m *Manager) serveSession(ex transports.Exchange, t transports.HTTPTransport, sid string) {
	reject := func(code Code, context string, err error) {
		m.reject(ex, &RequestError{Code: code, Context: context, Transport: t.Name(), SessionID: sid, Err: err})
	}
	s := m.sessions.get(sid)
	if s == nil {
		reject(CodeUnknownSession, "", nil)
		return
	}
	if isUpgrade(ex) {
		eio, given := ex.Query().Lookup("EIO")
		s.mu.Lock()
		ok := s.upgradableLocked(t) && t.Features().HTTPUpgrade && (!given || revisionOf(eio) == s.revision)
		s.mu.Unlock()
		if !ok {
			reject(CodeBadRequest, "UPGRADE_REFUSED", nil)
			return
		}
		m.setHeaders(ex, false)
		t.Accept(ex, m.admission(t, s.revision, "", func(conn transports.Conn) (transports.Sink, error) {
			return sink(s.offer(t, conn))
		}))
		return
	}
	s.mu.Lock()
	current := s.link
	s.mu.Unlock()
	conn, ok := current.conn.(transports.RequestConn)
	if current.transport != transports.Transport(t) || !ok {
		reject(CodeBadRequest, "TRANSPORT_MISMATCH", nil)
		return
	}
	m.setHeaders(ex, false)
	if ex.Method() == "POST" {
		ex = &measured{Exchange: ex, counters: &m.counters}
	}
	conn.ServeRequest(ex)
}

// A measured exchange counts a body that is too large: the request is refused,
// and the session, which goes on, does not learn of it.
type measured struct {
	transports.Exchange
	counters *counters
}

// ReadBody implements transports.Exchange.
func (m *measured) ReadBody(limit int64) ([]byte, error) {
	body, err := m.Exchange.ReadBody(limit)
	if errors.Is(err, transports.ErrPayloadTooLarge) {
		m.counters.payloadTooLarge.Add(1)
	}
	return body, err
}

// serveHandshake answers a request that names no session.
func (m *Manager) serveHandshake(ex transports.Exchange, t transports.HTTPTransport) {
	reject := func(code Code, context string, err error) {
		m.reject(ex, &RequestError{Code: code, Context: context, Transport: t.Name(), Method: ex.Method(), Err: err})
	}
	if ex.Method() != "GET" {
		reject(CodeBadHandshakeMethod, "", nil)
		return
	}
	if t.Features().HTTPUpgrade != isUpgrade(ex) {
		reject(CodeBadRequest, "TRANSPORT_HANDSHAKE_ERROR", nil)
		return
	}
	h := transports.HandshakeOf(ex)
	address := m.gate.address(&h)
	if err := m.mayOpen(address); err != nil {
		reject(CodeBadRequest, "UNAVAILABLE", err)
		return
	}
	if m.options.AllowRequest != nil {
		if err := m.options.AllowRequest(ex.Context(), &h); err != nil {
			reject(CodeForbidden, "", err)
			return
		}
	}
	revision := revisionOf(h.Query.Get("EIO"))
	if old := revision != transports.Revision4; old && (!m.options.AllowEIO3 || !t.Features().Revision3) {
		reject(CodeUnsupportedVersion, "", nil)
		return
	}
	id, err := m.newID(&h)
	if err != nil {
		reject(CodeBadRequest, "ID_GENERATION_ERROR", err)
		return
	}
	if !t.Features().HTTPUpgrade {
		m.options.Cookie.set(ex, id)
	}
	m.setHeaders(ex, true)
	t.Accept(ex, m.admission(t, revision, id, func(conn transports.Conn) (transports.Sink, error) {
		return sink(m.open(t, opening{id: id, revision: revision, address: address, handshake: &h}, conn))
	}))
}

// revisionOf is the revision of the protocol that a client means by its EIO
// parameter. Like the reference it takes everything but "4", and nothing, for
// revision 3.
func revisionOf(eio string) int {
	if eio == "4" {
		return transports.Revision4
	}
	return transports.Revision3
}

func (m *Manager) admission(
	t transports.Transport, revision int, sid string, attach func(transports.Conn) (transports.Sink, error),
) transports.Admission {
	return transports.Admission{
		Revision:   revision,
		MaxPayload: m.options.MaxPayload,
		Attach:     attach,
		Refuse: func(ex transports.Exchange, detail string) {
			m.reject(ex, &RequestError{
				Code: CodeBadRequest, Context: "TRANSPORT_HANDSHAKE_ERROR",
				Transport: t.Name(), SessionID: sid, Err: errors.New(detail),
			})
		},
	}
}

func (m *Manager) setHeaders(ex transports.Exchange, initial bool) {
	if m.options.Headers != nil {
		m.options.Headers(ex, initial)
	}
}

var errDuplicateID = errors.New("session: id in use")

// newID makes a session id. The reference makes them 20 characters long, and
// some of its components take the length for the test of validity.
func (m *Manager) newID(h *transports.Handshake) (string, error) {
	if m.options.GenerateID == nil {
		b := make([]byte, 15-len(m.options.SessionTag)/4*3)
		_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
		return m.options.SessionTag + base64.RawURLEncoding.EncodeToString(b), nil
	}
	id, err := m.options.GenerateID(h)
	if err != nil {
		return "", err
	}
	if id == "" || m.sessions.get(id) != nil {
		return "", errDuplicateID
	}
	return id, nil
}

// validTag reports whether a tag leaves the random part of an id a whole number of
// bytes, and is made of what ids are made of.
func validTag(tag string) bool {
	_, err := base64.RawURLEncoding.DecodeString(tag)
	return err == nil && len(tag) == 4 && !strings.ContainsAny(tag, "\r\n") // which decoding passes over
}

// openPacket is the first packet of a session. Clients call array methods on
// upgrades, so it is never null.
func (m *Manager) openPacket(s *Session, t transports.Transport) transports.Packet {
	upgrades := []string{}
	if t.Features().Upgradable && !m.options.DisableUpgrades {
		for _, u := range m.options.Transports {
			if u.Features().UpgradeTarget {
				upgrades = append(upgrades, u.Name())
			}
		}
	}
	data, _ := json.Marshal(struct { // strings and integers always marshal
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int64    `json:"maxPayload"`
	}{
		s.id, upgrades,
		int64(m.options.PingInterval / time.Millisecond), int64(m.options.PingTimeout / time.Millisecond),
		m.options.MaxPayload,
	})
	return transports.Packet{Type: transports.Open, Data: data}
}

// isUpgrade reports whether the request asks to leave HTTP. The options of a
// connection may come in several fields.
func isUpgrade(ex transports.Exchange) bool {
	if ex.Header("Upgrade") == "" {
		return false
	}
	for name, value := range ex.Headers() {
		if !strings.EqualFold(name, "Connection") {
			continue
		}
		for token := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// validOrigin refuses control characters other than TAB. Most HTTP servers do
// so themselves; custom front ends may not.
func validOrigin(origin string) bool {
	for i := range len(origin) {
		if c := origin[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// reject answers with an Engine.IO error: JSON for a plain request, and for an
// upgrade request the bare message, after which the connection is closed.
func (m *Manager) reject(ex transports.Exchange, e *RequestError) {
	m.options.Logger.LogAttrs(ex.Context(), slog.LevelDebug, "request refused",
		slog.Int("code", int(e.Code)), slog.String("context", e.Context),
		slog.String("transport", e.Transport), slog.String("remote", ex.RemoteAddr()), slog.Any("error", e))
	if m.options.OnReject != nil {
		m.options.OnReject(e)
	}
	ex.SetHeader("Cache-Control", "no-store")
	if after := m.gate.retryAfter(e.Err); after > 0 {
		ex.SetHeader("Retry-After", strconv.Itoa(after))
	}
	status := e.status()
	if isUpgrade(ex) {
		if status == 403 {
			status = 400 // as the reference does
		}
		ex.SetHeader("Connection", "close")
		ex.SetHeader("Content-Type", "text/html")
		_ = ex.Respond(status, []byte(e.message())) // the client may be gone, which is as well
		return
	}
	ex.SetHeader("Content-Type", "application/json")
	body, _ := json.Marshal(struct { // an integer and a string always marshal
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}{e.Code, e.message()})
	_ = ex.Respond(status, body)
}
