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

// Every load runs on both servers, and no message is lost.
func TestLoads(t *testing.T) {
	table, err := runAll(1, 150*time.Millisecond, 100)
	if err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(table, "\n"); rows != 2+len(loads())+1 {
		t.Errorf("%d lines:\n%s", rows, table)
	}
}
