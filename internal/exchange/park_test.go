package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// A parked request is woken, whichever comes first, and its connection serves
// the next one.
func TestPark(t *testing.T) {
	for _, test := range []struct {
		name   string
		unpark func(ex transports.Exchange, parked <-chan struct{})
	}{
		{"woken before", func(ex transports.Exchange, _ <-chan struct{}) { ex.Unpark() }},
		{"woken at the same time", func(ex transports.Exchange, _ <-chan struct{}) { go ex.Unpark() }},
		{"woken later", func(ex transports.Exchange, parked <-chan struct{}) {
			go func() {
				<-parked
				for range 50 { // time enough to be waiting, most of the time
					runtime.Gosched()
				}
				ex.Unpark()
			}()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
					parked := make(chan struct{})
					test.unpark(ex, parked)
					close(parked)
					if err := ex.Park(); err != nil {
						t.Error(err)
					}
					_ = ex.Respond(200, []byte("woken"))
				})
				c := k.dial(t, addr)
				for range 100 {
					c.put(get("/"))
					c.want(200, "woken")
				}
			})
		})
	}
}

// parkOne serves requests that say when they are about to park, and how that
// ended.
func (k kind) parkOne(t *testing.T, limits timeouts) (addr string, parking chan transports.Exchange, ended chan error) {
	t.Helper()
	parking, ended = make(chan transports.Exchange, 1), make(chan error, 1)
	addr = k.serve(t, limits, func(ex transports.Exchange) {
		parking <- ex
		err := ex.Park()
		ended <- err
		if err == nil {
			_ = ex.Respond(200, []byte("woken"))
		}
	})
	return addr, parking, ended
}

// B24: a client that leaves is noticed, be it by a FIN or a reset, over TLS
// with and without a goodbye.
func TestParkClientLeaves(t *testing.T) {
	for name, leave := range map[string]func(c *client){
		"closes": func(c *client) { _ = c.Close() },
		"resets": func(c *client) {
			raw := c.Conn
			if t, ok := raw.(*tls.Conn); ok {
				raw = t.NetConn()
			}
			_ = raw.(*net.TCPConn).SetLinger(0)
			_ = raw.Close()
		},
		"closes below TLS": func(c *client) {
			if t, ok := c.Conn.(*tls.Conn); ok {
				_ = t.NetConn().Close()
			} else {
				_ = c.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				if k.tls && name == "closes" && !k.std && runtime.GOOS != "linux" {
					t.Skip("cannot be seen behind the alert that TLS sends")
				}
				addr, parking, ended := k.parkOne(t, timeouts{})
				c := k.dial(t, addr)
				c.put(get("/"))
				wait(t, "request", parking)
				leave(c)
				if err := wait(t, "end of Park", ended); !errors.Is(err, transports.ErrClientGone) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// What a client sends ahead does not wake a poll, is not lost, and does not
// hide that the client leaves.
func TestParkPipelined(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		addr, parking, ended := k.parkOne(t, timeouts{})
		c := k.dial(t, addr)
		c.put(get("/first"))
		first := wait(t, "request", parking)
		c.put(get("/second"))
		first.Unpark()
		if err := wait(t, "end of Park", ended); err != nil {
			t.Error(err)
		}
		c.want(200, "woken")
		second := wait(t, "second request", parking)
		if k.std || runtime.GOOS != "linux" {
			second.Unpark()
			c.want(200, "woken")
			return
		}
		c.put(get("/third"))
		_ = c.Close()
		if err := wait(t, "end of Park", ended); !errors.Is(err, transports.ErrClientGone) {
			t.Errorf("got %v", err)
		}
	})
}

// The timeouts of the server are not for polls that are parked. A connection
// that was opened later and asks for nothing shows when they have passed.
func TestParkOutlivesTimeouts(t *testing.T) {
	const short = 1500 * time.Millisecond // in which the first request must have come
	for name, limits := range map[string]timeouts{
		"read":  {read: short, idle: time.Minute},
		"write": {read: short, write: short, idle: time.Minute},
		"idle":  {read: short, idle: short},
		"all":   {read: short, write: short, idle: short},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				t.Parallel()
				addr, parking, ended := k.parkOne(t, limits)
				c := k.dial(t, addr)
				c.put(get("/"))
				ex := wait(t, "request", parking)

				idle := k.dial(t, addr)
				if k.tls {
					_ = idle.Conn.(*tls.Conn).Handshake()
				}
				if _, err := io.Copy(io.Discard, idle); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the server has no timeouts")
				}
				if len(ended) > 0 {
					t.Fatal("Park ended:", <-ended)
				}
				if name == "all" { // it still sees the client leave
					_ = c.Close()
					if err := wait(t, "end of Park", ended); !errors.Is(err, transports.ErrClientGone) {
						t.Errorf("got %v", err)
					}
					return
				}
				ex.Unpark()
				c.want(200, "woken")
			})
		})
	}
}

