package polling

import (
	"fmt"
	"strings"

	"github.com/upshift-go/upshift/transports"
)

// A poll is a GET on its way to an answer. The goroutine of the request parks;
// whoever has the answer leaves it here and wakes it, and does not wait for
// the client to take it.
type poll struct {
	exchange transports.Exchange

	// Set by answer, before it wakes the goroutine.
	body     []byte
	compress bool
	done     chan struct{} // closed by answer when it is done with the exchange
}

func newPoll(ex transports.Exchange) *poll { return &poll{exchange: ex, done: make(chan struct{})} }

// answer is called once, by who has taken the poll from its conn.
func (p *poll) answer(batch []transports.Packet) {
	p.body = AppendPayload(nil, batch)
	for i := range batch {
		if t := batch[i].Type; t != transports.Noop && t != transports.Close && !batch[i].NoCompress {
			p.compress = true
		}
	}
	p.exchange.Unpark()
	close(p.done)
}

// get answers a GET.
func (c *conn) get(ex transports.Exchange) {
	p := newPoll(ex)
	c.mu.Lock()
	if c.ended || c.retired {
		c.mu.Unlock()
		gone(ex)
		return
	}
	if c.poll != nil {
		c.mu.Unlock()
		c.end(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrOverlap}, closing)
		respondEmpty(ex, 400)
		return
	}
	c.poll = p
	c.mu.Unlock()
	c.sink.Ready()
	c.serve(p)
}

// serve parks the request until its poll is answered, and writes the answer.
func (c *conn) serve(p *poll) {
	if err := p.exchange.Park(); err != nil {
		c.mu.Lock()
		mine := c.poll == p
		if mine {
			c.poll = nil
		}
		c.mu.Unlock()
		if mine {
			c.end(&transports.CloseError{
				Reason: transports.TransportError,
				Err:    fmt.Errorf("poll %w", err),
			}, closing)
			return
		}
		// Somebody has just taken the poll to answer it. Nobody will read the
		// answer, but the exchange must last until it is made.
		<-p.done
	}
	c.respond(p)
}

func (c *conn) respond(p *poll) {
	ex := p.exchange
	ex.SetHeader("Content-Type", "text/plain; charset=UTF-8")
	ex.SetHeader("Cache-Control", "no-store")
	if agent := ex.Header("User-Agent"); strings.Contains(agent, ";MSIE") || strings.Contains(agent, "Trident/") {
		ex.SetHeader("X-XSS-Protection", "0")
	}
	body := p.body
	if c.options.CompressFrom >= 0 && p.compress && len(body) >= c.options.CompressFrom {
		ex.AddHeader("Vary", "Accept-Encoding")
		if encoding := acceptedEncoding(ex.Header("Accept-Encoding")); encoding != "" {
			ex.SetHeader("Content-Encoding", encoding)
			body = compress(encoding, body)
		}
	}
	_ = ex.Respond(200, body) // what a client that leaves now misses, it misses
}
