package polling

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// It keeps the time of day, and never ends.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// Half a second of waiting for a client that sent too much.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const patience = 20 * time.Second // nothing takes that long; a test that waits so long has failed

// A session stands in for the session manager and its one session, "S". It
// keeps the contract: nothing is called on the Conn before its first Ready,
// and Send only while it is ready, by one goroutine at a time.
type session struct {
	maxPayload int64
	revision   int
	attachErr  error
	onAttach   func(transports.Conn)         // called by Attach
	onReady    func()                        // called by Ready, instead of sending anything
	onReceive  func(transports.Packet) error // called by Receive, before the packet is noted

	received chan string // what Receive got, as on a text transport; binary data in hexadecimal
	closed   chan error
	readied  chan struct{}

	mu       sync.Mutex // guards what follows
	conn     transports.Conn
	ready    bool
	flushing bool
	outbox   []transports.Packet
}

func newSession() *session {
	return &session{
		maxPayload: 1_000_000,
		received:   make(chan string, 10_000),
		closed:     make(chan error, 10),
		readied:    make(chan struct{}, 10_000),
		outbox:     []transports.Packet{{Type: transports.Open, Data: []byte("{}")}},
	}
}

func (s *session) admission() transports.Admission {
	return transports.Admission{
		MaxPayload: s.maxPayload,
		Revision:   s.revision,
		Attach: func(conn transports.Conn) (transports.Sink, error) {
			if s.onAttach != nil {
				s.onAttach(conn)
			}
			if s.attachErr != nil {
				return nil, s.attachErr
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conn = conn
			return s, nil
		},
		Refuse: func(ex transports.Exchange, detail string) { _ = ex.Respond(400, []byte("refused: "+detail)) },
	}
}

func (s *session) Receive(p transports.Packet) error {
	if s.onReceive != nil {
		if err := s.onReceive(p); err != nil {
			return err
		}
	}
	if p.Binary {
		s.received <- fmt.Sprintf("b%x", p.Data)
	} else {
		s.received <- string(p.AppendText(nil))
	}
	return nil
}

func (s *session) Ready() {
	if s.onReady != nil {
		s.onReady()
		return
	}
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	_ = s.flush()
	s.readied <- struct{}{}
}

func (s *session) Closed(cause error) { s.closed <- cause }

// send queues packets and flushes, as sessions do.
func (s *session) send(packets ...transports.Packet) error {
	s.mu.Lock()
	s.outbox = append(s.outbox, packets...)
	s.mu.Unlock()
	return s.flush()
}

func (s *session) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready || s.flushing || len(s.outbox) == 0 {
		return nil
	}
	batch, conn := s.outbox, s.conn
	s.outbox, s.ready, s.flushing = nil, false, true
	s.mu.Unlock()
	ready, err := conn.Send(batch)
	s.mu.Lock()
	s.flushing = false
	s.ready = s.ready || ready
	return err
}

func (s *session) serve(t *transport, ex transports.Exchange) {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if ex.Query().Get("sid") == "" {
		t.Accept(ex, s.admission())
	} else {
		conn.(transports.RequestConn).ServeRequest(ex)
	}
}

func (s *session) polling() *conn { return s.conn.(*conn) }

// wantClosed checks the one report of the end, and its text.
func (s *session) wantClosed(t *testing.T, text string, behind error) {
	t.Helper()
	cause := wait(t, "Closed", s.closed)
	if cause.Error() != text || behind != nil && !errors.Is(cause, behind) {
		t.Errorf("closed by %q, want %q", cause, text)
	}
	if _, ok := errors.AsType[*transports.CloseError](cause); !ok {
		t.Errorf("the cause is a %T", cause)
	}
	s.wantOpenOrReported(t)
}

// wantOpenOrReported checks that there is no further report of an end.
func (s *session) wantOpenOrReported(t *testing.T) {
	t.Helper()
	select {
	case cause := <-s.closed:
		t.Errorf("closed by %v", cause)
	default:
	}
}

// wantReceived checks everything that has been received.
func (s *session) wantReceived(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for len(s.received) > 0 {
		got = append(got, <-s.received)
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %.300q, want %.300q", got, want)
	}
}

