package adminui

import (
	"context"
	"sync"
	"time"
)

// A SessionStore keeps the ids of those who have logged in: whoever has one gets
// in without a password. Its methods are called from any goroutine; ctx ends
// when the page has gone or core.Options.ConnectTimeout is over.
//
// The official stores of Node keep an id in Redis as "socket.io-admin#" and the
// id, with the value 1 for a day: a store that does the same shares logins with
// them.
type SessionStore interface {
	// Save adds an id.
	Save(ctx context.Context, id string) error
	// Exists reports whether an id was saved and is still good. The id is what
	// a client has sent, at most 128 bytes of anything.
	Exists(ctx context.Context, id string) (bool, error)
}

// MemorySessions are a SessionStore that a server has for itself. The zero value
// is ready to use.
type MemorySessions struct {
	// Max is how many there can be. Beyond, the oldest is dropped. Default
	// 1,000.
	Max int
	// Duration is how long an id is good for. Default 24 hours.
	Duration time.Duration

	mu    sync.Mutex           // guards what follows
	until map[string]time.Time // by id
	order []string             // ids, the oldest first
}

var _ SessionStore = (*MemorySessions)(nil)

// Save implements SessionStore. It does not fail.
func (m *MemorySessions) Save(_ context.Context, id string) error {
	limit, duration := m.Max, m.Duration
	if limit <= 0 {
		limit = 1000
	}
	if duration <= 0 {
		duration = 24 * time.Hour
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.until == nil {
		m.until = make(map[string]time.Time)
	}
	for len(m.order) > 0 && (len(m.order) >= limit || now.After(m.until[m.order[0]])) {
		delete(m.until, m.order[0])
		m.order = m.order[1:]
	}
	m.until[id] = now.Add(duration)
	m.order = append(m.order, id)
	return nil
}

// Exists implements SessionStore. It does not fail.
func (m *MemorySessions) Exists(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.until[id]
	return ok && time.Now().Before(until), nil
}
