package polling

import (
	"errors"
	"fmt"

	"github.com/upshift-go/upshift/transports"
)

// servePost answers a POST. The "ok" means that everything in it has been
// taken: a session that is full holds it back, and the client with it.
func (c *conn) servePost(ex transports.Exchange) {
	c.mu.Lock()
	s, overlap := c.state, c.post != nil
	if s == open && !overlap {
		c.post = ex
	}
	c.mu.Unlock()
	switch {
	case s != open:
		refuse(ex, s)
		return
	case overlap:
		c.end(&transports.CloseError{
			Reason: transports.TransportError,
			Err:    fmt.Errorf("data request %w", transports.ErrOverlap),
		})
		respondEmpty(ex, 400)
		return
	}
	status, cause := c.receive(ex)
	if cause != nil {
		c.end(cause)
	}
	c.mu.Lock()
	c.post = nil // before the answer is written, as with a poll
	c.received.Broadcast()
	c.mu.Unlock()
	if status != 200 {
		respondEmpty(ex, status)
		return
	}
	ex.SetHeader("Content-Type", "text/html") // old browsers offered text/plain as a download
	setCommonHeaders(ex)
	_ = ex.Respond(200, []byte("ok")) // it was received, whether or not the client learns of it
}

// receive reads the body and passes on what is in it. It returns the status of
// the answer, and why the conn is to end, if it is.
func (c *conn) receive(ex transports.Exchange) (status int, cause error) {
	if ex.Header("Content-Type") == "application/octet-stream" { // the binary payloads of revision 3
		return 400, &transports.CloseError{Reason: transports.TransportError, Err: transports.ErrInvalidContent}
	}
	data, err := c.read(ex)
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
	for p, err := range Split(data) {
		if packets++; packets > c.options.MaxPackets {
			err = &transports.CloseError{
				Reason: transports.ParseError,
				Err:    fmt.Errorf("%w: the limit is %d", transports.ErrTooManyPackets, c.options.MaxPackets),
			}
		}
		switch {
		case err != nil:
			return 400, err
		case p.Type == transports.Close:
			return 200, &transports.CloseError{Reason: transports.TransportClose}
		case c.isClosed():
			return 400, nil
		}
		if err := c.sink.Receive(p); err != nil {
			return 200, nil // the session is done with this conn; what is left is dropped
		}
	}
	return 200, nil
}

// read reads the body, unless or until the conn is closed.
func (c *conn) read(ex transports.Exchange) ([]byte, error) {
	c.mu.Lock()
	c.reading = c.state != closed
	reading := c.reading
	c.mu.Unlock()
	if !reading {
		return nil, transports.ErrClientGone
	}
	data, err := ex.ReadBody(c.maxPayload)
	c.mu.Lock()
	c.reading = false
	c.mu.Unlock()
	return data, err
}