// waitParked waits until a poll has been parked besides those that have been
// waited for.
func (s *session) waitParked(t *testing.T) {
	t.Helper()
	wait(t, "poll", s.readied)
}

// A door is one HTTP server with one session behind it.
type door struct {
	*session
	t    *testing.T
	addr string
}

// eachDoor runs a test behind each of the HTTP servers.
func eachDoor(t *testing.T, o Options, test func(t *testing.T, d *door)) {
	t.Run("net/http", func(t *testing.T) { test(t, httpDoor(t, o)) })
	t.Run("fasthttp", func(t *testing.T) { test(t, fastDoor(t, o, false)) })
	t.Run("fasthttp streaming", func(t *testing.T) { test(t, fastDoor(t, o, true)) })
}

// streamingDoors are those where a request is served before its body is there.
func streamingDoors(t *testing.T, test func(t *testing.T, d *door)) {
	t.Run("net/http", func(t *testing.T) { test(t, httpDoor(t, Options{})) })
	t.Run("fasthttp streaming", func(t *testing.T) { test(t, fastDoor(t, Options{}, true)) })
}

func httpDoor(t *testing.T, o Options) *door {
	tr, d := New(o).(*transport), &door{session: newSession(), t: t}
	listener := d.listen()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.serve(tr, exchange.HTTP(w, r))
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return d
}

func fastDoor(t *testing.T, o Options, streaming bool) *door {
	tr, d := New(o).(*transport), &door{session: newSession(), t: t}
	listener := d.listen()
	server := &fasthttp.Server{
		Handler:           func(ctx *fasthttp.RequestCtx) { d.serve(tr, exchange.FastHTTP(ctx, false)) },
		StreamRequestBody: streaming,
	}
	var serving sync.WaitGroup
	serving.Go(func() { // Serve would leave a goroutine behind for a while
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = server.ServeConn(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return d
}

func (d *door) listen() net.Listener {
	d.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	d.addr = listener.Addr().String()
	return listener
}

// A request is one that has been written, on a TCP connection of its own
// unless it shares one.
type request struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

func (d *door) dial() *request {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	d.t.Cleanup(func() { _ = conn.Close() })
	return &request{d.t, conn, bufio.NewReader(conn)}
}

func (r *request) put(text string) *request {
	r.t.Helper()
	if _, err := io.WriteString(r.conn, text); err != nil {
		r.t.Fatal("client writes:", err)
	}
	return r
}

// fields are further lines of a head, "Name: value".
func head(method, query string, fields ...string) string {
	return method + " /engine.io/?EIO=4&transport=polling" + query + " HTTP/1.1\r\nHost: a\r\n" +
		strings.Join(append(fields, "\r\n"), "\r\n")
}

const sid = "&sid=S"

func getText(fields ...string) string { return head("GET", sid, fields...) }

func postText(body string, fields ...string) string {
	return head("POST", sid, append(fields, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
}

func (d *door) get(fields ...string) *request { return d.dial().put(getText(fields...)) }
func (d *door) post(body string, fields ...string) *request {
	return d.dial().put(postText(body, fields...))
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	close  bool
	body   string
}

func (r *request) read() answer {
	r.t.Helper()
	res, err := http.ReadResponse(r.br, nil)
	if err != nil {
		r.t.Fatal("client reads:", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal("client reads:", err)
	}
	return answer{res.StatusCode, res.Header, res.Close, string(body)}
}

// want reads the answer and checks it.
func (r *request) want(status int, body string) http.Header {
	r.t.Helper()
	got := r.read()
	if got.status != status || got.body != body {
		r.t.Fatalf("answer %d %.300q, want %d %.300q", got.status, got.body, status, body)
	}
	return got.header
}

// open makes the handshake.
func (d *door) open() {
	d.t.Helper()
	d.dial().put(head("GET", "")).want(200, "0{}")
	d.waitParked(d.t)
}

// park sends a poll and waits until it is parked.
func (d *door) park() *request {
	d.t.Helper()
	r := d.get()
	d.waitParked(d.t)
	return r
}

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("not reached")
	}
}

func text(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(data)}
}

func binary(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Binary: true, Data: []byte(data)}
}

func clone(p transports.Packet) transports.Packet {
	p.Data = bytes.Clone(p.Data)
	return p
}
