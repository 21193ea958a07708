package cluster

import (
	"context"
	"log/slog"
	"sync"
)

// lanes run what other servers ask for and what may take its time. What is in the
// same lane is run in order, one after the other; the lane without a name has no
// order. A lane has a goroutine while there is something in it.
type lanes struct {
	adapter *Adapter
	wg      sync.WaitGroup

	mu     sync.Mutex // guards what follows
	queued map[string][]func()
	n      int // of all that is queued or runs
}

func (l *lanes) init(a *Adapter) {
	l.adapter = a
	l.queued = make(map[string][]func())
}

// run reports false if there is too much to do already.
func (l *lanes) run(lane string, work func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.adapter.options.MaxRequests {
		if l.adapter.stats.refused.Add(1) == 1 {
			l.adapter.log.WarnContext(l.adapter.ctx, "other servers ask for more than this one can do", slog.Int("limit", l.n))
		}
		return false
	}
	l.n++
	if lane == "" {
		l.wg.Go(func() {
			defer l.done()
			work()
		})
		return true
	}
	waiting, busy := l.queued[lane]
	l.queued[lane] = append(waiting, work)
	if !busy {
		l.wg.Go(func() { l.drain(lane) })
	}
	return true
}

func (l *lanes) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
}

func (l *lanes) drain(lane string) {
	for {
		l.mu.Lock()
		waiting := l.queued[lane]
		if len(waiting) == 0 {
			delete(l.queued, lane)
			l.mu.Unlock()
			return
		}
		l.queued[lane] = waiting[1:]
		l.mu.Unlock()
		waiting[0]()
		l.done()
	}
}

// wait returns when nothing runs any more, or ctx has ended: a handler may take
// no notice of the end of its context. Nothing may be added any more.
func (l *lanes) wait(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
