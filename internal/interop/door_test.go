package interop

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

// A frontDoor is an HTTP server of the kind that a program mounts us on.
type frontDoor struct {
	url, addr string
	stop      func(ctx context.Context) error
	serving   sync.WaitGroup
}

// openDoor listens on a free port, with net/http or with fasthttp.
func openDoor(t *testing.T, door string, plain http.Handler, fast fasthttp.RequestHandler) *frontDoor {
	t.Helper()
	listener := listen(t)
	d := &frontDoor{addr: listener.Addr().String()}
	d.url = "http://" + d.addr
	switch door {
	case "nethttp":
		server := &http.Server{Handler: plain, ReadHeaderTimeout: patience}
		d.serving.Go(func() { _ = server.Serve(listener) })
		d.stop = server.Shutdown
	default:
		server := &fasthttp.Server{Handler: fast, KeepHijackedConns: door == "own", StreamRequestBody: door == "own"}
		d.serving.Go(func() { _ = server.Serve(listener) })
		d.stop = server.ShutdownWithContext
	}
	return d
}

// shut stops the HTTP server and waits for it.
func (d *frontDoor) shut(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := d.stop(ctx); err != nil {
		t.Errorf("shutdown of the front door: %v", err)
	}
	d.serving.Wait()
}

// listen listens on a free port of this machine.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener.(*net.TCPListener)
}
