// Package concurrency limits how many handlers run at once: what stands behind them,
// such as a database, can do so much and no more.
//
//	reports := ns.Group(concurrency.New(concurrency.Options{Limit: 4, Wait: time.Second}))
//	core.On(reports, "report", report)
//
// Events of one socket never run at once, so the limit is on the events of many. A
// request that finds no place waits for one, and the later events of its socket wait
// with it; one that has waited for long enough is answered with the code "busy".
package concurrency

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/upshift-go/upshift/core"
)

// Code is what a client is told for which there was no place.
const Code = "busy"

// Options say how many run at once. The zero value works.
type Options struct {
	// Limit is how many requests run at once: all of those that the middleware
	// wraps, or those of each key. Default: 4 for each processor.
	Limit int
	// Wait is how long a request waits for its place. Default 1 s; negative is
	// not at all.
	Wait time.Duration
	// MaxWaiting is how many requests wait for a place at once, of each key;
	// more are answered at once. Default: 16 times Limit.
	MaxWaiting int
	// Key says what a request counts for: an event's name, a tenant. It costs
	// memory only while requests of it run or wait. Default: all count together.
	Key func(r *core.Request) string
}

// New returns the middleware. Each call has a limit of its own, which all places
// share where what it returns is used. Requests to connect count, too.
func New(o Options) core.Middleware {
	if o.Limit <= 0 {
		o.Limit = 4 * runtime.GOMAXPROCS(0)
	}
	if o.Wait == 0 {
		o.Wait = time.Second
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 16 * o.Limit
	}
	if o.Key == nil {
		o.Key = func(*core.Request) string { return "" }
	}
	l := &limiter{options: o, places: make(map[string]*places)}
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			leave, err := l.enter(ctx, o.Key(r))
			if err != nil {
				return err
			}
			defer leave()
			return next(ctx, r)
		}
	}
}

type limiter struct {
	options Options

	mu     sync.Mutex // guards what follows, and users of all places
	places map[string]*places
}

// places are those of one key.
type places struct {
	*semaphore.Weighted
	users int // that run or wait
}

// enter waits for a place.
func (l *limiter) enter(ctx context.Context, key string) (leave func(), err error) {
	p := l.use(key)
	if p == nil {
		return nil, errBusy
	}
	leave = func() {
		p.Release(1)
		l.unuse(key, p)
	}
	if p.TryAcquire(1) {
		return leave, nil
	}
	wait, cancel := context.WithTimeout(ctx, max(l.options.Wait, 0))
	defer cancel()
	if l.options.Wait < 0 || p.Acquire(wait, 1) != nil {
		l.unuse(key, p)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("concurrency: %w", context.Cause(ctx))
		}
		return nil, errBusy
	}
	return leave, nil
}

var errBusy = core.Errorf(Code, "too much to do at the moment")

// use counts a request in, unless there are too many.
func (l *limiter) use(key string) *places {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[key]
	if p == nil {
		p = &places{Weighted: semaphore.NewWeighted(int64(l.options.Limit))}
		l.places[key] = p
	}
	if p.users >= l.options.Limit+l.options.MaxWaiting {
		return nil
	}
	p.users++
	return p
}

// unuse counts a request out, and forgets a key that nobody uses.
func (l *limiter) unuse(key string, p *places) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(l.places, key)
	}
}
