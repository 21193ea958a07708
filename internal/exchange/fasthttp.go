package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// FastHTTP returns the exchange of a fasthttp request. It is valid until the
// handler returns. kept says that the server runs with KeepHijackedConns; if it
// does not, a hijacked connection is served on the server's goroutine, which
// closes it afterwards.
//
// With StreamRequestBody a body that is too large is answered; without it, one
// over the server's MaxRequestBodySize is refused by fasthttp, with status 400,
// before there is an exchange.
func FastHTTP(ctx *fasthttp.RequestCtx, kept bool) transports.Exchange {
	ctx.Response.Header.SetNoDefaultContentType(true)
	return &fastExchange{ctx: ctx, kept: kept}
}

type fastExchange struct {
	ctx     *fasthttp.RequestCtx
	kept    bool
	parking parking
	upload  nethttp.Upload
}

var _ transports.Exchange = (*fastExchange)(nil)

// The strings of a RequestCtx are its buffers, which it reuses: all are copied.

func (e *fastExchange) Method() string { return string(e.ctx.Method()) }
func (e *fastExchange) Path() string   { return string(e.ctx.Path()) }
func (e *fastExchange) Query() transports.Query {
	return transports.Query(e.ctx.URI().QueryString())
}
func (e *fastExchange) RemoteAddr() string       { return e.ctx.RemoteAddr().String() }
func (e *fastExchange) Secure() bool             { return e.ctx.IsTLS() }
func (e *fastExchange) Context() context.Context { return e.ctx }

func (e *fastExchange) Header(name string) string {
	if value := e.ctx.Request.Header.Peek(name); value != nil {
		return string(value)
	}
	// A server that does not normalise names finds them in one case only.
	for n, value := range e.ctx.Request.Header.All() {
		if len(n) == len(name) && strings.EqualFold(string(n), name) {
			return string(value)
		}
	}
	return ""
}

func (e *fastExchange) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, value := range e.ctx.Request.Header.All() {
			if !yield(string(name), string(value)) {
				return
			}
		}
	}
}

func (e *fastExchange) ResponseHeaders() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, value := range e.ctx.Response.Header.All() {
			if string(name) == fasthttp.HeaderServer {
				continue // fasthttp's own
			}
			if !yield(string(name), string(value)) {
				return
			}
		}
	}
}

func (e *fastExchange) ReadBody(limit int64) ([]byte, error) {
	stream := e.ctx.RequestBodyStream()
	if stream == nil { // it has been read already
		body := e.ctx.PostBody()
		if int64(len(body)) > limit {
			return nil, transports.ErrPayloadTooLarge
		}
		return body, nil
	}
	length := max(int64(e.ctx.Request.Header.ContentLength()), -1)
	body, err := e.upload.Read(stream, length, limit, e.setReadDeadline)
	if errors.Is(err, transports.ErrClientGone) {
		// fasthttp notices a body that failed, but not one that was given up
		// before anything of it was read.
		e.ctx.SetConnectionClose()
	}
	return body, err
}

func (e *fastExchange) setReadDeadline(t time.Time) error { return e.ctx.Conn().SetReadDeadline(t) }

func (e *fastExchange) Abort() { e.upload.Abort(e.setReadDeadline) }

func (e *fastExchange) SetHeader(name, value string) { e.ctx.Response.Header.Set(name, value) }
func (e *fastExchange) AddHeader(name, value string) { e.ctx.Response.Header.Add(name, value) }

func (e *fastExchange) Respond(status int, body []byte) error {
	e.ctx.SetStatusCode(status)
	e.ctx.SetBody(body) // copies; written when the handler has returned
	return nil
}

func (e *fastExchange) Park() error {
	if e.ctx.RequestBodyStream() != nil && e.ctx.Request.Header.ContentLength() != 0 {
		// The wait leaves the connection without a read deadline, and the
		// server would wait for the body of this request without end.
		e.ctx.SetConnectionClose()
	}
	return e.parking.park(e.ctx.Conn())
}

func (e *fastExchange) Unpark() { e.parking.unpark() }

func (e *fastExchange) Hijack(serve func(conn net.Conn, early []byte)) error {
	kept := e.kept
	e.ctx.HijackSetNoResponse(true) // the 101 is the transport's to write
	e.ctx.Hijack(func(wrapped net.Conn) {
		conn := wrapped
		if w, ok := wrapped.(interface{ UnsafeConn() net.Conn }); ok {
			// The wrapper's Close does nothing on some servers, and the
			// wrapper is reused when this function returns.
			conn = w.UnsafeConn()
		}
		early := buffered(wrapped, conn)
		if kept {
			go serve(conn, early)
		} else {
			serve(conn, early)
		}
	})
	return nil
}

// buffered returns what fasthttp has read past the request, leaving conn
// without a deadline. Under one that has passed the wrapper yields that and
// does not read the connection. A connection that cannot do this is broken,
// and whoever serves it will find out.
func buffered(wrapped io.Reader, conn net.Conn) []byte {
	if conn.SetReadDeadline(nethttp.LongAgo) != nil {
		return nil
	}
	var early bytes.Buffer
	_, _ = early.ReadFrom(wrapped) // ends with the deadline
	_ = conn.SetReadDeadline(time.Time{})
	return early.Bytes()
}
