package auth

// Members is the number of sockets that can be revoked.
func (g *Guard) Members() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, m := range g.subjects {
		for ; m != nil; m = m.next {
			n++
		}
	}
	return n
}

// Remembered is the number of revocations that take memory.
func (g *Guard) Remembered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.revoked.order.Len(), len(g.revoked.bySubject))
}
