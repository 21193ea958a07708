package transporttest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What the faults are put into passes without any. This runs the checks for
// upgradable transports too.
func TestNoFault(t *testing.T) {
	tr := &faultyTransport{pipe: pipe.New()}
	Run(t, Config{Transport: tr, Start: tr.start, Bubble: true})
}

// Every check finds what it is for.
func TestFaults(t *testing.T) {
	found := make(map[string]bool)
	for _, test := range faults() {
		t.Run(test.check+"/"+test.name, func(t *testing.T) {
			found[test.check] = true
			// A fault may hang on which goroutine comes first, and a check may
			// miss it then.
			got := ""
			for range 20 {
				synctest.Test(t, func(t *testing.T) {
					tr := &faultyTransport{pipe: pipe.New(), fault: test.fault, forever: make(chan struct{})}
					defer close(tr.forever)
					run := checkNamed(t, test.check)
					got = complaintsOf(t, func(t testing.TB) { runCheck(t, Config{Transport: tr, Start: tr.start, patience: time.Second}, run) })
				})
				if got != "" && strings.Contains(got, test.complaint) {
					return
				}
			}
			t.Errorf("got the complaint %q, want one with %q", got, test.complaint)
		})
	}
	for _, check := range slices.Concat(checks, upgradableChecks) {
		if !found[check.name] {
			t.Errorf("no fault shows that check %s can fail", check.name)
		}
	}
}

func checkNamed(t *testing.T, name string) func(*rig) {
	for _, check := range slices.Concat(checks, upgradableChecks) {
		if check.name == name {
			return check.run
		}
	}
	t.Fatalf("there is no check %s", name)
	return nil
}

func TestGoroutineIsNoticed(t *testing.T) {
	before := goroutines()
	end := make(chan struct{})
	started := make(chan struct{})
	go func() {
		close(started)
		lingerForTest(end)
	}()
	<-started
	for _, test := range []struct {
		background []string
		want       bool
	}{
		{nil, true},
		{[]string{"somebody.else"}, true},
		{[]string{"transporttest.lingerForTest"}, false},
	} {
		left := leftGoroutines(before, test.background, 0)
		if got := strings.Contains(left, "lingerForTest"); got != test.want {
			t.Errorf("background %q: found %t, want %t\n%s", test.background, got, test.want, left)
		}
	}
	close(end)
	if left := leftGoroutines(before, nil, 20*time.Second); left != "" {
		t.Errorf("goroutines are left: %s", left)
	}
}

//go:noinline
func lingerForTest(end chan struct{}) { <-end }

// A packet of every type has a description that names what is in it.
func TestDescribe(t *testing.T) {
	if got, want := describe(binary("\x00")), `binary message of 1 bytes "\x00"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := describe(transports.Packet{Type: transports.Ping}), `text ping of 0 bytes ""`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
