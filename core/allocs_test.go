//go:build !race

package core_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
)

// Allocations are exact, unlike times, so they have ceilings. A broadcast
// allocates the same for one client as for a thousand.
func TestAllocs(t *testing.T) {
	benchmarks := map[string]func(*testing.B){
		"EventWithAnswer":          BenchmarkEventWithAnswer,
		"EventWithAnswerPipelined": BenchmarkEventWithAnswerPipelined,
		"Emit":                     BenchmarkEmit,
		"Broadcast1":               BenchmarkBroadcast1,
		"Broadcast1000":            BenchmarkBroadcast1000,
		"JoinLeave":                func(b *testing.B) { benchmarkJoinLeave(b, 1000) },
		"Call":                     BenchmarkCall,
	}
	for name, most := range ceilings(t) {
		run := benchmarks[name]
		if run == nil {
			t.Errorf("no benchmark %s", name)
			continue
		}
		delete(benchmarks, name)
		if got := testing.Benchmark(run).AllocsPerOp(); got > most {
			t.Errorf("%s: %d allocations, at most %d", name, got, most)
		}
	}
	for name := range benchmarks {
		t.Errorf("no ceiling for %s", name)
	}
}

func ceilings(t *testing.T) map[string]int64 {
	t.Helper()
	f, err := os.Open("testdata/allocations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	most := make(map[string]int64)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var name string
		var n int64
		if _, err := fmt.Sscan(lines.Text(), &name, &n); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		most[name] = n
	}
	return most
}

// What no observer asks for costs no allocation, whatever else is observed.
func TestAllocsOfHooksThatAreNil(t *testing.T) {
	srv, w, _ := wireServer(t, 1)
	s := srv.Of("/").Sockets()[0]
	emit := func() {
		if err := s.Emit(t.Context(), "x", 1); err != nil {
			t.Fatal(err)
		}
		<-w.sent
		if err := s.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		if err := s.Leave(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
	}
	before := testing.AllocsPerRun(200, emit)
	srv.Observe(core.Hooks{Connected: func(*core.Socket) {}})
	if after := testing.AllocsPerRun(200, emit); after > before {
		t.Errorf("%v allocations, %v without observers", after, before)
	}
}
