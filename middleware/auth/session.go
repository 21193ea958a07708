package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/upshift-go/upshift/core"
)

// ErrSession is behind a handshake that the middleware of Session has not let
// through, in what core.Options.OnReject gets.
var ErrSession = errors.New("auth: refused by session middleware")

// A sessionError refuses a handshake. Its text reaches the client.
type sessionError struct {
	text  string
	cause error // nil if the middleware has answered
}

// Error is what the client is told.
func (e *sessionError) Error() string { return e.text }

// Unwrap returns ErrSession and what is behind it.
func (e *sessionError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrSession}
	}
	return []error{ErrSession, e.cause}
}

// Session makes core.Options.AllowRequest of net/http middleware that finds a
// session, mostly by a cookie: scs's LoadAndSave, or what a program has written
// around gorilla/sessions. It runs once for each handshake, on any HTTP server,
// with a request that has the client's headers and query but no body. What it
// puts into the context of the request is found in that of the sockets and of
// their handlers. When it answers without calling the next handler, or panics,
// the handshake is refused with status 403 and the name of its own status.
//
// What it answers else is dropped: it cannot set cookies, nor end the session
// later. Values that it keeps are those of the handshake. They live as long as
// the client's session.
//
// Browsers send cookies for pages of other sites, too: those that
// core.Options.CORS names connect with them, any other is refused.
func Session(middleware func(next http.Handler) http.Handler) func(ctx context.Context, h *core.Handshake) error {
	return func(ctx context.Context, h *core.Handshake) (err error) {
		// Values of the server's own request must not be kept, its end counts.
		own, cancel := context.WithCancel(h.Values())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		var found atomic.Pointer[http.Request] // next may run on another goroutine, and too late
		var answer answer
		defer func() {
			if v := recover(); v != nil {
				err = &sessionError{text: "internal error", cause: fmt.Errorf("auth: session middleware: panic: %v", v)}
			}
		}()
		middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			found.Store(r)
		})).ServeHTTP(&answer, request(own, h))
		r := found.Load()
		if r == nil {
			return &sessionError{text: answer.text()}
		}
		h.Context = r.Context()
		return nil
	}
}

// request is what session middleware gets to see of a handshake.
func request(ctx context.Context, h *core.Handshake) *http.Request {
	r := &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Path: h.Path, RawQuery: string(h.Query)},
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:     make(http.Header),
		Body:       http.NoBody,
		RemoteAddr: h.RemoteAddr,
	}
	for name, value := range h.Header.All() {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	r.RequestURI = r.URL.RequestURI()
	if h.Secure {
		r.TLS = new(tls.ConnectionState)
	}
	return r.WithContext(ctx)
}

// An answer is the http.ResponseWriter of session middleware. It is dropped but
// for its status.
type answer struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = make(http.Header)
	}
	return a.header
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(b), nil
}

// text is what the client is told of an answer: a redirect to a login page means
// the same to it as a status that says so.
func (a *answer) text() string {
	if a.status < http.StatusBadRequest || http.StatusText(a.status) == "" {
		return http.StatusText(http.StatusUnauthorized)
	}
	return http.StatusText(a.status)
}
