package session

import (
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/upshift-go/upshift/transports"
)

// Why a handshake is refused. Test with errors.Is.
var (
	// ErrTooManySessions: there are Options.MaxSessions.
	ErrTooManySessions = errors.New("session: too many sessions")
	// ErrTooManySessionsFromAddress: the client's address has
	// Options.MaxSessionsPerAddress.
	ErrTooManySessionsFromAddress = errors.New("session: too many sessions from this address")
	// ErrConnectRate: handshakes come faster than Options.MaxConnectRate.
	ErrConnectRate = errors.New("session: too many handshakes")
	// ErrConnectRateFromAddress: handshakes of the client's address come
	// faster than Options.MaxConnectRatePerAddress.
	ErrConnectRateFromAddress = errors.New("session: too many handshakes from this address")
)

// A gate lets handshakes in as fast and as many as the options allow.
//
// What it knows of an address it forgets when it makes no difference any more:
// the number of sessions when it is zero, and the bucket when it would be full
// again. Buckets are in two generations; a bucket that is used moves to the
// younger, and what is left in the older is dropped with it.
type gate struct {
	options *Options
	all     *rate.Limiter // nil if there is no limit

	mu       sync.Mutex     // guards what follows
	sessions map[string]int // by address
	young    map[string]*rate.Limiter
	old      map[string]*rate.Limiter
	timer    *time.Timer // runs while there are buckets
}

func newGate(o *Options) *gate {
	g := &gate{options: o}
	if o.MaxConnectRate > 0 {
		g.all = newBucket(o.MaxConnectRate)
	}
	return g
}

// newBucket returns a bucket that holds one second's worth, but at least one.
func newBucket(perSecond float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Ceil(perSecond))))
}

// address is whom a handshake counts for, "" for nobody.
func (g *gate) address(h *transports.Handshake) string {
	switch {
	case g.options.MaxSessionsPerAddress == 0 && g.options.MaxConnectRatePerAddress == 0:
		return ""
	case g.options.ClientAddress != nil:
		return g.options.ClientAddress(h)
	default:
		return h.PeerAddress()
	}
}

// knock takes a handshake's share of the rates. The error says that there is
// none left.
func (g *gate) knock(address string) error {
	if address != "" && g.options.MaxConnectRatePerAddress > 0 && !g.bucket(address).Allow() {
		return ErrConnectRateFromAddress
	}
	if g.all != nil && !g.all.Allow() {
		return ErrConnectRate
	}
	return nil
}

// bucket returns the bucket of an address.
func (g *gate) bucket(address string) *rate.Limiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.young[address]
	if b != nil {
		return b
	}
	b = g.old[address]
	delete(g.old, address)
	if b == nil {
		b = newBucket(g.options.MaxConnectRatePerAddress)
	}
	if g.young == nil {
		g.young = make(map[string]*rate.Limiter)
	}
	g.young[address] = b
	if g.timer == nil {
		g.timer = time.AfterFunc(g.generation(), g.age)
	}
	return b
}

// generation is how long an empty bucket takes to fill.
func (g *gate) generation() time.Duration {
	perSecond := g.options.MaxConnectRatePerAddress
	burst := max(1, math.Ceil(perSecond))
	const longest = 24 * time.Hour // for rates next to nothing
	return time.Duration(min(burst/perSecond*float64(time.Second), float64(longest)))
}

// age drops the older generation, whose buckets are full again.
func (g *gate) age() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.old, g.young = g.young, nil
	g.timer = nil
	if len(g.old) > 0 {
		g.timer = time.AfterFunc(g.generation(), g.age)
	}
}

// close forgets the buckets: nobody knocks any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.young, g.old = nil, nil
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
}

// enter counts a session in.
func (g *gate) enter(address string) error {
	limit := g.options.MaxSessionsPerAddress
	if address == "" || limit == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[address] >= limit {
		return ErrTooManySessionsFromAddress
	}
	if g.sessions == nil {
		g.sessions = make(map[string]int)
	}
	g.sessions[address]++
	return nil
}

// full reports whether another session of the address would be refused.
func (g *gate) full(address string) bool {
	limit := g.options.MaxSessionsPerAddress
	if address == "" || limit == 0 {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[address] >= limit
}

// exit counts a session out.
func (g *gate) exit(address string) {
	if address == "" || g.options.MaxSessionsPerAddress == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[address]--; g.sessions[address] == 0 {
		delete(g.sessions, address)
	}
}

// retryAfter is in how many seconds a client that was refused may have better
// luck, 0 if time does not help.
func (g *gate) retryAfter(err error) int {
	switch {
	case errors.Is(err, ErrConnectRate):
		return secondsFor(g.options.MaxConnectRate)
	case errors.Is(err, ErrConnectRateFromAddress):
		return secondsFor(g.options.MaxConnectRatePerAddress)
	case errors.Is(err, ErrShutdown), errors.Is(err, ErrTooManySessions), errors.Is(err, ErrTooManySessionsFromAddress):
		return 1
	}
	return 0
}

// secondsFor is how long one handshake takes to come round.
func secondsFor(perSecond float64) int { return max(1, int(math.Ceil(1/perSecond))) }
