package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// patience is how long a test waits for what must come. It only matters when a
// test fails.
const patience = 30 * time.Second

// serve starts a server of ours on a real port, and returns its URL.
func serve(t *testing.T, o core.Options) (*core.Server, string) {
	t.Helper()
	srv, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	host := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		host.Close()
	})
	return srv, host.URL
}

// dial connects a client, and closes it when the test ends.
func dial(t *testing.T, url string, o client.Options) *client.Socket {
	t.Helper()
	c := newClient(t, url, o)
	connect(t, c)
	return c
}

func newClient(t *testing.T, url string, o client.Options) *client.Socket {
	t.Helper()
	c, err := client.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func connect(t *testing.T, c *client.Socket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatalf("Connect: %v", err)
	}
}

// receive takes a value off a channel.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
