package cluster

import (
	"context"
	"sync"
)

// flights are the own events that are on their way to the broker and back. They land
// one at a time, whichever goroutine delivers them, and those that come back in their
// order. One that is given up lands at once: earlier ones that the broker has taken may
// be on their way back yet, or never come, and are not waited for.
type flights struct {
	most int // bytes

	mu      sync.Mutex             // guards what follows
	all     map[string]Publication // by nonce; without data those beyond most
	order   []string               // nonces as they were queued, of some that have landed, too
	bytes   int                    // of all
	landing string                 // the one that is being delivered, if any
	free    sync.Cond              // told when it has been
	waiting map[*wait]struct{}
}

// A wait is for some of them.
type wait struct {
	left map[string]struct{}
	over chan struct{} // closed when none is left
}

func (f *flights) init(most int) {
	f.most = most
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.waiting = make(map[string]Publication), make(map[*wait]struct{})
	f.free.L = &f.mu
}

// begin takes an event that is queued, in the order of the queue.
func (f *flights) begin(p Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bytes+p.size() > f.most {
		p.Data = nil
	}
	f.bytes += p.size()
	f.all[p.Nonce] = p
	f.order = append(f.order, p.Nonce)
}

// land reports whether it was this call that has ended an event's way: it goes to
// clients once, with its offset or without, and then landed is called.
func (f *flights) land(nonce string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.landing != "" {
		f.free.Wait()
	}
	if _, ok := f.all[nonce]; !ok {
		return false
	}
	f.endLocked(nonce)
	const few = 64
	if len(f.order) > 2*len(f.all)+few {
		rest := make([]string, 0, len(f.all))
		for _, n := range f.order {
			if _, still := f.all[n]; still {
				rest = append(rest, n)
			}
		}
		f.order = rest
	}
	return true
}

// next is land for the first of the events up to one that has come back. Since a
// broker keeps what one server sends in its order, those that should have come before
// it are lost there: their way ends here, too.
func (f *flights) next(nonce string) (p Publication, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.landing != "" {
		f.free.Wait()
	}
	if _, ok := f.all[nonce]; !ok {
		return Publication{}, false
	}
	for ok = false; !ok; f.order = f.order[1:] {
		p, ok = f.all[f.order[0]]
	}
	f.endLocked(p.Nonce)
	return p, true
}

func (f *flights) endLocked(nonce string) {
	p := f.all[nonce]
	delete(f.all, nonce)
	f.bytes -= p.size()
	f.landing = nonce
}

// landed says that an event has been delivered.
func (f *flights) landed(nonce string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.landing = ""
	f.free.Broadcast()
	for w := range f.waiting {
		if delete(w.left, nonce); len(w.left) == 0 {
			close(w.over)
			delete(f.waiting, w)
		}
	}
}

// settle returns when all that have begun have landed, or ctx has ended.
func (f *flights) settle(ctx context.Context) {
	f.mu.Lock()
	w := &wait{make(map[string]struct{}, len(f.all)+1), make(chan struct{})}
	for nonce := range f.all {
		w.left[nonce] = struct{}{}
	}
	if f.landing != "" {
		w.left[f.landing] = struct{}{}
	}
	if len(w.left) == 0 {
		f.mu.Unlock()
		return
	}
	f.waiting[w] = struct{}{}
	f.mu.Unlock()
	select {
	case <-w.over:
	case <-ctx.Done():
		f.mu.Lock()
		delete(f.waiting, w)
		f.mu.Unlock()
	}
}
