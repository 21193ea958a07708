package cluster

import (
	"log/slog"
	"sync"
	"time"
)

// members are the other servers, by what they have been heard to say. It is for
// engines that cannot count them.
type members struct {
	adapter *Adapter

	mu   sync.Mutex // guards what follows
	seen map[string]time.Time
}

func (s *members) init(a *Adapter) {
	s.adapter = a
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = make(map[string]time.Time)
}

func (s *members) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// all returns the members as they are now.
func (s *members) all() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]struct{}, len(s.seen))
	for name := range s.seen {
		all[name] = struct{}{}
	}
	return all
}

// run says that this server is there, and forgets those of which nothing is heard
// any more.
func (s *members) run() {
	a := s.adapter
	beat := time.NewTicker(a.options.HeartbeatInterval)
	defer beat.Stop()
	sweep := time.NewTicker(a.options.HeartbeatTimeout / 10)
	defer sweep.Stop()
	_ = a.send(&Message{Type: InitialHeartbeat}) // what cannot be sent is counted
	for {
		select {
		case <-beat.C:
			_ = a.send(&Message{Type: Heartbeat})
		case now := <-sweep.C:
			s.sweep(now)
		case <-a.ctx.Done():
			return
		}
	}
}

func (s *members) sweep(now time.Time) {
	var gone []string
	s.mu.Lock()
	for name, at := range s.seen {
		if now.Sub(at) > s.adapter.options.HeartbeatTimeout {
			delete(s.seen, name)
			gone = append(gone, name)
		}
	}
	s.mu.Unlock()
	for _, name := range gone {
		s.adapter.log.WarnContext(s.adapter.ctx, "a server is silent", slog.String("silent", name))
		s.adapter.pending.gone(name)
	}
}

// heard takes note of a message.
func (s *members) heard(m *Message) {
	if m.Sender == EmitterID {
		return
	}
	s.mu.Lock()
	if m.Type == Close {
		delete(s.seen, m.Sender)
	} else {
		s.seen[m.Sender] = time.Now()
	}
	s.mu.Unlock()
	switch m.Type {
	case InitialHeartbeat:
		_ = s.adapter.send(&Message{Type: Heartbeat})
	case Close:
		s.adapter.pending.gone(m.Sender)
	default:
	}
}
