package polling

import (
	"errors"
	"fmt"

	"github.com/upshift-go/upshift/transports"
)

// A post is a POST that is being received.
type post struct {
	exchange transports.Exchange
	done     chan struct{} // closed when everything it brought has been received
	reading  bool          // guarded by conn.mu: its body is being read
	conn     *conn
}

func (p *post) wait() { <-p.done }

// abort ends the reading of the body.
func (p *post) abort() {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	if p.reading { // its exchange is in use as long as that
		p.exchange.Abort()
	}
}

// receive answers a POST. The answer means that everything in it has been
// taken: a session that is full holds it back, and the client with it.
func (c *conn) receive(ex transports.Exchange) {
	p := &post{exchange: ex, done: make(chan struct{}), reading: true, conn: c}
	c.mu.Lock()
	if c.ended || c.retired {
		c.mu.Unlock()
		gone(ex)
		return
	}
	if c.post != nil {
		c.mu.Unlock()
		c.fail(fmt.Errorf("data request %w", transports.ErrOverlap))
		respondEmpty(ex, 400)
		return
	}
	c.post = p
	c.mu.Unlock()
	status, err := c.take(p)
	c.mu.Lock()
	c.post = nil
	c.mu.Unlock()
	close(p.done)
	if err != nil {
		c.end(err, closing)
	}
	switch status {
	case 200:
		ex.SetHeader("Content-Type", "text/html") // old browsers offered text/plain as a download
		ex.SetHeader("Cache-Control", "no-store")
		_ = ex.Respond(200, []byte("ok")) // it was received, whether or not the client learns of it
	default:
		respondEmpty(ex, status)
	}
}

// take reads the body and passes on what is in it. It returns the status of
// the answer, and why the conn is to end, if it is.
func (c *conn) take(p *post) (status int, err error) {
	if p.exchange.Header("Content-Type") == "application/octet-stream" {
		return 400, &transports.CloseError{Reason: transports.TransportError, Err: transports.ErrInvalidContent}
	}
	body, err := p.exchange.ReadBody(c.maxPayload)
	c.mu.Lock()
	p.reading = false
	c.mu.Unlock()
	switch {
	case errors.Is(err, transports.ErrPayloadTooLarge):
		return 413, nil // the session lives; the client decides
	case err != nil:
		return 400, &transports.CloseError{
			Reason: transports.TransportError,
			Err:    fmt.Errorf("data request %w", err),
		}
	}
	packets := 0
	for packet, err := range Split(body) {
		if packets++; packets > c.options.MaxPackets {
			err = transports.Malformed("too many packets", 0)
		}
		if err != nil {
			return 400, err
		}
		if packet.Type == transports.Close {
			// The client has said goodbye: its poll is released with a noop.
			c.end(&transports.CloseError{Reason: transports.TransportClose}, nothing)
			return 200, nil
		}
		if err := c.sink.Receive(packet); err != nil {
			return 400, nil // the session has ended, and what is left is dropped
		}
	}
	return 200, nil
}

func (c *conn) fail(err error) {
	c.end(&transports.CloseError{Reason: transports.TransportError, Err: err}, closing)
}
