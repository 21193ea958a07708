package presence

// Waiting is how many sockets are to be told who is there.
func (p *Presence) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.greet)
}
