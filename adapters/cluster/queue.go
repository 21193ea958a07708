package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
)

// ErrQueueFull says that what waits for the broker is as much as Options.MaxQueueBytes
// allows, most likely because the broker cannot be reached. The message is dropped.
var ErrQueueFull = errors.New("cluster: too much waits for the broker")

// ErrClosed says that the server is shutting down.
var ErrClosed = errors.New("cluster: closed")

// What one round trip to the broker takes along, at most.
const (
	maxBatch      = 512
	maxBatchBytes = 1 << 20
)

// A queue is what waits for the broker, in order. One goroutine sends it.
type queue struct {
	adapter *Adapter
	more    chan struct{} // has one element if there is something new
	done    chan struct{} // closed when run has ended

	mu      sync.Mutex // guards what follows
	waiting []Publication
	bytes   int // of waiting, and of what is being sent
	closed  bool

	failing bool // of the goroutine that sends: the last batch has failed
}

func (q *queue) init(a *Adapter) {
	q.adapter = a
	q.more, q.done = make(chan struct{}, 1), make(chan struct{})
}

// size is about what a publication costs in memory.
func (p *Publication) size() int {
	const overhead = 64
	return overhead + len(p.Channel) + len(p.Data)
}

func (q *queue) add(p Publication) error {
	if err := q.append(p); err != nil {
		q.adapter.stats.dropped.Add(1)
		return err
	}
	select {
	case q.more <- struct{}{}:
	default:
	}
	return nil
}

func (q *queue) append(p Publication) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.appendLocked(p)
}

func (q *queue) appendLocked(p Publication) error {
	switch {
	case q.closed:
		return ErrClosed
	case q.bytes > 0 && q.bytes+p.size() > q.adapter.options.MaxQueueBytes:
		return ErrQueueFull
	}
	q.waiting = append(q.waiting, p)
	q.bytes += p.size()
	if p.Nonce != "" {
		q.adapter.kept.flights.begin(p)
	}
	return nil
}

// run sends what waits, until the queue is closed and empty, or nothing is sent
// any more.
func (q *queue) run() {
	defer close(q.done)
	var all []Publication
	for {
		all = all[:0]
		q.mu.Lock()
		all, q.waiting = q.waiting, all
		closed := q.closed
		q.mu.Unlock()
		for rest := all; len(rest) > 0 && q.adapter.ctx.Err() == nil; {
			rest = rest[q.publish(rest, batch(rest)):]
		}
		clear(all)
		switch {
		case len(all) > 0:
		case closed:
			return
		default:
			select {
			case <-q.more:
			case <-q.adapter.ctx.Done():
				return
			}
		}
		if q.adapter.ctx.Err() != nil {
			return
		}
	}
}

// batch returns how many go at once.
func batch(all []Publication) int {
	bytes := 0
	for i := range all[:min(len(all), maxBatch)] {
		if bytes += all[i].size(); bytes > maxBatchBytes {
			return max(i, 1)
		}
	}
	return min(len(all), maxBatch)
}

// publish sends the first n of what waits, and returns how many are done with.
func (q *queue) publish(all []Publication, n int) int {
	a := q.adapter
	timeout := a.options.PublishTimeout
	if q.failing {
		timeout /= 10 // what waits for the own clients must not wait that long for each batch
	}
	ctx, cancel := context.WithTimeout(a.ctx, timeout)
	err := a.engine.Publish(ctx, all[:n])
	cancel()
	if err != nil && q.failing && a.kept != nil {
		// The broker is still away. The own clients wait for the rest, too, and must
		// not do so for one attempt after another.
		n = len(all)
	}
	batch, bytes := all[:n], 0
	for i := range batch {
		bytes += batch[i].size()
	}
	q.mu.Lock()
	q.bytes -= bytes
	q.mu.Unlock()
	if err != nil {
		a.stats.publishFailed.Add(uint64(len(batch)))
		if !q.failing {
			a.log.ErrorContext(ctx, "messages do not reach other servers", slog.Any("error", err))
		}
	} else {
		a.stats.published.Add(uint64(len(batch)))
		if q.failing {
			a.log.WarnContext(ctx, "messages reach other servers again",
				slog.Uint64("lost", a.stats.publishFailed.Load()), slog.Uint64("dropped", a.stats.dropped.Load()))
		}
	}
	q.failing = err != nil
	if q.failing && a.kept != nil {
		a.kept.notKept(batch)
	}
	return n
}

// close takes what comes last, after which others are to hear nothing more, and returns
// when all is sent, or ctx has ended.
func (q *queue) close(ctx context.Context, last ...Publication) {
	q.mu.Lock()
	for _, p := range last {
		if q.appendLocked(p) != nil { // there is no room: others find out
			q.adapter.stats.dropped.Add(1)
		}
	}
	q.closed = true
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
	select {
	case <-q.done:
	case <-ctx.Done():
	}
}
