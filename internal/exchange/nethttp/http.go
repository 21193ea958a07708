// Package nethttp is the front door for net/http: its requests as
// transports.Exchange. It is apart from the one for fasthttp so that a test of a
// transport can have the door that servers have without linking a second HTTP
// stack.
package nethttp

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// New returns the exchange of a net/http request. It is valid until the
// handler returns. Middleware that wraps the ResponseWriter must have an
// Unwrap method (see http.ResponseController), or upgrades are refused and the
// timeouts of the server cut parked polls.
func New(w http.ResponseWriter, r *http.Request) transports.Exchange {
	return &exchange{w: w, r: r, wake: make(chan struct{})}
}

type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	wake   chan struct{} // closed by Unpark
	upload Upload
}

var _ transports.Exchange = (*exchange)(nil)

func (e *exchange) Method() string           { return e.r.Method }
func (e *exchange) Path() string             { return e.r.URL.Path }
func (e *exchange) Query() transports.Query  { return transports.Query(e.r.URL.RawQuery) }
func (e *exchange) RemoteAddr() string       { return e.r.RemoteAddr }
func (e *exchange) Secure() bool             { return e.r.TLS != nil }
func (e *exchange) Context() context.Context { return e.r.Context() }

func (e *exchange) Header(name string) string {
	if http.CanonicalHeaderKey(name) == "Host" {
		return e.r.Host // net/http keeps it out of the header
	}
	return e.r.Header.Get(name)
}

func (e *exchange) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if e.r.Host != "" && !yield("Host", e.r.Host) {
			return
		}
		eachField(e.r.Header, yield)
	}
}

func (e *exchange) ResponseHeaders() iter.Seq2[string, string] {
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

func (e *exchange) ReadBody(limit int64) ([]byte, error) {
	if e.r.ContentLength > limit && (e.r.ProtoMajor > 1 || e.r.Header.Get("Expect") != "") {
		// Nothing has to be read for the client to see the answer: HTTP/2 ends
		// the stream, and a client that expects a 100 waits for it.
		return nil, transports.ErrPayloadTooLarge
	}
	return e.upload.Read(e.r.Body, e.r.ContentLength, limit, e.setReadDeadline)
}

func (e *exchange) setReadDeadline(t time.Time) error {
	return http.NewResponseController(e.w).SetReadDeadline(t)
}

func (e *exchange) Abort() { e.upload.Abort(e.setReadDeadline) }

func (e *exchange) SetHeader(name, value string) { e.w.Header().Set(name, value) }
func (e *exchange) AddHeader(name, value string) { e.w.Header().Add(name, value) }

func (e *exchange) Respond(status int, body []byte) error {
	h := e.w.Header()
	if status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	e.w.WriteHeader(status)
	if len(body) == 0 || e.r.Method == http.MethodHead {
		return nil
	}
	_, err := e.w.Write(body)
	return err
}

func (e *exchange) Park() error {
	select {
	case <-e.wake:
		return nil
	default:
	}
	defer e.suspendWriteTimeout()()
	select {
	case <-e.wake:
		return nil
	case <-e.r.Context().Done():
		return transports.ErrClientGone
	}
}

// suspendWriteTimeout keeps the server's WriteTimeout, which counts from when
// the request was read, from cutting one that is parked. The function that it
// returns gives the answer the whole of it. The server suspends ReadTimeout by
// itself.
func (e *exchange) suspendWriteTimeout() (resume func()) {
	server, ok := e.r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || server.WriteTimeout <= 0 {
		return func() {}
	}
	c := http.NewResponseController(e.w)
	_ = c.SetWriteDeadline(time.Time{}) // a writer that has none is no connection of that server's
	return func() { _ = c.SetWriteDeadline(time.Now().Add(server.WriteTimeout)) }
}

func (e *exchange) Unpark() { close(e.wake) }

func (e *exchange) Hijack(serve func(conn net.Conn, early []byte)) error {
	conn, buffered, err := http.NewResponseController(e.w).Hijack()
	if err != nil {
		return err
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	// net/http's goroutine ends with the handler, and its buffers with it.
	go serve(conn, bytes.Clone(early))
	return nil
}
