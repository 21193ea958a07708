package core

import "sync"

// maxSpare is how many goroutines wait for the next socket that has something
// to do. It is more than run at once unless handlers block.
const maxSpare = 64

// workers runs and counts the goroutines that do what sockets have to do. Some
// of them are kept for the next socket, because one that has run handlers
// before has the stack for it: growing it anew is a good part of what a short
// handler costs. It may be waited for while work is added.
type workers struct {
	mu      sync.Mutex // guards what follows
	running int
	idle    chan struct{}  // closed when running is 0; nil if nobody waits
	spare   []chan *Socket // of goroutines that wait, each with room for one
	closed  bool           // no goroutine waits any more
}

// add counts a socket in that is about to be passed to run.
func (w *workers) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running++
}

// run lets a goroutine work for s. It does not wait for it.
func (w *workers) run(s *Socket) {
	w.mu.Lock()
	last := len(w.spare) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.loop(s)
		return
	}
	next := w.spare[last]
	w.spare = w.spare[:last]
	w.mu.Unlock()
	next <- s
}

func (w *workers) loop(s *Socket) {
	next := make(chan *Socket, 1)
	for s != nil {
		w.work(s)
		if !w.park(next) {
			return
		}
		s = <-next
	}
}

func (w *workers) work(s *Socket) {
	defer w.done() // also if a handler ends the goroutine
	s.work()
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

// park offers a goroutine for further work.
func (w *workers) park(next chan *Socket) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.spare) == maxSpare {
		return false
	}
	w.spare = append(w.spare, next)
	return true
}

// wait returns a channel that is closed when no goroutine is at work.
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

// close ends the goroutines that wait, and keeps others from doing so.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, next := range w.spare {
		close(next)
	}
	w.spare = nil
}
