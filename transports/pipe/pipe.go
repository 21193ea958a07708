// Package pipe is a transport without a network: both ends are in one process.
// Upshift's own tests run on it, under testing/synctest too, and it is the
// worked example of a transport: everything that one has to do, and nothing
// else. It imports package transports and the standard library.
//
//	t := pipe.New()
//	srv, err := core.New(core.Options{Transports: []transports.Transport{t}})
//	client, err := t.Dial(srv, transports.Handshake{})
//
// What to look for in it when writing another one:
//
//   - Dial: the session has its Conn, and the transport its Sink, before
//     anything is read. The first Ready starts the session.
//   - conn.Send never waits. It says when the connection is full, and Ready is
//     called when it no longer is.
//   - conn.read delivers packets one at a time and stops reading while the
//     session does not take one: nothing is buffered on the way in.
//   - conn.end reports the end once, whoever it comes from, and with no lock
//     held. An end that comes from the client is read in its turn, after what
//     the client sent before.
package pipe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// ErrClosed is returned when the connection is over.
var ErrClosed = errors.New("pipe: connection is over")

// window is how many bytes the client may leave unread before the pipe counts
// as full. A connection of an operating system has buffers of that kind.
const window = 64 << 10

// Transport makes pipes. Its methods may be called from any goroutine.
type Transport struct{}

// New returns the transport, to be listed in the server's options.
func New() *Transport { return new(Transport) }

// Name implements transports.Transport.
func (*Transport) Name() string { return "pipe" }

// Features implements transports.Transport. A session may move to a pipe, but
// not away from it, so its conns need no Retire.
func (*Transport) Features() transports.Features {
	return transports.Features{UpgradeTarget: true}
}

// Dial opens a session on host or, if h names one, offers the pipe as an
// upgrade to it. A transport that listens does the same for each connection
// that it accepts. It does not block, and returns the error of host.Open.
func (t *Transport) Dial(host transports.Host, h transports.Handshake) (*Client, error) {
	c := &conn{
		limit:    host.MaxPayload(),
		toServer: make(chan transports.Packet),
		arrived:  make(chan struct{}, 1),
		left:     make(chan struct{}),
		gone:     make(chan struct{}),
	}
	sink, err := host.Open(t, h, c)
	if err != nil {
		return nil, err // the session was never ours: there is nobody to report to
	}
	c.sink = sink
	sink.Ready() // the session calls Send and Close from here on, and already inside
	go c.read()
	return &Client{conn: c}, nil
}

// A conn is the server's end.
type conn struct {
	// Fixed before the first Ready.
	sink     transports.Sink
	limit    int64
	toServer chan transports.Packet // unbuffered: a client that sends waits until it is read from
	arrived  chan struct{}          // has an element when there may be something for the client
	left     chan struct{}          // closed when the client has left
	gone     chan struct{}          // closed when the connection is over

	mu       sync.Mutex // guards what follows; never held while the sink is called
	toClient []transports.Packet
	unread   int                    // bytes in toClient
	stalled  bool                   // the client takes nothing
	owed     bool                   // Send returned false: Ready is due when the client has taken everything
	farewell *transports.CloseError // why the client left; not nil when left is closed
	over     bool
	cause    error // of the end; set with over
}

var _ transports.Conn = (*conn)(nil)

// Send implements transports.Conn. The packets are copied, so the batch would
// be the session's again in any case; false tells the session to hold back
// what it has next.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		// This may be quicker than Closed, and must give the same reason.
		return false, fmt.Errorf("%w: %w", ErrClosed, c.cause)
	}
	for _, p := range batch {
		if p.Type == transports.Close {
			continue // a pipe has an end of its own, and needs no packet to say so
		}
		p.Data, p.Shared = slices.Clone(p.Data), nil
		c.toClient = append(c.toClient, p)
		c.unread += size(p)
	}
	c.wake()
	c.owed = len(c.toClient) > 0 && (c.stalled || c.unread > window)
	return !c.owed, nil
}

// Close implements transports.Conn. What was sent before can still be read.
func (c *conn) Close(cause error) { c.end(cause) }

// end reports the end, once. The session may call Close from inside any of the
// sink's methods, Closed among them.
func (c *conn) end(cause error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	c.over, c.cause = true, cause
	close(c.gone)
	c.mu.Unlock()
	c.sink.Closed(cause)
}

