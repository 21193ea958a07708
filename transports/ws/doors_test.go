package ws

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
)

// An observed exchange tells when the hijacked connection has been served.
type observed struct {
	transports.Exchange
	served chan struct{}
}

func (o observed) Hijack(serve func(net.Conn, []byte)) error {
	return o.Exchange.Hijack(func(conn net.Conn, early []byte) {
		defer close(o.served)
		serve(conn, early)
	})
}

// A door is an HTTP server that lets the transport accept each request for the
// session that is next.
type door struct {
	transport transports.HTTPTransport
	sessions  chan *session
	exchanges chan observed
	addr      string
}

func (d *door) accept(ex transports.Exchange) {
	o := observed{ex, make(chan struct{})}
	ex.AddHeader("Set-Cookie", "a=1")
	ex.AddHeader("Set-Cookie", "b=2")
	d.transport.Accept(o, (<-d.sessions).admission())
	d.exchanges <- o
}

// doors runs test behind each of the HTTP servers.
func doors(t *testing.T, test func(t *testing.T, d *door)) {
	newDoor := func() *door {
		return &door{transport: New(Options{}), sessions: make(chan *session, 1), exchanges: make(chan observed, 1)}
	}
	t.Run("net/http", func(t *testing.T) {
		d := newDoor()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.accept(exchange.HTTP(w, r))
		}))
		defer server.Close()
		d.addr = server.Listener.Addr().String()
		test(t, d)
	})
	for name, kept := range map[string]bool{"fasthttp": false, "fasthttp, kept": true} {
		t.Run(name, func(t *testing.T) {
			d := newDoor()
			server := fasthttp.Server{
				Handler:           func(ctx *fasthttp.RequestCtx) { d.accept(exchange.FastHTTP(ctx, kept)) },
				KeepHijackedConns: kept,
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() { // Serve would leave a goroutine behind for a while
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					serving.Go(func() {
						if err := server.ServeConn(conn); err != nil {
							t.Error(err)
						}
					})
				}
			})
			defer serving.Wait()
			defer listener.Close()
			d.addr = listener.Addr().String()
			test(t, d)
		})
	}
}

// dial opens a WebSocket. The client sends after in the same write as the
// request.
func (d *door) dial(t *testing.T, s *session, after string) link {
	t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	d.sessions <- s
	c := newClient(conn)
	c.put(t, []byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: example.org\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: foo, bar\r\n\r\n"+after))
	ex := wait(t, "request", d.exchanges)
	status, head := c.readHead(t)
	if status != http.StatusSwitchingProtocols || head.Get("Sec-WebSocket-Protocol") != "foo" ||
		!slices.Equal(head.Values("Set-Cookie"), []string{"a=1", "b=2"}) {
		t.Fatalf("answer %d %v", status, head)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		wait(t, "end of the connection's goroutine", ex.served)
	})
	return link{s, c, ex.served}
}

// A handshake that is wrong gets its answer, and the connection ends.
func TestDoorsRefuse(t *testing.T) {
	doors(t, func(t *testing.T, d *door) {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		d.sessions <- newSession()
		c := newClient(conn)
		c.put(t, []byte("GET /socket.io/ HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\n"+
			"Upgrade: websocket\r\nSec-WebSocket-Version: 7\r\n\r\n"))
		wait(t, "request", d.exchanges)
		res, err := http.ReadResponse(c.br, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusBadRequest || len(body) == 0 ||
			res.Header.Get("Sec-WebSocket-Version") != "13" || res.Header.Get("Content-Type") != "text/html" {
			t.Errorf("answer %d %v %q, %v", res.StatusCode, res.Header, body, err)
		}
		c.wantEOF(t)
	})
}

// A36, B73: the hostile frame ends its connection; the server goes on. B4:
// garbage after the request.
func TestHostileInput(t *testing.T) {
	doors(t, func(t *testing.T, d *door) {
		for _, input := range []string{string(hostileFrame()), "\xffgarbage that is no frame\r\n\r\n"} {
			early := d.dial(t, newSession(), input)
			late := d.dial(t, newSession(), "")
			late.put(t, []byte(input))
			for _, l := range []link{early, late} {
				l.wantClosed(t, transports.TransportError, nil)
				l.want(t, closeFrame, "\x03\xea")
				l.wantEOF(t)
			}
		}
		l := d.dial(t, newSession(), string(frame(textFrame, "4fine")))
		if got := describe(wait(t, "packet", l.received)); got != describe(text("fine")) {
			t.Error("received", got)
		}
	})
}

// Both ways, the orderly end included, behind a real HTTP server.
func TestDoors(t *testing.T) {
	doors(t, func(t *testing.T, d *door) {
		l := d.dial(t, newSession(), string(frame(textFrame, "4early"))+string(frame(textFrame, "4second")[:5]))
		if got := describe(wait(t, "packet", l.received)); got != describe(text("early")) {
			t.Error("received", got)
		}
		wait(t, "Ready", l.readied)
		l.send(t, text("answer"))
		l.want(t, textFrame, "4answer")
		l.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
		l.want(t, closeFrame, "")
	})
}
