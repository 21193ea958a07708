package polling

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// A poll is a GET on its way to an answer. The goroutine of the request parks;
// whoever has the answer leaves it here and wakes it, and does not wait for
// the client to take it.
type poll struct {
	exchange transports.Exchange

	// Set under conn.mu, before the goroutine is woken.
	body     *body // nil until then
	compress bool
}

// A body is an encoded batch. Bodies are reused.
type body struct {
	data   []byte
	binary bool
}

var bodies = sync.Pool{New: func() any { return new(body) }}

func (c *conn) newBody(batch []transports.Packet) *body {
	b := bodies.Get().(*body) //nolint:forcetypeassert // the pool holds nothing else
	if c.old {
		b.data, b.binary = AppendPayload3(b.data[:0], batch, !c.noBinary)
	} else {
		b.data, b.binary = AppendPayload(b.data[:0], batch), false
	}
	return b
}

func (b *body) recycle() {
	if cap(b.data) <= 64<<10 { // one burst should not keep its peak in the pool
		bodies.Put(b)
	}
}

// worthCompressing reports whether the answer that carries a batch may be
// compressed. What only releases a poll is not worth it.
func (o *Options) worthCompressing(batch []transports.Packet, size int) bool {
	if o.CompressFrom < 0 || size < o.CompressFrom {
		return false
	}
	for i := range batch {
		if t := batch[i].Type; t != transports.Noop && t != transports.Close && !batch[i].NoCompress {
			return true
		}
	}
	return false
}

// serveGet answers a GET.
func (c *conn) serveGet(ex transports.Exchange) {
	p := &poll{exchange: ex}
	c.mu.Lock()
	s, overlap := c.state, c.poll != nil
	if s == open && !overlap {
		c.poll = p
	}
	c.mu.Unlock()
	switch {
	case s != open:
		refuse(ex, s)
	case overlap:
		c.end(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrOverlap})
		respondEmpty(ex, 400)
	default:
		c.sink.Ready()
		c.serve(p)
	}
}

// serve parks a request until its poll is answered, and writes the answer. A
// client that left before it could take the answer ends the conn.
func (c *conn) serve(p *poll) {
	parkErr := p.exchange.Park()
	err := parkErr
	if err == nil {
		err = p.respond()
	}
	if err != nil {
		if !errors.Is(err, transports.ErrClientGone) {
			err = fmt.Errorf("%w: %w", transports.ErrClientGone, err)
		}
		c.end(&transports.CloseError{Reason: transports.TransportError, Err: fmt.Errorf("poll %w", err)})
	}
	if parkErr != nil {
		respondEmpty(p.exchange, 400) // in case it was a time limit of a handler in front
	}
	p.body.recycle() // there is one: end leaves no poll without
}

func (p *poll) respond() error {
	ex := p.exchange
	contentType := "text/plain; charset=UTF-8"
	if p.body.binary {
		contentType = octetStream
	}
	ex.SetHeader("Content-Type", contentType)
	setCommonHeaders(ex)
	if p.compress {
		ex.AddHeader("Vary", "Accept-Encoding")
		if coding := acceptedCoding(ex.Header("Accept-Encoding")); coding != identity {
			c := compressors[coding].get()
			defer compressors[coding].put(c)
			ex.SetHeader("Content-Encoding", coding.String())
			return ex.Respond(200, c.compress(p.body.data))
		}
	}
	return ex.Respond(200, p.body.data)
}

// setCommonHeaders sets what every successful answer has. Some versions of
// Internet Explorer took polls for scripts that an attacker had injected.
func setCommonHeaders(ex transports.Exchange) {
	ex.SetHeader("Cache-Control", "no-store")
	if agent := ex.Header("User-Agent"); strings.Contains(agent, ";MSIE") || strings.Contains(agent, "Trident/") {
		ex.SetHeader("X-XSS-Protection", "0")
	}
}
