package cluster

import "sync"

// flights are the own events that are on their way to the broker and back.
type flights struct {
	most int // bytes

	mu    sync.Mutex             // guards what follows
	all   map[string]Publication // by nonce; without data those beyond most
	order []string               // nonces as they were queued, of some that have arrived, too
	bytes int                    // of all
}

func (f *flights) init(most int) {
	f.most = most
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = make(map[string]Publication)
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
// clients once, with its offset or without.
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
