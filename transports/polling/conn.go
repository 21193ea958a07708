package polling

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// state is where a conn is in its life. It only moves forward.
type state uint8

const (
	opening state = iota // the first Ready has not returned; nobody knows the session id
	open
	retired // the session has moved on; a POST that was here before is still taken
	closed  // Closed was called, or is about to be
)

// A conn is one session's polling: at most one GET that is parked, and at most
// one POST that is being received. Requests may come over any number of TCP
// connections.
type conn struct {
	// Fixed before the state is open, and before anybody calls the conn.
	options    *Options
	maxPayload int64
	sink       transports.Sink
	old        bool // the client speaks revision 3
	noBinary   bool // and cannot take binary payloads

	mu       sync.Mutex // guards what follows, and is never held while the sink is called
	state    state
	cause    error               // why it is closed
	poll     *poll               // parked; nil if there is none or it has its answer
	post     transports.Exchange // the POST that is being received, or nil
	reading  bool                // its body is being read
	received *sync.Cond          // signals that post has become nil
}

var (
	_ transports.RequestConn = (*conn)(nil)
	_ transports.Retirer     = (*conn)(nil)
)

var errNotReady = errors.New("polling: no poll to answer")

// ServeRequest implements transports.RequestConn.
func (c *conn) ServeRequest(ex transports.Exchange) {
	switch ex.Method() {
	case "GET":
		c.serveGet(ex)
	case "POST":
		c.servePost(ex)
	default:
		ex.SetHeader("Allow", "GET, POST")
		respondEmpty(ex, 405)
	}
}

// Send implements transports.Conn: the batch is the answer to the parked poll.
// It is encoded here and written by the goroutine of the poll. The Conn is
// ready again when the next poll comes.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	body := c.newBody(batch)
	c.mu.Lock()
	switch {
	case c.state == retired:
		err = transports.ErrRetired
	case c.state == closed:
		err = c.cause
	case c.poll == nil:
		err = errNotReady
	default:
		c.answerLocked(body, c.options.worthCompressing(batch, len(body.data)))
	}
	c.mu.Unlock()
	if err != nil {
		body.recycle()
	}
	return false, err
}

// Retire implements transports.Retirer. It waits for a POST that came before
// it: the client's next packets, on the other transport, are to be received
// after those. That wait ends when the client has sent the POST or left, or
// when the session is closed. Retire is called by the conn that the client
// commits to, never from inside Receive of its own POST, for which it would
// wait forever.
func (c *conn) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != closed {
		c.state = retired
	}
	c.farewellLocked(transports.Close)
	for c.post != nil {
		c.received.Wait()
	}
}

// Close implements transports.Conn.
func (c *conn) Close(cause error) { c.end(cause) }

// end closes the conn, once. A parked poll is answered; a POST that is being
// read is cut off, and what is left of one that is being delivered is dropped.
func (c *conn) end(cause error) {
	c.mu.Lock()
	if c.state == closed {
		c.mu.Unlock()
		return
	}
	c.state = closed
	c.cause = cause
	if transports.AsCloseError(cause).Reason == transports.TransportClose {
		c.farewellLocked(transports.Noop) // the client has said goodbye itself
	} else {
		c.farewellLocked(transports.Close)
	}
	if c.reading {
		c.post.Abort() // never blocks; under the lock because its exchange may end once it is given up
	}
	c.mu.Unlock()
	c.sink.Closed(cause)
}

// isClosed reports whether the conn is closed.
func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == closed
}

// farewellLocked answers a parked poll with a packet of the given type.
func (c *conn) farewellLocked(t transports.Type) {
	if c.poll != nil {
		c.answerLocked(c.newBody([]transports.Packet{{Type: t}}), false)
	}
}

// answerLocked gives the parked poll its answer. The slot is free from then
// on, before anything is written, because the client's next poll may come
// before the goroutine of this one has returned.
func (c *conn) answerLocked(b *body, compress bool) {
	p := c.poll
	c.poll = nil
	p.body, p.compress = b, compress
	p.exchange.Unpark() // never blocks; under the lock because the exchange may end once it is given up
}

// refuse answers a request that comes when the conn takes none, in the words
// of the session manager, which seldom lets one through.
func refuse(ex transports.Exchange, s state) {
	message := `{"code":3,"message":"Bad request"}`
	if s == closed {
		message = `{"code":1,"message":"Session ID unknown"}`
	}
	ex.SetHeader("Content-Type", "application/json")
	ex.SetHeader("Cache-Control", "no-store")
	_ = ex.Respond(400, []byte(message)) // a client that has gone needs no answer
}

func respondEmpty(ex transports.Exchange, status int) {
	ex.SetHeader("Cache-Control", "no-store")
	_ = ex.Respond(status, nil) // a client that has gone needs no answer
}
