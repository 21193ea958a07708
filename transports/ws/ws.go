// Package ws is the WebSocket transport: one packet in one message, on the
// lxzan/gws library.
//
// The library reads; what leaves goes through one place, the gather, which
// collects whatever is to be sent and writes it with one system call. Frames
// that are not compressed are built here, once for all receivers of a
// broadcast.
package ws

import (
	"compress/flate"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

// Options says how the WebSocket transport behaves. The zero value works;
// zero and negative numbers mean the default.
type Options struct {
	// ReadBufferSize is the size in bytes of the buffers that messages are
	// read into; by default 8192. A burst that fits is read, and therefore
	// answered, with one system call. A connection borrows a buffer while it
	// has something to handle, and holds none while it waits, but for one of
	// 1024 bytes with TLS. It does not limit the size of messages.
	ReadBufferSize int

	// WriteTimeout is how long a peer may take nothing of what is to be
	// sent to it before the connection ends with ErrSlowConsumer; by default
	// 10 seconds.
	WriteTimeout time.Duration

	// CloseTimeout is how long an ending connection waits for the peer to
	// take what is still unsent and to answer the close frame before the TCP
	// connection is closed; by default 5 seconds. The session does not wait.
	CloseTimeout time.Duration

	// Compression is about permessage-deflate, which is off by default: it
	// costs more processor time and memory than it saves for small messages.
	Compression Compression

	// SelectSubprotocol chooses among the subprotocols that a client offers,
	// of which there is at least one. An answer that was not offered, such
	// as "", makes the server name none, and browsers then refuse the
	// connection. By default the first is chosen, as the reference
	// implementation does. It is called from the goroutine of the request.
	SelectSubprotocol func(offered []string) string
}

// Compression configures permessage-deflate (RFC 7692). A client that does
// not offer it is served without.
type Compression struct {
	// Enabled turns compression on, in both directions.
	Enabled bool

	// Threshold is the size in bytes from which messages are compressed; by
	// default 1024. With ContextTakeover there is none. Packets with
	// NoCompress set never are.
	Threshold int

	// Level is the deflate level, 1 to 9; by default, and if it is out of
	// this range, 1, the fastest.
	Level int

	// ContextTakeover lets a message refer to those before it, if the client
	// agrees. Small repetitive messages then compress well, but each
	// connection holds up to 32 KiB for each direction, and a broadcast is
	// compressed for every receiver by itself.
	ContextTakeover bool
}

const (
	defaultReadBufferSize = 8 << 10
	defaultWriteTimeout   = 10 * time.Second
	defaultCloseTimeout   = 5 * time.Second
	defaultThreshold      = 1024
)

// transport is the WebSocket transport. Its fields but upgraders never
// change.
type transport struct {
	options Options

	// deflatedForms are the keys under which a packet keeps its compressed
	// frame, by dialect. They name the transport because another
	// one may compress differently.
	deflatedForms [dialects]any

	upgraders sync.Map  // int, the message size limit -> *gws.Upgrader
	blocks    sync.Pool // of *block, see input
}

var _ transports.HTTPTransport = (*transport)(nil)

// New returns the WebSocket transport. Sessions may open on it and may be
// upgraded to it.
func New(options Options) transports.HTTPTransport {
	if options.ReadBufferSize <= 0 {
		options.ReadBufferSize = defaultReadBufferSize
	}
	if options.WriteTimeout <= 0 {
		options.WriteTimeout = defaultWriteTimeout
	}
	if options.CloseTimeout <= 0 {
		options.CloseTimeout = defaultCloseTimeout
	}
	if options.SelectSubprotocol == nil {
		options.SelectSubprotocol = func(offered []string) string { return offered[0] }
	}
	if options.Compression.Threshold <= 0 {
		options.Compression.Threshold = defaultThreshold
	}
	if level := options.Compression.Level; level < flate.BestSpeed || level > flate.BestCompression {
		options.Compression.Level = flate.BestSpeed
	}
	t := &transport{options: options}
	t.blocks.New = func() any { return &block{make([]byte, options.ReadBufferSize)} }
	for d := range t.deflatedForms {
		t.deflatedForms[d] = deflatedForm{t, dialect(d)}
	}
	return t
}

// Name implements transports.Transport.
func (t *transport) Name() string { return "websocket" }

// Features implements transports.Transport.
func (t *transport) Features() transports.Features {
	return transports.Features{UpgradeTarget: true, HTTPUpgrade: true, Revision3: true}
}

// Accept implements transports.HTTPTransport. A request that is not an
// Upgrade is refused with an Engine.IO error. One that is, but breaks RFC
// 6455, is answered as WebSocket libraries do: status 400 and a sentence.
func (t *transport) Accept(ex transports.Exchange, adm transports.Admission) {
	h := readHello(ex)
	if !hasToken(h.upgrade, "websocket") {
		adm.Refuse(ex, "not a WebSocket handshake")
		return
	}
	if complaint := h.check(ex.Method()); complaint != "" {
		if h.version != version {
			ex.SetHeader("Sec-WebSocket-Version", version)
		}
		ex.SetHeader("Connection", "close")
		ex.SetHeader("Content-Type", "text/html")
		_ = ex.Respond(http.StatusBadRequest, []byte(complaint)) // the client may be gone; nothing depends on it
		return
	}
	u := upgrade{
		transport: t,
		request:   h.request(),
		fields:    t.responseFields(h, ex.ResponseHeaders()),
		dialect:   dialectOf(adm.Revision, ex.Query().Get("b64") != ""),
		adm:       adm,
	}
	if t.options.Compression.Enabled {
		u.deflate = negotiate(h.extensions, t.options.Compression.ContextTakeover)
		if u.deflate.enabled {
			u.request.Header.Set("Sec-WebSocket-Extensions", u.deflate.offer())
		}
	}
	if err := ex.Hijack(u.serve); err != nil {
		adm.Refuse(ex, "the connection cannot become a WebSocket: "+err.Error())
	}
}

// An upgrade is an accepted request on its way to become a conn.
type upgrade struct {
	transport *transport
	request   *http.Request // what gws is told of the request
	fields    []byte        // further lines for the head of the 101
	dialect   dialect
	deflate   deflate
	adm       transports.Admission
}

// serve runs the connection on its own goroutine, from the 101 to the end.
func (u *upgrade) serve(netConn net.Conn, early []byte) {
	c := newConn(u.transport, netConn)
	defer c.over()
	if u.open(c, early) {
		c.read()
	}
}

// open makes a WebSocket of the connection, and reports whether there is
// something to read.
func (u *upgrade) open(c *conn, early []byte) bool {
	g := &c.gather
	if err := g.net.SetDeadline(time.Time{}); err != nil { // the HTTP server may have left one
		return false
	}
	// The reader ends up in a pool of gws that nobody takes from, because
	// every connection brings its own.
	reader := u.transport.newReader(g.net, g.raw, early)
	socket, err := u.transport.upgrader(u.adm.MaxPayload).UpgradeFromConn(g, reader, u.request)
	if err != nil {
		_, _ = g.flush(false) // gws has written its complaint
		return false
	}
	g.insertFields(u.fields)
	c.socket = socket
	c.dialect = u.dialect
	if u.deflate.enabled {
		c.threshold = u.transport.options.Compression.Threshold
		c.takeover = u.deflate.serverTakeover
		if c.takeover {
			c.threshold = 0
		}
	}
	c.deflate = u.deflate.enabled
	return c.start(u.adm.Attach)
}

// upgrader returns the gws side of connections whose messages have at most
// limit bytes. There are as many as servers with different limits.
func (t *transport) upgrader(limit int64) *gws.Upgrader {
	size := int(min(max(limit, 1), math.MaxInt32))
	if u, ok := t.upgraders.Load(size); ok {
		return u.(*gws.Upgrader) //nolint:forcetypeassert // the map holds nothing else
	}
	u, _ := t.upgraders.LoadOrStore(size, gws.NewUpgrader(events{}, &gws.ServerOption{
		ReadMaxPayloadSize:  size,
		WriteMaxPayloadSize: math.MaxInt,
		ParallelGolimit:     1,
		// Text is checked by transports.ParseText, once, which makes bad
		// UTF-8 the parse error that it is on every transport.
		CheckUtf8Enabled:  false,
		PermessageDeflate: t.permessageDeflate(),
		NewSession:        func() gws.SessionStorage { return noStorage{} },
	}))
	return u.(*gws.Upgrader) //nolint:forcetypeassert // the map holds nothing else
}

// noStorage stands in for the map that gws would make for each connection.
type noStorage struct{}

func (noStorage) Len() int                     { return 0 }
func (noStorage) Load(string) (any, bool)      { return nil, false }
func (noStorage) Delete(string)                {}
func (noStorage) Store(string, any)            {}
func (noStorage) Range(func(string, any) bool) {}
