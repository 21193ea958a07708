package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/transports"
)

func TestMain(m *testing.M) {
	// fasthttp starts this one with its first answer, for good.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

const patience = 20 * time.Second // nothing takes that long; a test that waits so long has failed

// A request is an Exchange without an HTTP server. Hijack hands out conn.
type request struct {
	method string
	query  string
	fields [][2]string // of the request
	set    [][2]string // of the response
	early  []byte
	conn   net.Conn      // nil: there is nothing to hijack
	served chan struct{} // closed when the hijacked connection has been served

	status int
	body   string
}

var _ transports.Exchange = (*request)(nil)

// newRequest is a correct WebSocket handshake with further fields.
func newRequest(conn net.Conn, fields ...[2]string) *request {
	return &request{
		method: http.MethodGet,
		query:  "EIO=4&transport=websocket",
		conn:   conn,
		served: make(chan struct{}),
		fields: append([][2]string{
			{"Host", "example.org"},
			{"Connection", "keep-alive, Upgrade"},
			{"Upgrade", "websocket"},
			{"Sec-WebSocket-Version", "13"},
			{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
		}, fields...),
	}
}

// without returns the request without the named field.
func (r *request) without(name string) *request {
	r.fields = slices.DeleteFunc(r.fields, func(f [2]string) bool { return f[0] == name })
	return r
}

func (r *request) with(name, value string) *request {
	r.fields = append(r.fields, [2]string{name, value})
	return r
}

func (r *request) Method() string          { return r.method }
func (r *request) Path() string            { return "/socket.io/" }
func (r *request) Query() transports.Query { return transports.Query(r.query) }

func (r *request) Header(name string) string {
	for n, v := range r.Headers() {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

func (r *request) Headers() iter.Seq2[string, string]         { return fieldsOf(r.fields) }
func (r *request) ResponseHeaders() iter.Seq2[string, string] { return fieldsOf(r.set) }

func fieldsOf(fields [][2]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range fields {
			if !yield(f[0], f[1]) {
				return
			}
		}
	}
}

func (r *request) RemoteAddr() string             { return "192.0.2.1:1234" }
func (r *request) Secure() bool                   { return false }
func (r *request) Context() context.Context       { return context.Background() }
func (r *request) ReadBody(int64) ([]byte, error) { return nil, nil }
func (r *request) SetHeader(name, value string) {
	r.set = slices.DeleteFunc(r.set, func(f [2]string) bool { return f[0] == name })
	r.AddHeader(name, value)
}
func (r *request) AddHeader(name, value string) { r.set = append(r.set, [2]string{name, value}) }

func (r *request) Respond(status int, body []byte) error {
	r.status, r.body = status, string(body)
	return nil
}
func (r *request) Park() error { return errors.ErrUnsupported }
func (r *request) Unpark()     {}
func (r *request) Abort()      {}

func (r *request) Hijack(serve func(net.Conn, []byte)) error {
	if r.conn == nil {
		return errors.ErrUnsupported
	}
	go func() {
		defer close(r.served)
		serve(r.conn, r.early)
	}()
	return nil
}

// A session is the sink of one conn.
type session struct {
	conn transports.Conn

	// Called if set, before what happened is noted.
	onReady   func()
	onReceive func(transports.Packet) error

	readied  chan struct{}
	received chan transports.Packet
	closed   chan error
}

func newSession() *session {
	return &session{
		readied:  make(chan struct{}, 4096),
		received: make(chan transports.Packet, 4096),
		closed:   make(chan error, 16),
	}
}

func (s *session) attach(conn transports.Conn) (transports.Sink, error) {
	s.conn = conn
	return s, nil
}

func (s *session) Ready() {
	if s.onReady != nil {
		s.onReady()
	}
	s.readied <- struct{}{}
}

func (s *session) Receive(p transports.Packet) error {
	p.Data = bytes.Clone(p.Data)
	if s.onReceive != nil {
		return s.onReceive(p)
	}
	s.received <- p
	return nil
}

func (s *session) Closed(cause error) { s.closed <- cause }

func (s *session) admission() transports.Admission {
	return transports.Admission{
		MaxPayload: 1e6,
		Attach:     s.attach,
		Refuse: func(ex transports.Exchange, detail string) {
			_ = ex.Respond(http.StatusBadRequest, []byte("refused: "+detail))
		},
	}
}

func wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("not reached")
	}
}

// A link is a session, and the client at the other end.
type link struct {
	*session
	*client
	served <-chan struct{}
}

type setup struct {
	options Options
	session *session
	request func(*request)
	max     int64
	rev     int
	dial    func(testing.TB) (server, client net.Conn)
}

// connect runs a handshake and waits until the conn is ready.
func connect(t testing.TB, s setup) link {
	t.Helper()
	l := open(t, s)
	if status, head := l.readHead(t); status != http.StatusSwitchingProtocols {
		t.Fatalf("answer %d, %v", status, head)
	}
	wait(t, "Ready", l.readied)
	// The head has been read, but who wrote it may not know yet.
	for g := &l.conn.(*conn).gather; !g.idle(); {
		runtime.Gosched()
	}
	return l
}

// open sends the request and reads nothing.
func open(t testing.TB, s setup) link {
	t.Helper()
	if s.dial == nil {
		s.dial = tcp
	}
	if s.session == nil {
		s.session = newSession()
	}
	server, peer := s.dial(t)
	r := newRequest(server)
	if s.request != nil {
		s.request(r)
	}
	adm := s.session.admission()
	adm.Revision = s.rev
	if s.max != 0 {
		adm.MaxPayload = s.max
	}
	New(s.options).Accept(r, adm)
	if r.status != 0 {
		t.Fatalf("answer %d %q", r.status, r.body)
	}
	t.Cleanup(func() {
		_ = peer.Close()
		wait(t, "end of the connection's goroutine", r.served)
	})
	return link{s.session, newClient(peer), r.served}
}

func tcp(t testing.TB) (server, peer net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	peer, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil { // the system might make it large
		t.Fatal(err)
	}
	server, err = listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return server, peer
}

func pipe(testing.TB) (server, peer net.Conn) { return net.Pipe() }

// wantClosed checks the one report of the end.
func (s *session) wantClosed(t testing.TB, reason transports.Reason, behind error) {
	t.Helper()
	cause := wait(t, "Closed", s.closed)
	if ce, ok := errors.AsType[*transports.CloseError](cause); !ok || ce.Reason != reason {
		t.Fatalf("closed by %v, want %s", cause, reason)
	}
	if behind != nil && !errors.Is(cause, behind) {
		t.Fatalf("closed by %v, want %v behind it", cause, behind)
	}
	if len(s.closed) > 0 {
		t.Fatal("Closed was called twice")
	}
}

func (s *session) send(t testing.TB, batch ...transports.Packet) bool {
	t.Helper()
	ready, err := s.conn.Send(batch)
	if err != nil {
		t.Fatal("Send:", err)
	}
	return ready
}

// clogSize is more than the buffers of a connection can hold.
const clogSize = 16 << 20

// clog sends so much that a peer that does not read leaves some unsent.
func (s *session) clog(t testing.TB) {
	t.Helper()
	if s.send(t, binaryPacket(strings.Repeat("x", clogSize))) {
		t.Fatal("the socket took it all")
	}
}

func text(s string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(s)}
}

func binaryPacket(s string) transports.Packet {
	return transports.Packet{Type: transports.Message, Binary: true, Data: []byte(s)}
}

func describe(p transports.Packet) string {
	return fmt.Sprintf("%s binary=%t %.80q", p.Type, p.Binary, p.Data)
}

// acceptHTTP reads the request from the connection of r, instead of making it
// up, and lets the transport accept it.
func acceptHTTP(t testing.TB, r *request, transport transports.HTTPTransport, s *session) {
	req, err := http.ReadRequest(bufio.NewReader(r.conn)) // the client waits for the answer: nothing is lost in the reader
	if err != nil {
		t.Error(err)
		return
	}
	r.fields = nil
	for name, values := range req.Header {
		for _, value := range values {
			r.with(name, value)
		}
	}
	transport.Accept(r, s.admission())
}
