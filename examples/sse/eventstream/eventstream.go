// Package eventstream is a transport for clients that have nothing but an
// EventSource and fetch: server-sent events down, POST up. It imports package
// transports and the standard library, passes transports/transporttest, and is
// as long as a transport has to be.
//
//	GET  /socket.io/?EIO=4&transport=sse         the stream, which opens the session
//	POST /socket.io/?EIO=4&transport=sse&sid=…   one packet, as text or as bytes
//
// A text packet comes down as an event whose data is the packet as a JSON
// string, because an EventSource changes line ends; a binary one as an event
// called "binary" whose data is base64. Up, the body is the packet: bytes if the
// content type is application/octet-stream, text otherwise. A client sends one
// POST at a time, or its packets have no order.
//
// Exchange has no streaming answers, so the transport takes the connection away
// from the HTTP server and writes the response itself. That excludes HTTP/2.
package eventstream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// New returns the transport, to be listed in the server's options.
func New() transports.HTTPTransport { return transport{} }

type transport struct{}

// Name implements transports.Transport.
func (transport) Name() string { return "sse" }

// Features implements transports.Transport. Sessions stay where they opened.
func (transport) Features() transports.Features { return transports.Features{} }

// Accept implements transports.HTTPTransport.
func (transport) Accept(ex transports.Exchange, adm transports.Admission) {
	c := &conn{maxPayload: adm.MaxPayload, out: make(chan []byte, 1), over: make(chan struct{})}
	head := responseHead(ex)
	err := ex.Hijack(func(netConn net.Conn, _ []byte) {
		c.net = netConn
		c.serve(head, adm.Attach)
	})
	if err != nil {
		adm.Refuse(ex, "no event stream on this connection: "+err.Error())
	}
}

// responseHead is what stands before the events, with the fields that were set
// by whoever handled the request before, such as those of CORS.
func responseHead(ex transports.Exchange) []byte {
	header := make(http.Header)
	for name, value := range ex.ResponseHeaders() {
		header.Add(name, value)
	}
	header.Del("Content-Length")
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("Connection", "close")     // the stream ends where the connection does
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	head := bytes.NewBufferString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(head) // a Buffer takes everything
	return append(head.Bytes(), "\r\n"...)
}

// A conn is one session: a stream, and the POSTs that come beside it.
type conn struct {
	// Fixed before the first Ready.
	net        net.Conn
	sink       transports.Sink
	maxPayload int64
	out        chan []byte   // events to be written; has room whenever the session may send
	over       chan struct{} // closed at the end

	ended atomic.Bool

	posting sync.Mutex // held by the POST that is being served; guards what follows
	deaf    bool       // the session takes nothing more
}

var _ transports.RequestConn = (*conn)(nil)

// serve runs on a goroutine of the connection's own, until its end.
func (c *conn) serve(head []byte, attach func(transports.Conn) (transports.Sink, error)) {
	defer c.net.Close()
	if _, err := c.net.Write(head); err != nil {
		return
	}
	c.posting.Lock() // the session can be found once it is attached, and there is no sink yet
	sink, err := attach(c)
	c.sink = sink
	c.posting.Unlock()
	if err != nil {
		return
	}
	var writing sync.WaitGroup
	writing.Go(c.write)
	sink.Ready()
	_, err = c.net.Read(make([]byte, 1)) // nothing comes on this connection but its end
	c.end(&transports.CloseError{Reason: transports.TransportClose, Err: err})
	writing.Wait()
}

// Send implements transports.Conn. Writing may block, so it is left to write.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	var events []byte
	for _, p := range batch {
		if p.Shared != nil { // it goes to many: the event is made once
			events = append(events, p.Shared.Form(form{}, func() any { return appendEvent(nil, p) }).([]byte)...)
		} else {
			events = appendEvent(events, p)
		}
	}
	c.out <- events
	return false, nil
}

// form is the key under which packets keep their event.
type form struct{}

func appendEvent(dst []byte, p transports.Packet) []byte {
	if p.Binary {
		return append(base64.StdEncoding.AppendEncode(append(dst, "event: binary\ndata: "...), p.Data), "\n\n"...)
	}
	data, _ := json.Marshal(string(p.AppendText(nil))) // a string always marshals
	return append(append(append(dst, "data: "...), data...), "\n\n"...)
}

// write writes one batch after the other, and at the end what was sent before
// it. Whichever way it ends, the connection does.
func (c *conn) write() {
	defer c.net.Close()
	for {
		select {
		case events := <-c.out:
			if _, err := c.net.Write(events); err != nil {
				c.end(&transports.CloseError{Reason: transports.TransportClose, Err: err})
				return
			}
			c.sink.Ready()
		case <-c.over:
			select {
			case events := <-c.out:
				_, _ = c.net.Write(events) // the session has ended, whether or not this arrives
			default:
			}
			return
		}
	}
}

// Close implements transports.Conn.
func (c *conn) Close(cause error) { c.end(cause) }

// farewell is how long a client has to take what was sent before the end.
const farewell = 5 * time.Second

// end reports the end, once. No lock is held: the session may call Close again
// from inside Closed.
func (c *conn) end(cause error) {
	if c.ended.CompareAndSwap(false, true) {
		_ = c.net.SetWriteDeadline(time.Now().Add(farewell)) // fails only if the connection is gone
		close(c.over)
		c.sink.Closed(cause)
	}
}

// ServeRequest implements transports.RequestConn. The answer to a POST means
// that its packet was taken: a session that is full holds the client back.
func (c *conn) ServeRequest(ex transports.Exchange) {
	c.posting.Lock()
	defer c.posting.Unlock()
	ex.SetHeader("Cache-Control", "no-store")
	_ = ex.Respond(c.receive(ex), nil) // a client that has gone needs no answer
}

// receive passes one packet on and returns the status of the answer.
func (c *conn) receive(ex transports.Exchange) (status int) {
	if ex.Method() != http.MethodPost {
		return http.StatusMethodNotAllowed
	}
	body, err := ex.ReadBody(c.maxPayload)
	if errors.Is(err, transports.ErrPayloadTooLarge) {
		return http.StatusRequestEntityTooLarge // the session lives; the client decides
	}
	p := transports.Packet{Type: transports.Message, Binary: true, Data: body}
	if err == nil && ex.Header("Content-Type") != "application/octet-stream" {
		p, err = transports.ParseText(body)
	}
	switch {
	case err != nil:
		c.end(err)
		return http.StatusBadRequest
	case c.deaf || c.ended.Load():
		return http.StatusBadRequest
	case p.Type == transports.Close:
		c.end(&transports.CloseError{Reason: transports.TransportClose})
	default:
		c.deaf = c.sink.Receive(p) != nil // it ends, and what is left is dropped
	}
	return http.StatusNoContent
}
