package ratelimit

import (
	"hash/maphash"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// buckets are those of the keys that have asked last. They are split, so that
// requests seldom meet at a lock.
type buckets struct {
	seed   maphash.Seed
	shards [16]shard
}

type shard struct {
	mu    sync.Mutex // guards known
	known *lru.LRU[string, *rate.Limiter]
}

func newBuckets(most int) *buckets {
	b := &buckets{seed: maphash.MakeSeed()}
	each := (most + len(b.shards) - 1) / len(b.shards)
	for i := range b.shards {
		b.shards[i].known, _ = lru.NewLRU[string, *rate.Limiter](each, nil) // fails for sizes below 1 only
	}
	return b
}

// get returns the bucket of a key, which is made if it is not known.
func (b *buckets) get(key string, fresh func() *rate.Limiter) *rate.Limiter {
	s := &b.shards[maphash.String(b.seed, key)%uint64(len(b.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, ok := s.known.Get(key)
	if !ok {
		bucket = fresh()
		s.known.Add(key, bucket)
	}
	return bucket
}

// len is how many keys are known.
func (b *buckets) len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += s.known.Len()
		s.mu.Unlock()
	}
	return n
}
