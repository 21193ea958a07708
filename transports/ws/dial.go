package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 1.3 asks for it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

// ErrNotSwitched is returned by Dial when the server did not answer with a
// WebSocket. The response says with what.
var ErrNotSwitched = errors.New("ws: the server has not switched to WebSocket")

// A Dialer opens the client's end of WebSockets. It is safe for concurrent
// use; connections of one Dialer share their buffers.
type Dialer struct{ transport *transport }

// NewDialer returns a Dialer. SelectSubprotocol is without meaning for it.
func NewDialer(o Options) *Dialer {
	return &Dialer{transport: New(o).(*transport)} //nolint:forcetypeassert // New makes nothing else
}

// A Dialed is a connection that has become a WebSocket and has to be served.
type Dialed struct {
	dialer     *Dialer
	conn       net.Conn
	early      []byte
	extensions string
}

// Dial sends r, a GET request for an http or https URL, by way of client,
// which brings its proxy, TLS, cookies and connections, and makes a WebSocket
// of what is opened for it. Header fields of the handshake are added to r. The
// context of r bounds Dial and nothing after it, and so does the Timeout of
// client.
//
// The response is returned if there was one. Its body must be closed if err is
// not nil. The RoundTripper of client must let through to net/http what it is
// called with, context included.
func (d *Dialer) Dial(client *http.Client, r *http.Request) (*Dialed, *http.Response, error) {
	key := newKey()
	var conn net.Conn
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn },
	})
	if client.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, client.Timeout)
		defer cancel()
		plain := *client
		plain.Timeout = 0 // it would end the connection
		client = &plain
	}
	r = r.Clone(ctx)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", version)
	r.Header.Set("Sec-WebSocket-Key", key)
	if c := d.transport.options.Compression; c.Enabled {
		offer := deflate{serverTakeover: c.ContextTakeover, clientTakeover: c.ContextTakeover}.offer()
		r.Header.Set("Sec-WebSocket-Extensions", offer)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	if complaint := checkSwitch(resp, key); complaint != "" {
		return nil, resp, fmt.Errorf("%w: %s", ErrNotSwitched, complaint)
	}
	body, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || conn == nil {
		return nil, resp, fmt.Errorf("%w: the RoundTripper does not give its connection away", ErrNotSwitched)
	}
	early, err := readEarly(conn, body)
	if err != nil {
		return nil, resp, fmt.Errorf("ws: %w", err)
	}
	return &Dialed{
		dialer: d, conn: conn, early: early,
		extensions: resp.Header.Get("Sec-WebSocket-Extensions"),
	}, resp, nil
}

// checkSwitch returns what is wrong with the answer to a handshake (RFC 6455
// section 4.1), or "".
func checkSwitch(resp *http.Response, key string) string {
	switch h := resp.Header; {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return "status " + resp.Status
	case !hasToken(h.Get("Upgrade"), "websocket"):
		return "no Upgrade header field"
	case !hasToken(h.Get("Connection"), "upgrade"):
		return "no Connection header field"
	case h.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return "wrong Sec-WebSocket-Accept header field"
	}
	return ""
}

// readEarly returns what net/http has read past the response, without reading
// from the connection, whose deadline has passed meanwhile.
func readEarly(conn net.Conn, body io.Reader) ([]byte, error) {
	if err := conn.SetDeadline(time.Unix(1, 0)); err != nil {
		return nil, err
	}
	early, _ := io.ReadAll(body) // ends with the deadline, or the next read tells
	return early, conn.SetDeadline(time.Time{})
}

// Close ends a connection that is not going to be served.
func (w *Dialed) Close() error { return w.conn.Close() }

// Serve runs the connection until it is over. The rules are those of
// transports.Admission: attach is called once, limit is the largest message
// that is taken from the server, in bytes.
func (w *Dialed) Serve(limit int64, attach func(transports.Conn) (transports.Sink, error)) {
	c := newConn(w.dialer.transport, w.conn)
	defer c.over()
	if err := w.greet(c, limit); err != nil {
		if sink, failed := attach(c); failed == nil {
			c.sink = sink
			c.lost(transportError(err))
		}
		return
	}
	if c.start(attach) {
		c.read()
	}
}

// greet makes the gws side of a connection. gws knows no other way than to do
// the handshake itself, so it gets one that is made up.
func (w *Dialed) greet(c *conn, limit int64) error {
	t := w.dialer.transport
	g := &c.gather
	g.masked = true
	source, size := t.newSource(g.net, g.raw, w.early)
	hello := &greeting{gather: g, extensions: w.extensions}
	g.source = hello
	socket, resp, err := gws.NewClientFromConn(events{}, &gws.ClientOption{
		Addr:                "ws://upshift/",
		ReadBufferSize:      size,
		ReadMaxPayloadSize:  int(min(max(limit, 1), math.MaxInt32)),
		WriteMaxPayloadSize: math.MaxInt,
		ParallelGolimit:     1,
		PermessageDeflate:   t.permessageDeflate(),
		NewSession:          func() gws.SessionStorage { return noStorage{} },
	}, g)
	if resp != nil {
		_ = resp.Body.Close() // there is none
	}
	if err != nil {
		return err
	}
	g.source = source
	c.socket = socket
	if d, ok := acceptedDeflate(w.extensions); ok && t.options.Compression.Enabled {
		c.deflate, c.takeover = true, d.clientTakeover
		c.threshold = t.options.Compression.Threshold
		if c.takeover {
			c.threshold = 0
		}
	}
	return nil
}

// acceptedDeflate reads what the server has agreed to.
func acceptedDeflate(extensions string) (deflate, bool) {
	if extensions == "" {
		return deflate{}, false
	}
	d := negotiate(extensions, true)
	return d, d.enabled
}

// A greeting answers the handshake of gws, which is in the gather when it is
// read from.
type greeting struct {
	gather     *gather
	extensions string
	answer     io.Reader
}

// Read implements io.Reader.
func (r *greeting) Read(p []byte) (int, error) {
	if r.answer == nil {
		b := r.gather.takeBack()
		if b == nil {
			return 0, io.ErrUnexpectedEOF
		}
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b.data)))
		b.free()
		if err != nil {
			return 0, err
		}
		answer := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
		answer = appendField(answer, "Sec-WebSocket-Accept", acceptKey(request.Header.Get("Sec-WebSocket-Key")))
		if r.extensions != "" {
			answer = appendField(answer, "Sec-WebSocket-Extensions", r.extensions)
		}
		r.answer = bytes.NewReader(append(answer, "\r\n"...))
	}
	return r.answer.Read(p)
}

// newKey makes the key of a handshake.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// acceptKey is the answer to a key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 section 1.3 asks for it
	return base64.StdEncoding.EncodeToString(sum[:])
}
