// Package pipe is a transport without a network: both ends are in one process.
// It is what Upshift's own tests run on, under testing/synctest too, and it is
// an example: everything a transport has to do, and nothing else. It imports
// package transports only.
//
//	t := pipe.New()
//	srv, err := core.New(core.Options{Transports: []transports.Transport{t}})
//	client, err := t.Dial(srv, transports.Handshake{})
package pipe

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// Transport makes pipes.
type Transport struct{}

// New returns the transport, to be listed in the server's options.
func New() *Transport { return new(Transport) }

// Name implements transports.Transport.
func (*Transport) Name() string { return "pipe" }

// Features implements transports.Transport. A session may move to a pipe, but
// not away from it.
func (*Transport) Features() transports.Features {
	return transports.Features{UpgradeTarget: true}
}

// Dial opens a session on host, or, if h names one, offers the pipe as an
// upgrade to it. A transport that listens does the same for each connection
// that it accepts.
func (t *Transport) Dial(host transports.Host, h transports.Handshake) (*Client, error) {
	c := &conn{
		limit:    host.MaxPayload(),
		toServer: make(chan transports.Packet),
		gone:     make(chan struct{}),
		arrived:  make(chan struct{}, 1),
	}
	sink, err := host.Open(t, h, c)
	if err != nil {
		return nil, err // the session was never ours: there is nothing to close
	}
	c.sink = sink
	sink.Ready() // from here on the session may call Send and Close
	go c.read()
	return &Client{conn: c}, nil
}

// A conn is the server's end.
type conn struct {
	// Fixed before the first Ready.
	sink     transports.Sink
	limit    int64
	toServer chan transports.Packet // unbuffered: a client that sends waits for the session to take it
	gone     chan struct{}          // closed when the connection is over
	arrived  chan struct{}          // has an element when there may be something for the client

	mu       sync.Mutex // guards what follows
	toClient []transports.Packet
	stalled  bool // the client takes nothing
	owed     bool // Send returned false: Ready is due when the client has taken everything
	over     bool
}

var _ transports.Conn = (*conn)(nil)

// Send implements transports.Conn. The packets are copied, so the batch is the
// session's again at once; but while the client has not taken them the pipe is
// full, and that is the session's to know.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false, errors.New("pipe: closed")
	}
	for _, p := range batch {
		p.Data, p.Shared = slices.Clone(p.Data), nil
		c.toClient = append(c.toClient, p)
	}
	if c.stalled {
		c.owed = true
		return false, nil
	}
	c.wake()
	return true, nil
}

// Close implements transports.Conn. What was sent before can still be read.
func (c *conn) Close(cause error) { c.end(cause) }

// end tells both sides, once.
func (c *conn) end(cause error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return
	}
	c.over = true
	close(c.gone)
	c.mu.Unlock()
	c.sink.Closed(cause) // with no lock held: the session may call back
}

// read passes on what the client sends. It is the one goroutine of a pipe, and
// ends with it.
func (c *conn) read() {
	for {
		select {
		case p := <-c.toServer:
			if int64(len(p.Data))+1 > c.limit {
				c.end(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrPayloadTooLarge})
				return
			}
			data := slices.Clone(p.Data)
			p.Data = data
			if c.sink.Receive(p) != nil { // blocks while the session is full
				return
			}
			// The session has copied what it keeps. One that has not shall
			// notice in its tests.
			for i := range data {
				data[i] = 0xff
			}
		case <-c.gone:
			return
		}
	}
}

func (c *conn) wake() {
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// A Client is the client's end. Its methods may be called from any goroutine.
type Client struct{ conn *conn }

// ErrClosed is returned when the connection is over.
var ErrClosed = errors.New("pipe: connection is over")

// Send sends packets, in order. It blocks while the session takes nothing.
func (c *Client) Send(packets ...transports.Packet) error {
	for _, p := range packets {
		select {
		case <-c.conn.gone:
			return ErrClosed
		default:
		}
		select {
		case c.conn.toServer <- p:
		case <-c.conn.gone:
			return ErrClosed
		}
	}
	return nil
}

// Receive returns the next packet from the server. It blocks until there is
// one. When the connection is over it first returns what is left, and then
// ErrClosed.
func (c *Client) Receive(ctx context.Context) (transports.Packet, error) {
	for {
		if p, ok := c.conn.next(); ok {
			return p, nil
		}
		select {
		case <-c.conn.arrived:
		case <-c.conn.gone:
			if p, ok := c.conn.next(); ok {
				return p, nil
			}
			return transports.Packet{}, ErrClosed
		case <-ctx.Done():
			return transports.Packet{}, context.Cause(ctx)
		}
	}
}

func (c *conn) next() (transports.Packet, bool) {
	c.mu.Lock()
	if len(c.toClient) == 0 || c.stalled {
		c.mu.Unlock()
		return transports.Packet{}, false
	}
	p := c.toClient[0]
	c.toClient = c.toClient[1:]
	ready := c.owed && len(c.toClient) == 0
	if ready {
		c.owed = false
	}
	c.mu.Unlock()
	if ready {
		c.sink.Ready()
	}
	return p, true
}

// Stall makes the client stop taking what the server sends, or take it again.
// A server that goes on sending finds the pipe full.
func (c *Client) Stall(stalled bool) {
	c.conn.mu.Lock()
	c.conn.stalled = stalled
	c.conn.mu.Unlock()
	c.conn.wake()
}

// Close ends the connection from the client's side.
func (c *Client) Close() error {
	c.conn.end(&transports.CloseError{Reason: transports.TransportClose})
	return nil
}

// Cut ends the connection as a network failure would.
func (c *Client) Cut() {
	c.conn.end(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrClientGone})
}
