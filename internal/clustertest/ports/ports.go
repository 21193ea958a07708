// Package ports has ports for the brokers of tests.
package ports

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports below those that the system gives to whoever has asked for none. One of
// these stays free while a broker is away, to come back to it.
const (
	first = 20_000
	last  = 32_767
)

// Attempts is how many ports to try: what Free has found may be taken by then.
const Attempts = 5

// Free returns a port of 127.0.0.1 that nobody listened on just now.
func Free(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := first + rand.IntN(last-first+1) //nolint:gosec // no secret
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatal("no port is free")
	return 0
}
