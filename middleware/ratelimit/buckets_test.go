package ratelimit

import (
	"net/netip"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/time/rate"
)

// A million addresses cost what the options allow.
func TestBuckets(t *testing.T) {
	const most = 10_000
	before := heap()
	b := newBuckets(most)
	fresh := func() *rate.Limiter { return rate.NewLimiter(1, 1) }
	kept := b.get("kept", fresh)
	for i := range 1_000_000 {
		b.get(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), fresh)
		if i%1000 == 0 && b.get("kept", fresh) != kept {
			t.Fatal("a key that asks all the time was forgotten")
		}
	}
	if n := b.len(); n < most*9/10 || n > most+16 {
		t.Errorf("%d keys are known", n)
	}
	if grown := int64(heap()) - int64(before); grown > 10<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	runtime.KeepAlive(b)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What passes costs no allocation.
func BenchmarkPass(b *testing.B) {
	buckets := newBuckets(1000)
	fresh := func() *rate.Limiter { return rate.NewLimiter(rate.Inf, 1) }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if !buckets.get(strconv.Itoa(i%100), fresh).Allow() {
			b.Fatal("did not pass")
		}
	}
}

func TestAllocs(t *testing.T) {
	buckets := newBuckets(1000)
	fresh := func() *rate.Limiter { return rate.NewLimiter(rate.Inf, 1) }
	if n := testing.AllocsPerRun(100, func() { buckets.get("key", fresh).Allow() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
