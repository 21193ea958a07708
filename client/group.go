package client

import "sync"

// A group is a WaitGroup to which goroutines may be added while it is waited
// for.
type group struct {
	mu      sync.Mutex // guards what follows
	running int
	idle    chan struct{} // closed when running is 0; nil if nobody waits
}

// run calls f on a goroutine of the group.
func (g *group) run(f func()) {
	g.mu.Lock()
	g.running++
	g.mu.Unlock()
	go func() {
		defer g.done()
		f()
	}()
}

func (g *group) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.running == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// wait returns when no goroutine is running.
func (g *group) wait() {
	g.mu.Lock()
	if g.running == 0 {
		g.mu.Unlock()
		return
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	<-idle
}
