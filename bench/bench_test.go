package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the server processes as well.
func TestMain(m *testing.M) {
	if name := os.Getenv("UPSHIFT_BENCH_SERVE"); name != "" {
		check(serveUntilEOF(name, ""))
		return
	}
	os.Exit(m.Run())
}

// Every load runs on both servers, every answer is what was asked for, and no
// message is lost: run fails otherwise.
func TestLoads(t *testing.T) {
	table, err := plan{rounds: 1, length: 150 * time.Millisecond, idle: 100}.run()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loads() {
		if !strings.Contains(table, "| "+l.name+" |") {
			t.Errorf("no row for %q:\n%s", l.name, table)
		}
	}
	if !strings.Contains(table, "| idle, 100 sessions") {
		t.Errorf("no row for idle sessions:\n%s", table)
	}
}
