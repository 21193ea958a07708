// Package polling is the HTTP long-polling transport: a GET is parked until
// there is something to send, a POST brings what the client sends. It works
// behind every proxy, and sessions that open on it can move to a better
// transport. It speaks revision 4 of the protocol and, where the server allows
// it, revision 3, but for JSONP, which browsers have not needed for long.
package polling

import (
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
	// MaxPackets is how many packets one POST may hold; the session of a
	// client that sends more ends with a parse error. Default 100,000, which
	// is about as many of the shortest events as the default MaxPayload has
	// room for: a client that was offline may send all it has at once. Zero
	// and negative numbers mean the default.
	MaxPackets int
}

// New returns the transport.
func New(o Options) transports.HTTPTransport {
	if o.CompressFrom == 0 {
		o.CompressFrom = 1024
	}
	if o.MaxPackets <= 0 {
		o.MaxPackets = 100_000
	}
	return &transport{options: o}
}

type transport struct{ options Options }

// Name implements transports.Transport.
func (t *transport) Name() string { return "polling" }

// Features implements transports.Transport.
func (t *transport) Features() transports.Features {
	return transports.Features{Upgradable: true, Revision3: true}
}

// Accept implements transports.HTTPTransport. The first request is a poll, and
// the session's first packets are the answer to it.
func (t *transport) Accept(ex transports.Exchange, adm transports.Admission) {
	p := &poll{exchange: ex}
	c := &conn{options: &t.options, maxPayload: adm.MaxPayload, poll: p}
	c.old = adm.Revision == transports.Revision3
	c.noBinary = ex.Query().Get("b64") != ""
	c.received = sync.NewCond(&c.mu)
	sink, err := adm.Attach(c)
	if err != nil {
		adm.Refuse(ex, err.Error())
		return
	}
	c.sink = sink
	sink.Ready()
	c.mu.Lock()
	if c.state == opening {
		c.state = open
	}
	c.mu.Unlock()
	c.serve(p)
}
