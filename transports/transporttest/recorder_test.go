package transporttest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A recorder is a testing.TB whose failures are kept.
type recorder struct {
	testing.TB

	mu         sync.Mutex // guards what follows
	complaints []string
	cleanups   []func()
}

func (r *recorder) Helper()             {}
func (r *recorder) Log(...any)          {}
func (r *recorder) Logf(string, ...any) {}

func (r *recorder) Error(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complaints = append(r.complaints, fmt.Sprint(args...))
}

func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// complaintsOf runs f as if r were its test, clean-up included, and returns what was
// complained of.
func complaintsOf(t testing.TB, f func(testing.TB)) string {
	r := &recorder{TB: t}
	apart(func() { f(r) })
	for {
		r.mu.Lock()
		last := len(r.cleanups) - 1
		if last < 0 {
			break
		}
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		r.mu.Unlock()
		apart(cleanup)
	}
	defer r.mu.Unlock()
	return strings.Join(r.complaints, "\n")
}

// apart calls f on a goroutine that it may end.
func apart(f func()) {
	var done sync.WaitGroup
	done.Go(f)
	done.Wait()
}
