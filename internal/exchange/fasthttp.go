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

	"github.com/upshift-go/upshift/transports"
)

// FastHTTP returns the exchange of a fasthttp request. It is valid until the
// handler returns. kept says that the server runs with KeepHijackedConns; if it
// does not, a hijacked connection is served on the server's goroutine, which
// would close it otherwise.
func FastHTTP(ctx *fasthttp.RequestCtx, kept bool) transports.Exchange {
	e := &fastExchange{ctx: ctx, kept: kept}
	e.parking.wake = make(chan struct{})
	return e
}

type fastExchange struct {
	ctx     *fasthttp.RequestCtx
	kept    bool
	parking parking
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
	return string(e.ctx.Request.Header.Peek(name))
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
			switch string(name) {
			case fasthttp.HeaderContentType, fasthttp.HeaderContentLength, fasthttp.HeaderServer:
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
	length := int64(e.ctx.Request.Header.ContentLength())
	body, err := readBody(stream, max(length, -1), limit)
	if errors.Is(err, transports.ErrPayloadTooLarge) {
		discard(stream, e.ctx.Conn().SetReadDeadline)
	}
	return body, err
}

func (e *fastExchange) SetHeader(name, value string) { e.ctx.Response.Header.Set(name, value) }
func (e *fastExchange) AddHeader(name, value string) { e.ctx.Response.Header.Add(name, value) }

func (e *fastExchange) Respond(status int, body []byte) error {
	if strings.EqualFold(string(e.ctx.Response.Header.Peek("Connection")), "close") {
		e.ctx.SetConnectionClose()
	}
	e.ctx.SetStatusCode(status)
	e.ctx.SetBody(body) // copies; written when the handler has returned
	return nil
}

func (e *fastExchange) Park() error { return e.parking.park(e.ctx.Conn()) }
func (e *fastExchange) Unpark()     { e.parking.unpark() }

func (e *fastExchange) Abort() {
	_ = e.ctx.Conn().SetReadDeadline(longAgo) // fails only if the connection has ended
}

func (e *fastExchange) Hijack(serve func(conn net.Conn, early []byte)) error {
	kept := e.kept
	e.ctx.HijackSetNoResponse(true) // the 101 is the transport's to write
	e.ctx.Hijack(func(wrapped net.Conn) {
		early, err := buffered(wrapped)
		conn := wrapped
		if w, ok := wrapped.(interface{ UnsafeConn() net.Conn }); ok {
			// The wrapper's Close does nothing on some servers, and the
			// wrapper is reused when this function returns.
			conn = w.UnsafeConn()
		}
		switch {
		case err != nil:
			_ = conn.Close() // it is broken already
		case kept:
			go serve(conn, early)
		default:
			serve(conn, early)
		}
	})
	return nil
}

// buffered returns what fasthttp has read past the request. Under a deadline
// that has passed the wrapper yields that and never reads the connection.
func buffered(conn net.Conn) ([]byte, error) {
	if err := conn.SetDeadline(longAgo); err != nil {
		return nil, err
	}
	var early bytes.Buffer
	if _, err := early.ReadFrom(onlyReader{conn}); err == nil {
		return nil, io.EOF
	}
	return early.Bytes(), conn.SetDeadline(time.Time{})
}

type onlyReader struct{ io.Reader }
