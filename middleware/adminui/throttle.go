package adminui

import (
	"sync"
	"time"
)

// maxAddresses is how many addresses a throttle knows. Who makes it forget one
// by coming from more gains that one's attempts, and is bounded by the bucket of
// all.
const maxAddresses = 4096

// A throttle counts attempts to log in that have failed. One that is allowed
// counts as failed until it is forgiven.
type throttle struct {
	perMinute int

	mu      sync.Mutex // guards what follows
	all     bucket
	buckets map[string]*bucket // by address; one that is missing is full
}

// A bucket holds the attempts that are left, and fills again within a minute.
type bucket struct {
	size, left float64
	at         time.Time // left is from then
}

func newThrottle(perMinute int) *throttle {
	t := &throttle{perMinute: perMinute, buckets: make(map[string]*bucket)}
	t.all = t.full(10, time.Now())
	return t
}

// full returns a bucket with so many times the attempts of one address.
func (t *throttle) full(times int, now time.Time) bucket {
	size := float64(times * t.perMinute)
	return bucket{size: size, left: size, at: now}
}

func (b *bucket) fill(now time.Time) {
	b.left = min(b.size, b.left+b.size*now.Sub(b.at).Minutes())
	b.at = now
}

// allow takes one attempt of the address, if there is one left. forgive gives it
// back.
func (t *throttle) allow(address string) (forgive func(), ok bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all.fill(now); t.all.left < 1 {
		return nil, false
	}
	one := t.buckets[address]
	if one == nil {
		t.makeRoom(now)
		one = new(t.full(1, now))
		t.buckets[address] = one
	}
	if one.fill(now); one.left < 1 {
		return nil, false
	}
	one.left--
	t.all.left--
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		one.left++ // fill keeps it at the size
		t.all.left++
	}, true
}

// makeRoom forgets addresses whose bucket is full again, and then others, so many
// that it need not be done for each address. The lock is held.
func (t *throttle) makeRoom(now time.Time) {
	if len(t.buckets) < maxAddresses {
		return
	}
	for address, b := range t.buckets {
		if b.fill(now); b.left == b.size {
			delete(t.buckets, address)
		}
	}
	for address := range t.buckets {
		if len(t.buckets) <= maxAddresses/2 {
			return
		}
		delete(t.buckets, address)
	}
}