// The answer to a request that was parked has the server's WriteTimeout again.
func TestParkRestoresWriteTimeout(t *testing.T) {
	var w deadlineWriter
	server := &http.Server{WriteTimeout: time.Hour, ReadHeaderTimeout: time.Hour}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	ex := HTTP(&w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, server)))
	w.suspended = ex.Unpark
	if err := ex.Park(); err != nil {
		t.Error(err)
	}
	if !w.last.After(time.Now()) {
		t.Errorf("write deadline %v", w.last)
	}
}

// A deadlineWriter remembers its write deadline.
type deadlineWriter struct {
	httptest.ResponseRecorder
	last      time.Time
	suspended func() // called when there is none any more
}

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.last = t
	if t.IsZero() {
		w.suspended()
	}
	return nil
}

// A request that is parked leaves its connection without a deadline: it must
// not be kept for a body that never comes.
func TestParkWithBodyUnread(t *testing.T) {
	k := kind{stream: true}
	addr, parking, _ := k.parkOne(t, timeouts{read: time.Minute})
	c := k.dial(t, addr)
	c.put("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	wait(t, "request", parking).Unpark()
	if got := c.read(); got.body != "woken" || !got.close {
		t.Errorf("answer %q, close %t", got.body, got.close)
	}
	if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

// What happens to a socket from another side ends the wait only if it ends the
// connection.
func TestParkSocketTouched(t *testing.T) {
	for name, test := range map[string]struct {
		touch func(net.Conn)
		want  error
	}{
		"closed here":        {func(c net.Conn) { _ = c.Close() }, transports.ErrClientGone},
		"somebody's timeout": {func(c net.Conn) { _ = c.SetReadDeadline(nethttp.LongAgo) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			peer, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var p parking
			ended := make(chan error, 1)
			go func() { ended <- p.park(conn) }()
			is := func(condition func() bool) func() bool {
				return func() bool {
					p.mu.Lock()
					defer p.mu.Unlock()
					return condition()
				}
			}
			await(t, is(func() bool { return p.socket != nil }))
			test.touch(conn)
			if test.want == nil {
				await(t, is(func() bool { return p.wake != nil }))
				p.unpark()
			}
			if err := wait(t, "end of park", ended); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}

// A connection without a descriptor can be woken all the same.
func TestParkWithoutSocket(t *testing.T) {
	for name, unpark := range map[string]func(transports.Exchange){
		"before": transports.Exchange.Unpark,
		"race":   func(ex transports.Exchange) { go ex.Unpark() },
	} {
		t.Run(name, func(t *testing.T) {
			server := &fasthttp.Server{
				Handler: func(ctx *fasthttp.RequestCtx) {
					ex := FastHTTP(ctx, false)
					unpark(ex)
					if err := ex.Park(); err != nil {
						t.Error(err)
					}
					_ = ex.Respond(200, []byte("woken"))
				},
			}
			near, far := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- server.ServeConn(near) }()
			c := newClient(t, far)
			for range 20 {
				c.put(get("/"))
				c.want(200, "woken")
			}
			_ = c.Close()
			_ = wait(t, "end", served) // of a connection that was closed under it
		})
	}
}

// A writer without deadlines, as some middleware has, can still be parked.
func TestParkRecorded(t *testing.T) {
	w := httptest.NewRecorder()
	ex := HTTP(w, httptest.NewRequest(http.MethodGet, "/", strings.NewReader("")))
	go ex.Unpark()
	if err := ex.Park(); err != nil {
		t.Error(err)
	}
}

// The socket is found under what servers and TLS wrap around it, and a type
// that merely looks like a wrapper is not followed for ever.
func TestSocketOf(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	type counted struct {
		net.Conn
		_ int
	}
	type named struct{ inner net.Conn }
	ring := &counted{}
	ring.Conn = ring
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	for _, test := range []struct {
		name string
		conn net.Conn
		want bool
	}{
		{"bare", conn, true},
		{"embedded", &counted{Conn: conn}, true},
		{"TLS", tls.Server(conn, nil), true},
		{"embedded TLS over embedded", &counted{Conn: tls.Server(&counted{Conn: conn}, nil)}, true},
		{"embedded nil", &counted{}, false},
		{"itself", ring, false},
		{"pipe", pipe, false},
		{"by value", counted{Conn: conn}, false},
		{"nothing", nil, false},
		{"field of another name", &struct {
			net.Conn
			named
		}{Conn: pipe, named: named{conn}}, false},
	} {
		if got := socketOf(test.conn); (got != nil) != test.want {
			t.Errorf("%s: got %v", test.name, got)
		}
	}
}
