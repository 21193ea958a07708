package client

import "time"

// Sleep makes the socket's connection believe that its machine has slept for d:
// the wall clock has gone on, timers have not.
func (s *Socket) Sleep(d time.Duration) {
	s.mu.Lock()
	e := s.engine
	s.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = e.deadline.Add(-d)
}
