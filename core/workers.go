package core

import "sync"

// workers counts the worker goroutines of sockets. It is a WaitGroup that may
// be waited for while others are added.
type workers struct {
	mu      sync.Mutex // guards what follows
	running int
	idle    chan struct{} // closed when running is 0; nil if nobody waits
}

func (w *workers) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running++
}

func (w *workers) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if w.running == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// wait returns a channel that is closed when no worker is running.
func (w *workers) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	idle := w.idle
	if idle == nil {
		idle = make(chan struct{})
		if w.running == 0 {
			close(idle)
		} else {
			w.idle = idle
		}
	}
	return idle
}
