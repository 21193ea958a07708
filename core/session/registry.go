package session

import (
	"iter"
	"sync"
)

// A registry finds sessions by id. It is split so that requests of different
// sessions seldom meet at a lock.
type registry struct{ shards [64]shard }

type shard struct {
	mu sync.RWMutex // guards byID
	// byID maps session ids to sessions. It is made when the first comes.
	byID map[string]*Session
}

func (r *registry) shard(id string) *shard {
	var h uint32 = 2166136261 // FNV-1a: ids may come from the user, so no one byte of them is random for sure
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return &r.shards[h%uint32(len(r.shards))]
}

func (r *registry) get(id string) *Session {
	sh := r.shard(id)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.byID[id]
}

// add reports whether the id was free.
func (r *registry) add(s *Session) bool {
	sh := r.shard(s.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, taken := sh.byID[s.id]; taken {
		return false
	}
	if sh.byID == nil {
		sh.byID = make(map[string]*Session)
	}
	sh.byID[s.id] = s
	return true
}

func (r *registry) remove(s *Session) {
	sh := r.shard(s.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID[s.id] == s {
		delete(sh.byID, s.id)
	}
}

// all yields the sessions there are, shard by shard, without holding a lock
// meanwhile.
func (r *registry) all() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		var found []*Session
		for i := range r.shards {
			sh := &r.shards[i]
			found = found[:0]
			sh.mu.RLock()
			for _, s := range sh.byID {
				found = append(found, s)
			}
			sh.mu.RUnlock()
			for _, s := range found {
				if !yield(s) {
					return
				}
			}
		}
	}
}
