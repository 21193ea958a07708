package cluster

import (
	"context"
	"sync"
)

// flights are the own events that are on their way to the broker and back.
type flights struct {
	most int // bytes

	mu      sync.Mutex             // guards what follows
	all     map[string]Publication // by nonce; without data those beyond most
	order   []string               // nonces as they were queued, of some that have arrived, too
	bytes   int                    // of all
	landing map[string]struct{}    // those that are being delivered
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
	f.all, f.landing = make(map[string]Publication), make(map[string]struct{})
	f.waiting = make(map[*wait]struct{})
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

// end reports whether it was this call that has ended an event's way: it goes to
// clients once, with its offset or without, and then landed is called.
func (f *flights) end(nonce string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.endLocked(nonce) {
		return false
	}
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

func (f *flights) endLocked(nonce string) bool {
	p, ok := f.all[nonce]
	if ok {
		delete(f.all, nonce)
		f.bytes -= p.size()
		f.landing[nonce] = struct{}{}
	}
	return ok
}

// arrive is end for an event that has come back. Since a broker keeps what one server
// sends in its order, those that should have come before it are lost there: their
// way has ended, too.
func (f *flights) arrive(nonce string) (lost []Publication, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.all[nonce]; !ok {
		return nil, false
	}
	n := 0
	for ; f.order[n] != nonce; n++ {
		if p, still := f.all[f.order[n]]; still {
			lost = append(lost, p)
			f.endLocked(p.Nonce)
		}
	}
	f.order = f.order[n+1:]
	return lost, f.endLocked(nonce)
}

// landed says that an event has been delivered.
func (f *flights) landed(nonce string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.landing, nonce)
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
	w := &wait{make(map[string]struct{}, len(f.all)+len(f.landing)), make(chan struct{})}
	for nonce := range f.all {
		w.left[nonce] = struct{}{}
	}
	for nonce := range f.landing {
		w.left[nonce] = struct{}{}
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
