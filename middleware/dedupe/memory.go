package dedupe

import (
	"container/list"
	"sync"
	"time"
)

// A memory knows the keys of all users, bounded by time and in number.
type memory struct {
	options *Options

	mu    sync.Mutex // guards what follows, and entry.kept, answer and err until done is closed
	users map[string]*user
	all   list.List   // of *entry, those that are kept, the oldest first
	timer *time.Timer // runs while anything is kept
}

// A user has entries, all of them by key, and those that are kept in order.
type user struct {
	name    string
	entries map[string]*entry
	kept    list.List // of *entry, the oldest first
}

// An entry is one event of one user.
type entry struct {
	user *user
	key  string
	done chan struct{} // closed when the event was handled

	kept   bool // the answer is remembered
	answer []any
	err    error
	until  time.Time

	ofUser, ofAll *list.Element // nil if it is not in the lists
}

func newMemory(o *Options) *memory {
	return &memory{options: o, users: make(map[string]*user)}
}

// enter returns the entry of a key, and whether the caller is the first and has to
// finish it.
func (m *memory) enter(name, key string) (e *entry, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.users[name]
	if u == nil {
		u = &user{name: name, entries: make(map[string]*entry)}
		m.users[name] = u
	}
	if e := u.entries[key]; e != nil {
		return e, false
	}
	e = &entry{user: u, key: key, done: make(chan struct{})}
	u.entries[key] = e
	return e, true
}

// finish says what came of an event.
func (m *memory) finish(e *entry, keep bool, answer []any, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.kept = keep
	if !keep {
		m.forget(e)
		close(e.done)
		return
	}
	e.answer, e.err = answer, err
	e.until = time.Now().Add(m.options.Window)
	e.ofUser, e.ofAll = e.user.kept.PushBack(e), m.all.PushBack(e)
	if e.user.kept.Len() > m.options.MaxKeys {
		m.forget(e.user.kept.Front().Value.(*entry)) //nolint:forcetypeassert // the list holds nothing else
	}
	if m.all.Len() > m.options.MaxKeysInAll {
		m.forget(m.oldest())
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(m.options.Window, m.expire)
	}
	close(e.done)
}

func (m *memory) oldest() *entry {
	return m.all.Front().Value.(*entry) //nolint:forcetypeassert // the list holds nothing else
}

// forget removes an entry. The lock is held.
func (m *memory) forget(e *entry) {
	u := e.user
	delete(u.entries, e.key)
	if e.ofAll != nil {
		u.kept.Remove(e.ofUser)
		m.all.Remove(e.ofAll)
	}
	if len(u.entries) == 0 {
		delete(m.users, u.name)
	}
}

// expire forgets what is too old, and comes back for the rest.
func (m *memory) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for m.all.Len() > 0 {
		e := m.oldest()
		if wait := e.until.Sub(now); wait > 0 {
			m.timer.Reset(wait)
			return
		}
		m.forget(e)
	}
	m.timer = nil
}
