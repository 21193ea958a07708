package session

import (
	"errors"
	"sync/atomic"

	"github.com/upshift-go/upshift/transports"
)

// Stats are counts since the manager was made, most of them of limits that have
// taken effect. They only grow.
type Stats struct {
	// Opened is how many sessions have opened.
	Opened uint64
	// Traffic of all sessions, ended ones included.
	Traffic Traffic

	// TooManySessions is how many handshakes Options.MaxSessions has refused.
	TooManySessions uint64
	// TooManySessionsFromAddress is how many MaxSessionsPerAddress has.
	TooManySessionsFromAddress uint64
	// ConnectRate is how many MaxConnectRate has.
	ConnectRate uint64
	// ConnectRateFromAddress is how many MaxConnectRatePerAddress has.
	ConnectRateFromAddress uint64

	// OriginRefused is how many requests were refused because of the page that
	// they came from.
	OriginRefused uint64

	// PayloadTooLarge is how often a client sent more than Options.MaxPayload
	// at once. On polling its session goes on, on other transports it ends.
	PayloadTooLarge uint64
	// TooManyPackets is how many were closed because a payload held more
	// packets than the transport allows.
	TooManyPackets uint64
	// Malformed is how many were closed for something that is no packet.
	Malformed uint64
	// SlowConsumers is how many were closed because their client did not
	// read.
	SlowConsumers uint64

	// VolatileDropped is how many volatile events were dropped because their
	// client could not take them at once.
	VolatileDropped uint64
	// OverflowDropped is how many events were dropped because an outbox was
	// full, as their Delivery allows.
	OverflowDropped uint64
	// Replaced is how many events were dropped for a later one of the same
	// key.
	Replaced uint64
	// OutboxRefused is how many events were refused because an outbox was
	// full.
	OutboxRefused uint64
}

type counters struct {
	opened atomic.Uint64

	tooManySessions, tooManySessionsFromAddress, connectRate, connectRateFromAddress atomic.Uint64

	originRefused, payloadTooLarge, tooManyPackets, malformed, slowConsumers atomic.Uint64

	volatileDropped, overflowDropped, replaced, outboxRefused atomic.Uint64
}

// Stats returns the counts.
func (m *Manager) Stats() Stats {
	c := &m.counters
	return Stats{
		Opened:                     c.opened.Load(),
		Traffic:                    m.traffic(),
		TooManySessions:            c.tooManySessions.Load(),
		TooManySessionsFromAddress: c.tooManySessionsFromAddress.Load(),
		ConnectRate:                c.connectRate.Load(),
		ConnectRateFromAddress:     c.connectRateFromAddress.Load(),
		OriginRefused:              c.originRefused.Load(),
		PayloadTooLarge:            c.payloadTooLarge.Load(),
		TooManyPackets:             c.tooManyPackets.Load(),
		Malformed:                  c.malformed.Load(),
		SlowConsumers:              c.slowConsumers.Load(),
		VolatileDropped:            c.volatileDropped.Load(),
		OverflowDropped:            c.overflowDropped.Load(),
		Replaced:                   c.replaced.Load(),
		OutboxRefused:              c.outboxRefused.Load(),
	}
}

// refused counts a handshake, if err is the doing of a limit.
func (c *counters) refused(err error) {
	switch {
	case errors.Is(err, ErrTooManySessions):
		c.tooManySessions.Add(1)
	case errors.Is(err, ErrTooManySessionsFromAddress):
		c.tooManySessionsFromAddress.Add(1)
	case errors.Is(err, ErrConnectRate):
		c.connectRate.Add(1)
	case errors.Is(err, ErrConnectRateFromAddress):
		c.connectRateFromAddress.Add(1)
	}
}

// ended counts a session, if its end is the doing of a limit.
func (c *counters) ended(cause error) {
	switch {
	case errors.Is(cause, transports.ErrPayloadTooLarge):
		c.payloadTooLarge.Add(1)
	case errors.Is(cause, transports.ErrTooManyPackets):
		c.tooManyPackets.Add(1)
	case errors.Is(cause, transports.ErrMalformed):
		c.malformed.Add(1)
	case errors.Is(cause, transports.ErrSlowConsumer):
		c.slowConsumers.Add(1)
	}
}