// read passes on what the client sends. It is the one goroutine of a pipe, and
// ends with it.
func (c *conn) read() {
	for {
		select {
		case p := <-c.toServer:
			if !c.deliver(p) {
				return
			}
		case <-c.left:
			c.end(c.farewell)
			return
		case <-c.gone:
			return
		}
	}
}

// deliver passes one packet to the session, which blocks while that is full.
// It reports whether there may be another.
func (c *conn) deliver(p transports.Packet) bool {
	if int64(size(p)) > c.limit {
		c.end(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrPayloadTooLarge})
		return false
	}
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over || c.sink.Receive(p) != nil { // an error: the session is closing the pipe, or has done so
		return false
	}
	// The session has copied what it keeps. One that has not shall notice: a
	// connection that reads would put its next packet here.
	for i := range p.Data {
		p.Data[i] = 0xff
	}
	return true
}

// size is what a packet counts for, which includes its type digit.
func size(p transports.Packet) int { return 1 + len(p.Data) }

func (c *conn) wake() {
	select {
	case c.arrived <- struct{}{}:
	default: // it has been woken already
	}
}

// take removes the next packet for the client, if it takes any.
func (c *conn) take() (p transports.Packet, ok bool) {
	c.mu.Lock()
	if len(c.toClient) == 0 || c.stalled {
		c.mu.Unlock()
		return transports.Packet{}, false
	}
	p = c.toClient[0]
	c.toClient[0] = transports.Packet{}
	c.toClient = c.toClient[1:]
	c.unread -= size(p)
	ready := c.owed && len(c.toClient) == 0 && !c.over
	if ready {
		c.owed = false
	}
	if len(c.toClient) > 0 {
		c.wake() // there may be others who wait
	}
	c.mu.Unlock()
	if ready {
		c.sink.Ready() // calls Send, which takes mu
	}
	return p, true
}

// leave tells the server that the client has left.
func (c *conn) leave(reason transports.Reason, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.farewell == nil {
		c.farewell = &transports.CloseError{Reason: reason, Err: err}
		close(c.left)
	}
}

// A Client is the client's end. Its methods may be called from any goroutine.
type Client struct{ conn *conn }

// Send sends packets, in order. It blocks while the session takes nothing, and
// returns ErrClosed when the connection is over. The data is copied.
func (c *Client) Send(packets ...transports.Packet) error {
	for _, p := range packets {
		if c.closed() {
			return ErrClosed
		}
		p.Data = slices.Clone(p.Data)
		select {
		case c.conn.toServer <- p:
		case <-c.conn.left:
			return ErrClosed
		case <-c.conn.gone:
			return ErrClosed
		}
	}
	return nil
}

// closed reports whether either side has ended the connection.
func (c *Client) closed() bool {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.conn.over || c.conn.farewell != nil
}

// Receive returns the next packet from the server, whose data is the caller's.
// It blocks until there is one or ctx ends, and then returns ctx's cause. When
// the server has ended the connection it first returns what is left, and then
// ErrClosed.
func (c *Client) Receive(ctx context.Context) (transports.Packet, error) {
	for {
		if p, ok := c.conn.take(); ok {
			return p, nil
		}
		select {
		case <-c.conn.arrived:
		case <-c.conn.gone:
			if p, ok := c.conn.take(); ok {
				return p, nil
			}
			return transports.Packet{}, ErrClosed
		case <-c.conn.left:
			return transports.Packet{}, ErrClosed
		case <-ctx.Done():
			return transports.Packet{}, context.Cause(ctx)
		}
	}
}

// Stall makes the client stop taking what the server sends, or take it again.
// A server that goes on sending finds the pipe full.
func (c *Client) Stall(stalled bool) {
	c.conn.mu.Lock()
	c.conn.stalled = stalled
	c.conn.mu.Unlock()
	c.conn.wake()
}

// Close ends the connection from the client's side. The server receives what
// was sent before. It does not wait for that, and returns nil.
func (c *Client) Close() error {
	c.conn.leave(transports.TransportClose, nil)
	return nil
}

// Cut ends the connection as a network failure would.
func (c *Client) Cut() { c.conn.leave(transports.TransportError, transports.ErrClientGone) }
