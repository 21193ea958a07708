package relay

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Stats are counts since the start, but for Active and Servers, which are what is
// now.
type Stats struct {
	Requests  uint64 // that were passed on to another server, upgrades included
	Tunnels   uint64 // WebSockets that were
	Received  uint64 // requests that another server has passed on to this one
	Forged    uint64 // requests that were said to be so, with a wrong signature
	Unknown   uint64 // requests for sessions of servers that nobody knows, or that cannot be connected to
	Failed    uint64 // requests that the other server has not answered, or not as one should
	Busy      uint64 // requests that were beyond MaxRelayed
	Questions uint64 // asked of the others about a tag
	Unasked   uint64 // requests that were beyond AskRate
	Clashes   uint64 // times that another server was heard of with the same tag

	Active  int // requests and tunnels on their way from here
	Servers int // others that are known; some of them may be gone
}

type counters struct {
	requests, tunnels, received, forged, unknown, failed, busy, questions, unasked, clashes atomic.Uint64
}

// Stats returns what has happened. It may be called from any goroutine.
func (r *Relay) Stats() Stats {
	s := Stats{
		Requests: r.stats.requests.Load(), Tunnels: r.stats.tunnels.Load(),
		Received: r.stats.received.Load(), Forged: r.stats.forged.Load(),
		Unknown: r.stats.unknown.Load(), Failed: r.stats.failed.Load(), Busy: r.stats.busy.Load(),
		Questions: r.stats.questions.Load(), Unasked: r.stats.unasked.Load(), Clashes: r.stats.clashes.Load(),
		Active: int(r.active.Load()),
	}
	r.directory.mu.Lock()
	s.Servers = len(r.directory.owners)
	r.directory.mu.Unlock()
	return s
}

// quietFor is how long nothing more is logged of what was just logged.
const quietFor = 10 * time.Second

// A quiet lets one record of a kind through at a time.
type quiet struct {
	mu      sync.Mutex // guards what follows
	until   time.Time
	dropped int
}

// pass reports whether to log, and how many records were not since the last.
func (q *quiet) pass() (dropped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Before(q.until) {
		q.dropped++
		return 0, false
	}
	dropped, q.dropped = q.dropped, 0
	q.until = now.Add(quietFor)
	return dropped, true
}

// warn logs, unless it has done so of this kind just now.
func (r *Relay) warn(kind *quiet, what string, attrs ...slog.Attr) {
	if dropped, ok := kind.pass(); ok {
		r.options.Logger.LogAttrs(context.Background(), slog.LevelWarn, what,
			append(attrs, slog.Int("more", dropped))...)
	}
}
