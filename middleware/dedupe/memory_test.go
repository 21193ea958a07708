package dedupe

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Any number of users cost what the options allow, and nothing in the end.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Window: time.Minute, MaxKeys: 10, MaxKeysInAll: 1000}
		m := newMemory(&o)
		for i := range 100_000 {
			e, first := m.enter(strconv.Itoa(i), "key")
			if !first {
				t.Fatal("not the first")
			}
			m.finish(e, i%3 != 0, nil, nil)
		}
		m.mu.Lock()
		if len(m.users) != 1000 || m.all.Len() != 1000 {
			t.Errorf("%d users, %d keys", len(m.users), m.all.Len())
		}
		m.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.users) != 0 || m.all.Len() != 0 || m.timer != nil {
			t.Errorf("in the end %d users, %d keys, timer %v", len(m.users), m.all.Len(), m.timer)
		}
	})
}
