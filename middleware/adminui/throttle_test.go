package adminui

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// A throttle that is fed very many addresses stays small, and goes on.
func TestThrottleIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := newThrottle(1_000_000)
		for i := range 100_000 {
			if _, ok := throttle.allow(strconv.Itoa(i)); !ok {
				t.Fatal("refused")
			}
			if n := len(throttle.buckets); n > maxAddresses {
				t.Fatalf("%d addresses", n)
			}
		}
		for i := 0; len(throttle.buckets) < maxAddresses; i++ {
			throttle.allow("more " + strconv.Itoa(i))
		}
		<-time.After(time.Minute)
		throttle.allow("one more")
		if n := len(throttle.buckets); n != 1 {
			t.Errorf("%d addresses are left, all but one of which would be full", n)
		}
	})
}

// What succeeds is given back, and not more than that.
func TestThrottleForgives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := newThrottle(2)
		for range 100 {
			forgive, ok := throttle.allow("a")
			if !ok {
				t.Fatal("what succeeds counts")
			}
			forgive()
		}
		for i := range 4 {
			if _, ok := throttle.allow("a"); ok != (i < 2) {
				t.Errorf("attempt %d: %v", i, ok)
			}
		}
		<-time.After(30 * time.Second)
		if _, ok := throttle.allow("a"); !ok {
			t.Error("no attempt comes back")
		}
		if _, ok := throttle.allow("a"); ok {
			t.Error("too many come back")
		}
	})
}
