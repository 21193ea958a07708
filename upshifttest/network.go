package upshifttest

import (
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
)

// Why a client is disconnected, in the words of the official client.
const (
	reasonTransportClose   = "transport close"
	reasonTransportError   = "transport error"
	reasonPingTimeout      = "ping timeout"
	reasonForcedClose      = "forced close"
	reasonServerDisconnect = "io server disconnect"
	reasonClientDisconnect = "io client disconnect"
)

// Cut makes the network fail so that both sides notice at once. What is on its
// way is lost.
func (c *Client) Cut() {
	c.link.mu.Lock()
	w := c.link.live()
	c.link.mu.Unlock()
	if w != nil {
		w.cut()
	}
}

// CutAfterReceived makes the network fail when the client has received n more
// messages, whatever their namespace. The answer to a connect request is a
// message, as is each attachment; heartbeats are not. It counts on through
// reconnections. 0 takes it back.
func (c *Client) CutAfterReceived(n int) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.receives = n
}

// CutAfterSent makes the network fail when the server has received n more
// messages. See CutAfterReceived.
func (c *Client) CutAfterSent(n int) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.sends = n
}

// Vanish makes the network fail without a sign: nothing arrives any more on
// either side, until heartbeats are missed.
func (c *Client) Vanish() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if w := c.link.live(); w != nil {
		w.vanished = true
		w.pipe.Stall(true)
	}
}

// Stall makes the client stop reading, heartbeats included, until Resume. It
// takes what it has begun to read.
func (c *Client) Stall() { c.stall(true) }

// Resume makes a stalled client read again.
func (c *Client) Resume() { c.stall(false) }

func (c *Client) stall(stalled bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if w := c.link.live(); w != nil && !w.vanished {
		w.pipe.Stall(stalled)
	}
}

// Delay makes everything take d from one side to the other, from now on and on
// later connections too. 0, which is the default, takes it back. Order is kept.
func (c *Client) Delay(d time.Duration) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.delay = d
}

// Disconnect leaves the namespace, after what was sent before. The connection
// lives on.
func (c *Client) Disconnect() {
	c.link.tb.Helper()
	if err := c.emit(codec.Packet{Type: codec.Disconnect}, nil); err != nil {
		c.link.tb.Fatalf("upshifttest: Disconnect: %v", err)
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.lose(left, reasonClientDisconnect)
	c.link.notify()
}

// Close ends the connection, after what was sent before, as a page does that is
// closed. It waits until that has arrived.
func (c *Client) Close() {
	c.link.tb.Helper()
	c.link.mu.Lock()
	w := c.link.live()
	if w != nil {
		w.out.push(c.link.delay, transports.Packet{Type: transports.Close})
	}
	c.link.mu.Unlock()
	if w != nil {
		c.link.wait("the end of the connection", func() bool { return w.reason != "" })
	}
}

// Reconnect connects again, over a new connection if the old one was lost or c
// is still connected, in which case it is cut first. All clients of the
// connection that were not disconnected on purpose join their namespaces again,
// and ask to be recovered if they can be. It waits until they are connected, and
// fails the test if one is refused.
func (c *Client) Reconnect() {
	l := c.link
	l.tb.Helper()
	l.mu.Lock()
	w := l.live()
	if w != nil && !w.vanished && c.state != connected {
		c.connect(w)
		l.mu.Unlock()
		c.accepted()
		return
	}
	vanished := w != nil && w.vanished
	l.mu.Unlock()
	switch {
	case vanished:
		w.end(reasonTransportClose) // the server finds out by itself
	case w != nil:
		w.cut()
	}
	l.mu.Lock()
	var again []*Client
	for _, other := range l.clients {
		if other == c || other.state == lost {
			other.state = connecting
			again = append(again, other)
		}
	}
	l.mu.Unlock()
	if err := l.dial(); err != nil {
		l.tb.Fatalf("upshifttest: %v", err)
	}
	for _, other := range again {
		other.accepted()
	}
}

// ReconnectTo is Reconnect to another server, as when there are several behind a
// balancer.
func (c *Client) ReconnectTo(srv *core.Server) {
	c.link.tb.Helper()
	c.link.mu.Lock()
	c.link.server = srv
	c.link.mu.Unlock()
	c.Reconnect()
}

// Twin returns a client that is not connected and knows what c knows now: what it
// would come back with. Only one of the two can.
func (c *Client) Twin() *Client {
	l := c.link
	l.mu.Lock()
	server, options, auth := l.server, l.options, c.auth
	state, id, pid, offset := lost, c.id, c.pid, c.offset
	l.mu.Unlock()
	twin := newClient(newLink(l.tb, server, options), c.namespace, auth)
	twin.state, twin.id, twin.pid, twin.offset = state, id, pid, offset
	return twin
}

// WaitDisconnect waits until the client knows that it is disconnected, and
// returns the reason that the official client would give: "io server
// disconnect", "transport close", "transport error", "ping timeout", "forced
// close" after Close, "io client disconnect" after Disconnect.
func (c *Client) WaitDisconnect() string {
	c.link.tb.Helper()
	var reason string
	c.link.wait("a disconnection", func() bool {
		reason = c.reason
		return c.state == lost || c.state == left
	})
	return reason
}
