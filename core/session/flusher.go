package session

import (
	"sync"
	"time"
)

// A flusher writes to sessions on behalf of others: broadcasts, heartbeats and
// corked sessions. While it makes one pass over its list, packets gather in
// the outboxes and the next pass writes them together; there is no timer and
// no delay when there is no backlog. Its goroutine exists only while there is
// work.
type flusher struct {
	traffic traffic // of its sessions

	mu      sync.Mutex // guards what follows
	dirty   []*Session
	spare   []*Session
	running bool

	corked []*Session  // have packets that wait for an Uncork
	timer  *time.Timer // runs while there are any
}

// corkTime is how long packets wait for an Uncork. A handler that blocks must
// not hold back the answers to the events before it.
const corkTime = time.Millisecond

// maxKept is how long the lists may be that are kept for the next broadcast.
const maxKept = 4096

// add puts a session on the list. The caller has set outbox.queued.
func (f *flusher) add(s *Session) {
	f.mu.Lock()
	f.dirty = append(f.dirty, s)
	start := !f.running
	f.running = true
	f.mu.Unlock()
	if start {
		go f.run()
	}
}

func (f *flusher) run() {
	for {
		f.mu.Lock()
		todo := f.dirty
		if len(todo) == 0 {
			f.running = false
			if cap(f.dirty)+cap(f.spare) > maxKept {
				f.dirty, f.spare = nil, nil
			}
			f.mu.Unlock()
			return
		}
		f.dirty, f.spare = f.spare[:0], todo
		f.mu.Unlock()
		for i, s := range todo {
			todo[i] = nil
			s.mu.Lock()
			s.outbox.queued = false
			s.mu.Unlock()
			s.Flush()
		}
	}
}

// addCorked writes to a session in corkTime, unless Uncork has done so before.
// The caller has set outbox.timed.
func (f *flusher) addCorked(s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.corked = append(f.corked, s)
	switch {
	case len(f.corked) > 1: // the timer runs
	case f.timer == nil:
		f.timer = time.AfterFunc(corkTime, f.uncork)
	default:
		f.timer.Reset(corkTime)
	}
}

// uncork writes to all sessions that have waited, or have been on the list
// when others did. It runs on the goroutine of the timer.
func (f *flusher) uncork() {
	f.mu.Lock()
	todo := f.corked
	f.corked = nil
	f.mu.Unlock()
	for _, s := range todo {
		s.mu.Lock()
		s.outbox.timed = false
		s.mu.Unlock()
		s.Flush()
	}
}
