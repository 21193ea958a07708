package session

import "sync"

// A flusher writes to sessions on behalf of others: broadcasts, heartbeats and
// corked sessions. While it makes one pass over its list, packets gather in
// the outboxes and the next pass writes them together; there is no timer and
// no delay when there is no backlog. Its goroutine exists only while there is
// work.
type flusher struct {
	mu      sync.Mutex // guards what follows
	dirty   []*Session
	spare   []*Session
	running bool
}

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
			f.dirty, f.spare = nil, nil
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
