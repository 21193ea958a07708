// Package exchange is the two front doors: a request of net/http, or of
// fasthttp, as a transports.Exchange. Neither goes through an adaptor of the
// other.
package exchange

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// HTTP returns the exchange of a net/http request. It is valid until the
// handler returns.
func HTTP(w http.ResponseWriter, r *http.Request) transports.Exchange {
	return &httpExchange{w: w, r: r, wake: make(chan struct{})}
}

type httpExchange struct {
	w    http.ResponseWriter
	r    *http.Request
	wake chan struct{} // closed by Unpark
}

var _ transports.Exchange = (*httpExchange)(nil)

func (e *httpExchange) Method() string           { return e.r.Method }
func (e *httpExchange) Path() string             { return e.r.URL.Path }
func (e *httpExchange) Query() transports.Query  { return transports.Query(e.r.URL.RawQuery) }
func (e *httpExchange) RemoteAddr() string       { return e.r.RemoteAddr }
func (e *httpExchange) Secure() bool             { return e.r.TLS != nil }
func (e *httpExchange) Context() context.Context { return e.r.Context() }

func (e *httpExchange) Header(name string) string {
	if http.CanonicalHeaderKey(name) == "Host" {
		return e.r.Host // net/http keeps it out of the header
	}
	return e.r.Header.Get(name)
}

func (e *httpExchange) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if e.r.Host != "" && !yield("Host", e.r.Host) {
			return
		}
		eachField(e.r.Header, yield)
	}
}

func (e *httpExchange) ResponseHeaders() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) { eachField(e.w.Header(), yield) }
}

func eachField(h http.Header, yield func(string, string) bool) {
	for name, values := range h {
		for _, value := range values {
			if !yield(name, value) {
				return
			}
		}
	}
}

func (e *httpExchange) ReadBody(limit int64) ([]byte, error) {
	body, err := readBody(e.r.Body, e.r.ContentLength, limit)
	if errors.Is(err, transports.ErrPayloadTooLarge) {
		discard(e.r.Body, func(t time.Time) error { return http.NewResponseController(e.w).SetReadDeadline(t) })
	}
	return body, err
}

func (e *httpExchange) SetHeader(name, value string) { e.w.Header().Set(name, value) }
func (e *httpExchange) AddHeader(name, value string) { e.w.Header().Add(name, value) }

func (e *httpExchange) Respond(status int, body []byte) error {
	if status != http.StatusNoContent && status != http.StatusNotModified {
		e.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	e.w.WriteHeader(status)
	if len(body) == 0 || e.r.Method == http.MethodHead {
		return nil
	}
	_, err := e.w.Write(body)
	return err
}

func (e *httpExchange) Park() error {
	select {
	case <-e.wake:
		return nil
	default:
	}
	select {
	case <-e.wake:
		return nil
	case <-e.r.Context().Done():
		return transports.ErrClientGone
	}
}

func (e *httpExchange) Unpark() { close(e.wake) }

func (e *httpExchange) Abort() {
	// A writer that cannot do it reads on until the client is done.
	_ = http.NewResponseController(e.w).SetReadDeadline(longAgo)
}

func (e *httpExchange) Hijack(serve func(conn net.Conn, early []byte)) error {
	conn, buffered, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		return err
	}
	early, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	// net/http's goroutine ends with the handler, and its buffers with it.
	go serve(conn, append([]byte(nil), early...))
	return nil
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// readBody reads a body whose announced length is length, or negative if it
// is not known.
func readBody(body io.Reader, length, limit int64) ([]byte, error) {
	if length > limit {
		return nil, transports.ErrPayloadTooLarge
	}
	capacity := length
	if length < 0 {
		capacity = min(limit, 512)
	}
	// What is announced is believed only as far as it has come.
	data := make([]byte, 0, min(capacity+1, 64<<10))
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, transports.ErrPayloadTooLarge
		case errors.Is(err, io.EOF) && (length < 0 || int64(len(data)) == length):
			return data, nil
		case err != nil:
			return nil, transports.ErrClientGone
		}
	}
}

// What of an oversized body is still read, so that the client, which is
// writing, comes to read the answer. What is over these limits gets a
// connection that is closed under it.
const (
	maxDiscard  = 32 << 20
	discardTime = 5 * time.Second
)

func discard(body io.Reader, setDeadline func(time.Time) error) {
	if setDeadline(time.Now().Add(discardTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, body, maxDiscard)
	_ = setDeadline(time.Time{}) // a connection without deadlines is closed by the server
}
