package adminui

import (
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A queue holds what is to be sent to the pages, in the order in which it has
// happened, and what must be known to keep that order.
type queue struct {
	max int // bytes

	mu       sync.Mutex // guards what follows
	entries  []func()   // run by the goroutine of Admin.run
	bytes    int
	lost     bool                             // something that changes the state of the pages was dropped
	watched  bool                             // somebody looks
	pages    map[*core.Socket]struct{}        // of the UI that are connected here
	sessions map[*core.Session][]*core.Socket // who is connected; empty unless Options.Development

	watchedUntil time.Time                 // by pages of other servers
	stale        map[*core.Socket]struct{} // whose data is to be sent; nil if there are none
	refresh      *time.Timer               // sends it
}

// entryOverhead is what an entry counts for besides its text.
const entryOverhead = 128

func (q *queue) init(limit int) {
	q.max = limit
	q.pages = make(map[*core.Socket]struct{})
	q.sessions = make(map[*core.Session][]*core.Socket)
}

// pushLocked queues an entry. It reports whether there was room in the first
// 1/share of the queue. The lock is held.
func (q *queue) pushLocked(size, share int, entry func()) bool {
	size += entryOverhead
	if q.bytes+size > q.max/share {
		return false
	}
	q.bytes += size
	q.entries = append(q.entries, entry)
	return true
}

// take empties the queue.
func (q *queue) take() []func() {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries := q.entries
	q.entries, q.bytes = nil, 0
	return entries
}

// end keeps Refresh from sending anything more.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.watched = false
	if q.refresh != nil {
		q.refresh.Stop()
	}
}

func (q *queue) pageCount() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pages)
}

// allLocked returns everybody who is connected. The lock is held.
func (q *queue) allLocked() []*core.Socket {
	var all []*core.Socket
	for _, sockets := range q.sessions {
		all = append(all, sockets...)
	}
	return all
}

// change queues something that changes the state of the pages. What finds no room
// is made good by telling them the whole state.
func (a *Admin) change(size int, entry func()) {
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	a.changeLocked(size, entry)
}

func (a *Admin) changeLocked(size int, entry func()) {
	if !a.queue.watched {
		return
	}
	if !a.queue.pushLocked(size, 1, entry) {
		a.counts.dropped.Add(1)
		a.queue.lost = true
	}
	a.wakeUp()
}

// mention queues something that changes nothing. It may take half of the queue,
// so that a flood of events does not keep out what happens to the sockets.
func (a *Admin) mention(size int, entry func()) {
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	if !a.queue.watched {
		return
	}
	if !a.queue.pushLocked(size, 2, entry) {
		a.counts.dropped.Add(1)
	}
	a.wakeUp()
}

func (a *Admin) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// drain sends what is in the queue.
func (a *Admin) drain() {
	for _, entry := range a.queue.take() {
		if a.ctx.Err() != nil {
			return
		}
		entry()
	}
}
