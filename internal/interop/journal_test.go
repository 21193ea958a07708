package interop

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long a test waits for an event that must come. It is long
// because it only matters when a test fails.
const patience = 30 * time.Second

// A journal collects what happened, for tests to wait on. It is safe for
// concurrent use.
type journal[T any] struct {
	mu      sync.Mutex
	entries []T           // in order, without those that were taken
	changed chan struct{} // closed and replaced by each add
}

func newJournal[T any]() *journal[T] {
	return &journal[T]{changed: make(chan struct{})}
}

func (j *journal[T]) add(entry T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	close(j.changed)
	j.changed = make(chan struct{})
}

// await waits for an entry that matches, takes it out and returns it.
func (j *journal[T]) await(t *testing.T, what string, match func(T) bool) T {
	t.Helper()
	return j.awaitN(t, 1, what, match)[0]
}

// awaitN waits for n entries that match, takes them out and returns them in
// order.
func (j *journal[T]) awaitN(t *testing.T, n int, what string, match func(T) bool) []T {
	t.Helper()
	j.seen(t, n, what, match)
	return j.takeN(n, match)
}

// seen waits for n entries that match and leaves them.
func (j *journal[T]) seen(t *testing.T, n int, what string, match func(T) bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		there, changed := j.count(match)
		if there >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("waited in vain for %s (%d wanted, %d there); instead:\n%s", what, n, there, j)
		}
	}
}

// takeN takes out and returns the first n matching entries, or as many as
// there are.
func (j *journal[T]) takeN(n int, match func(T) bool) []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []T
	rest := make([]T, 0, len(j.entries))
	for _, entry := range j.entries {
		if len(found) < n && match(entry) {
			found = append(found, entry)
		} else {
			rest = append(rest, entry)
		}
	}
	j.entries = rest
	return found
}

// take takes out and returns whatever matches now.
func (j *journal[T]) take(match func(T) bool) []T {
	return j.takeN(math.MaxInt, match)
}

// all returns the entries that were not taken.
func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// count counts the matching entries; changed is closed when there may be more.
func (j *journal[T]) count(match func(T) bool) (n int, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, entry := range j.entries {
		if match(entry) {
			n++
		}
	}
	return n, j.changed
}

// String lists the last entries, for the message of a failing test.
func (j *journal[T]) String() string {
	entries := j.all()
	var b strings.Builder
	if cut := len(entries) - 40; cut > 0 {
		fmt.Fprintf(&b, "  (%d earlier ones)\n", cut)
		entries = entries[cut:]
	}
	for _, entry := range entries {
		fmt.Fprintf(&b, "  %+v\n", entry)
	}
	return b.String()
}

// diff is cmp.Diff that is quick about large values that are equal.
func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	return cmp.Diff(want, got)
}
