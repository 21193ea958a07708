// Package polling is the HTTP long-polling transport: a GET is parked until
// there is something to send, a POST brings what the client sends. It works
// behind every proxy, and sessions that open on it can move to a better
// transport.
package polling

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// Options configure the transport. The zero value of each field is its
// default.
type Options struct {
	// CompressFrom is the size in bytes from which poll responses are
	// compressed, with gzip or deflate, if the client accepts one. Default
	// 1024. Negative: never.
	CompressFrom int
	// MaxPackets is how many packets one POST may hold. Default 10,000.
	MaxPackets int
}

// New returns the transport.
func New(o Options) transports.HTTPTransport {
	if o.CompressFrom == 0 {
		o.CompressFrom = 1024
	}
	if o.MaxPackets <= 0 {
		o.MaxPackets = 10_000
	}
	return &transport{options: o}
}

type transport struct{ options Options }

// Name implements transports.Transport.
func (t *transport) Name() string { return "polling" }

// Features implements transports.Transport.
func (t *transport) Features() transports.Features { return transports.Features{Upgradable: true} }

// Accept implements transports.HTTPTransport. The first request is a poll.
func (t *transport) Accept(ex transports.Exchange, adm transports.Admission) {
	c := &conn{options: &t.options, maxPayload: adm.MaxPayload}
	p := newPoll(ex)
	c.poll = p
	sink, err := adm.Attach(c)
	if err != nil {
		adm.Refuse(ex, err.Error())
		return
	}
	c.sink = sink
	sink.Ready()
	c.serve(p)
}

// A conn is one session's polling: at most one GET that is parked, and at most
// one POST that is being received. Requests may come over any number of TCP
// connections.
type conn struct {
	// Fixed before the first Ready.
	options    *Options
	maxPayload int64
	sink       transports.Sink

	mu      sync.Mutex // guards what follows
	poll    *poll      // parked; nil if there is none or it has its answer
	post    *post      // being received
	retired bool
	ended   bool // Closed was called, or is about to be
}

var (
	_ transports.RequestConn = (*conn)(nil)
	_ transports.Retirer     = (*conn)(nil)
)

var errEnded = errors.New("polling: conn is closed")

// ServeRequest implements transports.RequestConn.
func (c *conn) ServeRequest(ex transports.Exchange) {
	switch ex.Method() {
	case "GET":
		c.get(ex)
	case "POST":
		c.receive(ex)
	default:
		ex.SetHeader("Allow", "GET, POST")
		respondEmpty(ex, 405)
	}
}

// Send implements transports.Conn: it is the answer to the parked poll.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	c.mu.Lock()
	p := c.poll
	switch {
	case c.retired:
		err = transports.ErrRetired
	case c.ended || p == nil: // the client of the poll has just gone
		err = errEnded
	}
	if err != nil {
		c.mu.Unlock()
		return false, err
	}
	c.poll = nil // before the answer is written: the client may be faster than our goroutine
	c.mu.Unlock()
	p.answer(batch)
	return false, nil
}

// Retire implements transports.Retirer. It waits for a POST that is being
// delivered. It is called from the goroutine of another conn, since that is
// where the client commits to it, so it does not wait for itself.
func (c *conn) Retire() {
	c.mu.Lock()
	c.retired = true
	p, post := c.poll, c.post
	c.poll = nil
	c.mu.Unlock()
	if p != nil {
		p.answer(closing)
	}
	if post != nil {
		post.wait()
	}
}

// Close implements transports.Conn.
func (c *conn) Close(cause error) {
	c.end(cause, closing)
}

// Batches that release a poll.
var (
	closing = []transports.Packet{{Type: transports.Close}}
	nothing = []transports.Packet{{Type: transports.Noop}}
)

// end ends the conn, once. A parked poll is answered with farewell, a POST
// that is being read is cut off.
func (c *conn) end(cause error, farewell []transports.Packet) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	p, post := c.poll, c.post
	c.poll = nil
	c.mu.Unlock()
	if p != nil {
		p.answer(farewell)
	}
	if post != nil {
		post.abort()
	}
	c.sink.Closed(cause)
}

// gone answers a request that comes after the end, or after the session has
// moved on. The session manager seldom lets one through.
func gone(ex transports.Exchange) {
	ex.SetHeader("Content-Type", "application/json")
	ex.SetHeader("Cache-Control", "no-store")
	_ = ex.Respond(400, []byte(`{"code":3,"message":"Bad request"}`)) // the client may be gone as well
}

// respondEmpty answers without a body. A client that has gone needs no answer.
func respondEmpty(ex transports.Exchange, status int) {
	ex.SetHeader("Cache-Control", "no-store")
	ex.SetHeader("Content-Type", "text/plain; charset=UTF-8")
	_ = ex.Respond(status, nil)
}
