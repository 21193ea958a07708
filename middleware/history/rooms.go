package history

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A room is what is kept of one.
type room struct {
	name string

	mu     sync.Mutex // guards what follows, and orders what is sent to the room
	events []Entry
	asked  time.Time     // when other servers were, and
	told   chan struct{} // closed when they have answered; nil if they were not asked
	silent bool          // one of them has not
	gone   bool          // forgotten: History.rooms has another one, or none

	used uint64 // guarded by History.mu
}

// askPause is for how long no server is asked again for a room of which one was
// silent: it is not waited for by everybody who joins.
const askPause = 10 * time.Second

// find returns a room. One that is not there is made, or is nil.
func (h *History) find(name string, create bool) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[name]
	if r == nil {
		if !create {
			return nil
		}
		r = &room{name: name}
		h.rooms[name] = r
	}
	h.uses++
	r.used = h.uses
	return r
}

// lock returns a room, locked. One that is not there is made, or is nil.
func (h *History) lock(name string, create bool) *room {
	for {
		r := h.find(name, create)
		if r == nil {
			return nil
		}
		r.mu.Lock()
		if !r.gone {
			return r
		}
		r.mu.Unlock() // it was forgotten meanwhile
	}
}

// addLocked keeps an event in its place, by time. It reports false if it is there.
func (h *History) addLocked(r *room, e *Entry) bool {
	at, found := slices.BinarySearchFunc(r.events, e, func(a Entry, b *Entry) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID))
	})
	if found {
		return false
	}
	r.events = slices.Insert(r.events, at, *e)
	h.count(e.size())
	for len(r.events) > h.options.Size {
		h.dropLocked(r)
	}
	return true
}

func (h *History) dropLocked(r *room) {
	h.count(-r.events[0].size())
	r.events = slices.Delete(r.events, 0, 1)
}

func (h *History) count(bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += bytes
}

// expireLocked forgets what is too old.
func (h *History) expireLocked(r *room) {
	for before := time.Now().Add(-h.options.MaxAge).UnixMilli(); len(r.events) > 0 && r.events[0].Time < before; {
		h.dropLocked(r)
	}
}

// shrink forgets rooms, of all but one, until there are not too many and they are not
// too large.
func (h *History) shrink(but *room) {
	for {
		h.mu.Lock()
		var oldest *room
		if len(h.rooms) > h.options.MaxRooms || h.bytes > h.options.MaxBytes {
			for _, r := range h.rooms {
				if r != but && (oldest == nil || r.used < oldest.used) {
					oldest = r
				}
			}
		}
		h.mu.Unlock()
		if oldest == nil {
			return
		}
		h.drop(oldest)
	}
}

// drop forgets a room.
func (h *History) drop(r *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.events) > 0 {
		h.dropLocked(r)
	}
	r.gone = true
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[r.name] == r {
		delete(h.rooms, r.name)
	}
}
