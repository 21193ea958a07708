package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// A network is in memory, for tests on virtual time: real HTTP and WebSocket
// run over it.
type network struct {
	conns chan net.Conn // accepted by the server
	gone  chan struct{} // closed with the listener

	mu     sync.Mutex // guards what follows
	down   bool       // nothing can be dialed
	dials  []time.Time
	live   []*wire
	closed bool
}

var errDown = errors.New("network is down")

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), gone: make(chan struct{})}
}

// A wire is a connection through the network.
type wire struct {
	client, server net.Conn // the network's ends
	dead           atomic.Bool
}

// carry passes on what comes, in one direction. On a dead wire nothing arrives,
// not even the end.
func (w *wire) carry(dst, src net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := src.Read(buffer)
		switch {
		case w.dead.Load() && err != nil:
			_ = src.Close()
			return
		case w.dead.Load():
			continue
		case err != nil:
			w.cut()
			return
		}
		if _, err := dst.Write(buffer[:n]); err != nil && !w.dead.Load() {
			w.cut()
			return
		}
	}
}

func (w *wire) cut() {
	_ = w.client.Close()
	_ = w.server.Close()
}

// dial is a DialContext.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	down := n.down
	n.mu.Unlock()
	if down {
		return nil, errDown
	}
	ours, near := net.Pipe()
	far, theirs := net.Pipe()
	w := &wire{client: near, server: far}
	select {
	case n.conns <- theirs:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-n.gone:
		return nil, errDown
	}
	go w.carry(near, far)
	go w.carry(far, near)
	n.mu.Lock()
	n.live = append(n.live, w)
	n.mu.Unlock()
	return ours, nil
}

// cut ends all connections, and lets none be made until it is mended.
func (n *network) cut() {
	n.mu.Lock()
	n.down = true
	live := n.live
	n.live = nil
	n.mu.Unlock()
	for _, w := range live {
		w.cut()
	}
}

func (n *network) mend() {
	n.mu.Lock()
	n.down = false
	n.mu.Unlock()
}

// vanish lets nothing through on the connections that there are.
func (n *network) vanish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.live {
		w.dead.Store(true)
	}
}

// dialed returns when there were attempts to dial, and forgets them.
func (n *network) dialed() []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	dials := n.dials
	n.dials = nil
	return dials
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.gone:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		close(n.gone)
	}
	return nil
}

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

// host serves a handler on the network.
func (n *network) host(t *testing.T, handler http.Handler) {
	t.Helper()
	host := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = host.Serve(n)
	}()
	t.Cleanup(func() {
		_ = n.Close()
		_ = host.Close()
		<-done
	})
}

// inMemory starts a server of ours on a network of its own. Clients of the
// options reach it.
func inMemory(t *testing.T, o core.Options) (*core.Server, *network, client.Options) {
	t.Helper()
	srv, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork()
	n.host(t, srv)
	t.Cleanup(func() {
		n.cut()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return srv, n, n.options(t)
}

// options are those of a client on the network.
func (n *network) options(t *testing.T) client.Options {
	transport := &http.Transport{DialContext: n.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return client.Options{HTTPClient: &http.Client{Transport: transport}}
}

const memory = "http://server.test"
