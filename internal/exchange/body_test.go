package exchange

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// echoBody answers with the body, or with 413 if it is over the limit, or 400.
func echoBody(limit int64) func(transports.Exchange) {
	return func(ex transports.Exchange) {
		body, err := ex.ReadBody(limit)
		switch {
		case errors.Is(err, transports.ErrPayloadTooLarge):
			_ = ex.Respond(413, nil)
		case err != nil:
			_ = ex.Respond(400, []byte(err.Error()))
		default:
			_ = ex.Respond(200, body)
		}
	}
}

// B20: the limit is exact, a client gets its 413, and the connection can be
// used again, all of which a client sees that writes everything before it
// reads anything.
func TestBodyLimit(t *testing.T) {
	const limit = 100_000
	of := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"empty", post(""), 200, ""},
		{"one below", post(of(limit - 1)), 200, of(limit - 1)},
		{"exact", post(of(limit)), 200, of(limit)},
		{"one above", post(of(limit + 1)), 413, ""},
		{"far above", post(of(3_000_000)), 413, ""},
		{"chunked, empty", chunked(), 200, ""},
		{"chunked, exact", chunked(of(1), of(limit/2), of(limit/2-1)), 200, of(limit)},
		{"chunked, one above", chunked(of(limit/2), of(limit/2+1)), 413, ""},
		{"chunked, far above", chunked(of(limit), of(2_000_000), of(1_000_000)), 413, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				c := k.dial(t, k.serve(t, timeouts{}, echoBody(limit)))
				c.put(test.request)
				c.want(test.status, test.body)
				c.put(post("next"))
				c.want(200, "next")
			})
		})
	}
}

// A body that nobody would wait for is answered all the same, and then the
// connection ends.
func TestBodyEndless(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		if !k.stream {
			t.Skip("fasthttp refuses it by itself")
		}
		c := k.dial(t, k.serve(t, timeouts{}, echoBody(1000)))
		c.put(head(1<<40) + strings.Repeat("x", 10_000)) // fasthttp reads 8 KiB by itself
		if got := c.read(); got.status != 413 || !got.close {
			t.Errorf("answer %d, close %t", got.status, got.close)
		}
	})
}

// A client that asks before it sends is told at once.
func TestBodyExpected(t *testing.T) {
	k := kinds[0]
	c := k.dial(t, k.serve(t, timeouts{}, echoBody(1000)))
	c.put("POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
	c.want(413, "")
}

func TestBodyCutShort(t *testing.T) {
	for name, request := range map[string]string{
		// fasthttp reads the first 8 KiB before there is an exchange
		"length":  head(30_000) + strings.Repeat("x", 20_000),
		"chunked": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nso",
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, k kind) {
				if !k.stream {
					t.Skip("fasthttp reads it before there is an exchange")
				}
				errs := make(chan error, 1)
				addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
					body, err := ex.ReadBody(1_000_000)
					if body != nil {
						t.Error("half a body was returned")
					}
					errs <- err
				})
				c := k.dial(t, addr)
				c.put(request)
				_ = c.Close()
				if err := wait(t, "end of ReadBody", errs); !errors.Is(err, transports.ErrClientGone) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestAbort(t *testing.T) {
	const request = 20_000 // bytes that are announced; half of them come
	eachKind(t, func(t *testing.T, k kind) {
		if !k.stream {
			t.Skip("the body has been read before there is an exchange")
		}
		t.Run("while reading", func(t *testing.T) {
			exchanges, errs := make(chan transports.Exchange, 1), make(chan error, 1)
			addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
				exchanges <- ex
				_, err := ex.ReadBody(1_000_000)
				errs <- err
				_ = ex.Respond(400, nil)
			})
			c := k.dial(t, addr)
			c.put(head(request) + strings.Repeat("x", request/2))
			wait(t, "request", exchanges).Abort() // before ReadBody waits, or while it does
			if err := wait(t, "end of ReadBody", errs); !errors.Is(err, transports.ErrClientGone) {
				t.Errorf("got %v", err)
			}
			// The rest of the request is not waited for either.
			if got := c.read(); got.status != 400 || !got.close {
				t.Errorf("answer %d, close %t", got.status, got.close)
			}
			if _, err := c.br.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection lives on")
			}
		})
		t.Run("before", func(t *testing.T) {
			errs := make(chan error, 1)
			addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
				ex.Abort()
				_, err := ex.ReadBody(1_000_000)
				errs <- err
			})
			// Only half of it comes, and the server may have closed before that.
			c := k.dial(t, addr)
			_, _ = io.WriteString(c, head(request)+strings.Repeat("x", request/2))
			if err := wait(t, "end of ReadBody", errs); !errors.Is(err, transports.ErrClientGone) {
				t.Errorf("got %v", err)
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection lives on")
			}
		})
		t.Run("after", func(t *testing.T) {
			addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
				body, _ := ex.ReadBody(1_000_000)
				ex.Abort() // one that lost the race: it must not hit the next request
				_ = ex.Respond(200, body)
			})
			c := k.dial(t, addr)
			for range 2 {
				c.put(post("text"))
				c.want(200, "text")
			}
		})
	})
}

// An upload that was complete when it was aborted leaves no deadline behind.
func TestAbortTooLate(t *testing.T) {
	var u nethttp.Upload
	var conn deadlineConn
	set := conn.SetReadDeadline
	body, err := u.Read(readerFunc(func(p []byte) (int, error) {
		u.Abort(set)
		return copy(p, "text"), io.EOF
	}), 4, 10, set)
	if body != nil || !errors.Is(err, transports.ErrClientGone) {
		t.Errorf("got %q, %v", body, err)
	}
	if !conn.last.IsZero() {
		t.Error("a deadline is left")
	}
}

// A deadlineConn remembers its read deadline.
type deadlineConn struct {
	net.Conn
	last time.Time
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.last = t
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A handler in front that limits bodies is believed.
func TestBodyLimitedInFront(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(make([]byte, 100))))
	w := httptest.NewRecorder()
	r.Body = http.MaxBytesReader(w, r.Body, 10)
	if _, err := HTTP(w, r).ReadBody(50); !errors.Is(err, transports.ErrPayloadTooLarge) {
		t.Errorf("got %v", err)
	}
}
