package transporttest

import (
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// ListenHTTP runs a net/http server on the loopback interface until the
// cleanup of t, and returns its address. Each request is passed to serve,
// which will be a Host's Serve, as the Exchange that core.Server makes of it.
// Another server is put in its place by calling Serve from its handler, with an
// Exchange of its own.
func ListenHTTP(t testing.TB, serve func(transports.Exchange)) (addr string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	server := &http.Server{ //nolint:gosec // no stranger can reach it
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(nethttp.New(w, r)) }),
	}
	running.Go(func() { _ = server.Serve(listener) }) // it returns when it is closed
	t.Cleanup(func() {
		_ = server.Close() // the listener is gone in any case
		running.Wait()
	})
	return listener.Addr().String()
}
