package upshifttest

import "github.com/upshift-go/upshift/codec"

// handle takes what the server has sent, on the goroutine of deliver.
func (w *wire) handle(r *codec.Received) {
	l := w.link
	l.mu.Lock()
	var c *Client
	for _, one := range l.clients {
		if one.namespace == r.Namespace {
			c = one
		}
	}
	if c == nil || w.reason != "" || w.vanished { // it is late: the client may be back already
		l.mu.Unlock()
		return
	}
	handler, e := c.take(r)
	l.notify()
	l.mu.Unlock()
	if handler != nil {
		handler(e)
	}
}

// take takes one packet, and returns the handler of an event that has one. The
// caller holds link.mu.
func (c *Client) take(r *codec.Received) (handler func(*Event), e *Event) {
	switch r.Type {
	case codec.Connect:
		c.welcome(r.Data)
	case codec.ConnectError:
		c.refuse(r.Data)
	case codec.Disconnect:
		c.lose(left, reasonServerDisconnect)
	case codec.Ack:
		if done := c.calls[r.ID]; done != nil {
			delete(c.calls, r.ID)
			done <- r.Args
		}
	case codec.Event:
		e = &Event{Name: r.Event, Args: r.Args, client: c, id: r.ID, asks: r.HasID}
		c.advance(r)
		if handler = c.handlers[r.Event]; handler == nil {
			c.events = append(c.events, e)
		}
	}
	return handler, e
}

// welcome takes the answer to a connect request.
func (c *Client) welcome(data codec.Raw) {
	var reply struct {
		SID string `json:"sid" msgpack:"sid"`
		PID string `json:"pid" msgpack:"pid"`
	}
	if err := data.Bind(&reply); err != nil || reply.SID == "" {
		c.link.tb.Errorf("upshifttest: the server has connected a client with %s: %v", data.Bytes(), err)
	}
	c.recovered = c.pid != "" && c.pid == reply.PID
	c.state, c.id, c.pid = connected, reply.SID, reply.PID
}

// refuse takes a refusal, which old servers send as a string.
func (c *Client) refuse(data codec.Raw) {
	e := &ConnectError{}
	var refusal struct {
		Message string    `json:"message" msgpack:"message"`
		Data    codec.Raw `json:"data" msgpack:"data"`
	}
	if data.Bind(&refusal) == nil {
		e.Message, e.Data = refusal.Message, refusal.Data
	}
	c.state, c.refusal = refused, e
}

// advance notes how far the client has got, by the rule of the official one.
func (c *Client) advance(r *codec.Received) {
	if c.pid == "" || r.HasID || r.Args.Len() == 0 {
		return
	}
	var last any
	if r.Args.Raw(r.Args.Len()-1).Bind(&last) == nil {
		if offset, ok := last.(string); ok {
			c.offset = offset
		}
	}
}
