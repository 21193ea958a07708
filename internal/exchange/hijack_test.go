package exchange

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// A hijacked connection yields what came along with the request, then what
// comes later, without a deadline; and closing it closes it, whether or not
// the function that serves it has returned.
func TestHijack(t *testing.T) {
	for name, early := range map[string]string{
		"nothing early": "",
		"early":         "early bytes",
		"much early":    strings.Repeat("0123456789", 350), // of the 4096 that fasthttp reads ahead
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				closed, release := make(chan error, 1), make(chan struct{})
				served := make(chan struct{})
				addr := k.serve(t, timeouts{read: time.Minute, write: time.Minute}, func(ex transports.Exchange) {
					ex.SetHeader("X-Set", "yes")
					err := ex.Hijack(func(conn net.Conn, got []byte) {
						defer close(served)
						want := len(early) + len("later")
						for len(got) < want {
							var b [1024]byte
							n, err := conn.Read(b[:])
							if err != nil {
								t.Error("reading:", err)
								break
							}
							got = append(got, b[:n]...)
						}
						if _, err := conn.Write(got); err != nil {
							t.Error("writing:", err)
						}
						closed <- conn.Close()
						<-release
					})
					if err != nil {
						t.Error(err)
					}
				})
				c := k.dial(t, addr)
				c.put(get("/") + early)
				c.put("later")
				answer, err := io.ReadAll(c) // until the connection is closed
				if string(answer) != early+"later" || err != nil {
					t.Errorf("got %q, %v", answer, err)
				}
				if err := wait(t, "Close", closed); err != nil {
					t.Error("closing:", err)
				}
				close(release)
				wait(t, "end of serve", served)
			})
		})
	}
}

// The fields that were set are there for the transport's own response head.
func TestHijackResponseHeaders(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
			ex.AddHeader("Set-Cookie", "a=1")
			ex.AddHeader("Set-Cookie", "b=2")
			var fields []string
			for name, value := range ex.ResponseHeaders() {
				fields = append(fields, name+": "+value)
			}
			_ = ex.Hijack(func(conn net.Conn, _ []byte) {
				defer conn.Close()
				_, _ = io.WriteString(conn, strings.Join(fields, ", "))
			})
		})
		c := k.dial(t, addr)
		c.put("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") // which fasthttp must not take for a reason not to
		answer, err := io.ReadAll(c)
		if want := "Set-Cookie: a=1, Set-Cookie: b=2"; string(answer) != want || err != nil {
			t.Errorf("got %q, %v, want %q", answer, err, want)
		}
	})
}

// HTTP/2 has no connection to give away; its requests can be parked and
// answered like others.
func TestHTTP2(t *testing.T) {
	refused := make(chan error, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := HTTP(w, r)
		refused <- ex.Hijack(func(conn net.Conn, _ []byte) { _ = conn.Close() })
		if _, err := ex.ReadBody(10); !errors.Is(err, transports.ErrPayloadTooLarge) {
			t.Error(err)
		}
		go ex.Unpark()
		if err := ex.Park(); err != nil {
			t.Error(err)
		}
		_ = ex.Respond(413, []byte("woken"))
	}))
	server.EnableHTTP2 = true
	server.Config.ReadTimeout, server.Config.WriteTimeout = time.Minute, time.Minute
	server.StartTLS()
	defer server.Close()
	for _, body := range []io.Reader{strings.NewReader("more than ten bytes"), struct{ io.Reader }{strings.NewReader("more than ten bytes")}} {
		res, err := server.Client().Post(server.URL, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.ProtoMajor != 2 || res.StatusCode != 413 || string(answer) != "woken" || err != nil {
			t.Errorf("answer %s %d %q, %v", res.Proto, res.StatusCode, answer, err)
		}
		if err := wait(t, "Hijack", refused); err == nil {
			t.Error("an HTTP/2 request was hijacked")
		}
	}
}

// With MaxConnsPerIP, closing a hijacked connection gives its place back.
func TestHijackCounted(t *testing.T) {
	for _, k := range []kind{{maxPerIP: 1}, {maxPerIP: 1, kept: true}, {maxPerIP: 1, kept: true, tls: true}} {
		done := make(chan struct{}, 1)
		addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
			_ = ex.Hijack(func(conn net.Conn, _ []byte) {
				_, _ = io.WriteString(conn, "hello")
				_ = conn.Close()
				done <- struct{}{}
			})
		})
		answers := make([]string, 0, 3)
		for range 3 {
			c := k.dial(t, addr)
			c.put(get("/"))
			answer, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			answers = append(answers, string(answer))
			wait(t, "end of serve", done)
		}
		if !slices.Equal(answers, []string{"hello", "hello", "hello"}) {
			t.Errorf("kept %t: answers %q", k.kept, answers)
		}
	}
}
