package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// A Wire is the network between one program and Redis, which can be cut. The zero
// Wire is whole.
type Wire struct {
	mu    sync.Mutex // guards what follows
	cut   bool
	conns map[net.Conn]struct{}
}

var errCut = errors.New("redistest: the wire is cut")

// Dial is for rueidis.ClientOption.DialCtxFn.
func (w *Wire) Dial(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller knows
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		_ = conn.Close()
		return nil, errCut
	}
	if w.conns == nil {
		w.conns = make(map[net.Conn]struct{})
	}
	w.conns[conn] = struct{}{}
	return conn, nil
}

// Cut ends all connections, and lets none through until Mend.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for conn := range w.conns {
		_ = conn.Close()
	}
	clear(w.conns)
}

// Mend lets new connections through again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}
