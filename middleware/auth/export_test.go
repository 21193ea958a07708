package auth

import "github.com/upshift-go/upshift/core"

// Watched reports whether a timer runs for a socket. It stops it.
func Watched(s *core.Socket) bool {
	m, _ := memberKey.Get(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.timer != nil && m.timer.Stop()
}

// Members is the number of sockets that can be revoked, or of subjects if there
// are more.
func (g *Guard) Members() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, m := range g.subjects {
		for ; m != nil; m = m.next {
			n++
		}
	}
	return max(n, len(g.subjects))
}

// Remembered is the number of revocations that take memory.
func (g *Guard) Remembered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.revoked.order.Len(), len(g.revoked.bySubject))
}
