package exchange

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

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

// A kind is one HTTP server that exchanges come from.
type kind struct {
	name     string
	std      bool // net/http; the others are fasthttp
	tls      bool
	kept     bool
	stream   bool
	maxPerIP int
}

var kinds = []kind{
	{name: "net/http", std: true, stream: true},
	{name: "net/http TLS", std: true, stream: true, tls: true},
	{name: "fasthttp"},
	{name: "fasthttp streaming kept", stream: true, kept: true},
	{name: "fasthttp streaming TLS", stream: true, tls: true},
	{name: "fasthttp counted", maxPerIP: 100},
	{name: "fasthttp counted TLS kept", maxPerIP: 100, tls: true, kept: true},
}

// eachKind runs a test behind every kind of server.
func eachKind(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// timeouts of a server; zero means none.
type timeouts struct{ read, write, idle time.Duration }

// serve starts a server that hands every request to handle, and returns its
// address. The test ends when the server has.
func (k kind) serve(t *testing.T, limits timeouts, handle func(transports.Exchange)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if k.tls {
		serverTLS, _ := certificate()
		listener = tls.NewListener(listener, serverTLS)
	}
	if k.std {
		server := &http.Server{
			Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(HTTP(w, r)) }),
			ReadTimeout: limits.read, WriteTimeout: limits.write, IdleTimeout: limits.idle,
			ErrorLog: log.New(io.Discard, "", 0),
		}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(listener) })
		t.Cleanup(func() {
			_ = server.Close()
			serving.Wait()
		})
		return addr
	}
	server := &fasthttp.Server{
		Handler:            func(ctx *fasthttp.RequestCtx) { handle(FastHTTP(ctx, k.kept)) },
		KeepHijackedConns:  k.kept,
		StreamRequestBody:  k.stream,
		MaxConnsPerIP:      k.maxPerIP,
		MaxRequestBodySize: 64 << 20,
		ReadTimeout:        limits.read, WriteTimeout: limits.write, IdleTimeout: limits.idle,
		Logger: silent{},
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
	return addr
}

type silent struct{}

func (silent) Printf(string, ...any) {}

// certificate returns the two sides of the certificate that httptest has.
var certificate = sync.OnceValues(func() (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
})

// A client speaks raw HTTP.
type client struct {
	t *testing.T
	net.Conn
	br *bufio.Reader
}

func (k kind) dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if k.tls {
		_, clientTLS := certificate()
		conn = tls.Client(conn, clientTLS)
	}
	return newClient(t, conn)
}

func newClient(t *testing.T, conn net.Conn) *client {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, Conn: conn, br: bufio.NewReader(conn)}
}

func (c *client) put(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal("client writes:", err)
	}
}

// An answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	length int64
	close  bool
	body   string
}

func (c *client) read() answer {
	c.t.Helper()
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal("client reads:", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal("client reads:", err)
	}
	return answer{res.StatusCode, res.Header, res.ContentLength, res.Close, string(body)}
}

// want reads a response and checks it.
func (c *client) want(status int, body string) {
	c.t.Helper()
	if got := c.read(); got.status != status || got.body != body {
		c.t.Fatalf("answer %d %q, want %d %q", got.status, got.body, status, body)
	}
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: example.com\r\n\r\n"
}

// post is a POST with a known length.
func post(body string) string {
	return head(int64(len(body))) + body
}

func head(length int64) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n", length)
}

// chunked is a POST in chunks.
func chunked(chunks ...string) string {
	var b strings.Builder
	b.WriteString("POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, chunk := range chunks {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	b.WriteString("0\r\n\r\n")
	return b.String()
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
