package transports

import (
	"context"
	"iter"
	"net"
)

// An Exchange is one HTTP request and the answer to it: what a transport that
// is carried by HTTP needs of a server. Upshift implements it for net/http
// and for fasthttp; another HTTP server joins by implementing it and calling
// core.Server.Serve.
//
// Except for Unpark and Abort, the methods are called from the goroutine of
// the request. Strings may be kept; they do not alias buffers of the server.
type Exchange interface {
	// Method is the request's method, in upper case.
	Method() string
	// Path is the decoded path of the request.
	Path() string
	// Query is the query of the request, without the question mark.
	Query() Query
	// Header returns the first value of a request header field, or "". The
	// name is case-insensitive.
	Header(name string) string
	// Headers yields every request header field, Host included.
	Headers() iter.Seq2[string, string]
	// RemoteAddr is the address of the TCP peer as "host:port". Forwarded
	// headers are not looked at.
	RemoteAddr() string
	// Secure reports whether the request came over TLS.
	Secure() bool
	// Context is the request's context. It carries the values of middleware
	// in front and must not be kept.
	Context() context.Context

	// ReadBody reads the whole body. It returns ErrPayloadTooLarge as soon
	// as the body is known to be longer than limit bytes, and ErrClientGone
	// if the connection ends or Abort is called first. The bytes are valid
	// until the exchange ends.
	ReadBody(limit int64) ([]byte, error)

	// SetHeader sets a response header field, replacing what was set.
	SetHeader(name, value string)
	// AddHeader adds a value to a response header field.
	AddHeader(name, value string)
	// ResponseHeaders yields the response header fields that were set, by
	// the methods above or by middleware in front. A transport that writes
	// its own response head (a 101) adds them to it.
	ResponseHeaders() iter.Seq2[string, string]
	// Respond sends the answer, once. The body is copied or written before
	// it returns. Content-Length is set.
	Respond(status int, body []byte) error

	// Park blocks until Unpark is called and then returns nil, or until the
	// client has gone and then returns ErrClientGone. If Unpark was called
	// before, it returns at once.
	Park() error
	// Unpark ends Park. It never blocks and may be called from any
	// goroutine, once, and only before the exchange has ended.
	Unpark()
	// Abort makes a ReadBody that waits for input return. It never blocks
	// and may be called from any goroutine while ReadBody runs.
	Abort()

	// Hijack takes the connection away from the HTTP server and calls serve
	// with it and with the bytes that were read past the request. serve runs
	// on a goroutine that is its own, possibly after the handler of the
	// request has returned; the connection is serve's until it returns, and
	// serve must close it. Nothing may be called on the Exchange after
	// Hijack, except ResponseHeaders before serve is entered. An error means
	// that the server or the protocol (HTTP/2) cannot do it.
	Hijack(serve func(conn net.Conn, early []byte)) error
}
