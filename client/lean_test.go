//go:build !race

package client_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/event"
)

// idleServer accepts WebSockets, joins whoever comes to the main namespace, and
// then holds nothing but the connection.
func idleServer(t *testing.T) (url string, hangUp func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	hangUp = func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	greet := func(conn net.Conn) {
		in := bufio.NewReader(conn)
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = conn.Write(switching(request))
		_, _ = conn.Write(frame(0x81, []byte(goodOpen)))
		_, _ = in.ReadByte() // the client asks to join
		_, _ = conn.Write(frame(0x81, []byte(goodJoin)))
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, conn)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go greet(conn)
		}
	}()
	return "http://" + listener.Addr().String(), hangUp
}

// An idle client has one goroutine, the one that reads, and a few kilobytes.
func TestIdleClientsAreLean(t *testing.T) {
	const clients = 500
	url, hangUp := idleServer(t)
	defer hangUp()
	o := client.Options{HTTPClient: &http.Client{Transport: &http.Transport{}}, Transports: []string{client.WebSocket}}
	sockets := make([]*client.Socket, 0, clients)
	var before, after runtime.MemStats
	var running int
	for range clients + 1 {
		c, err := client.Dial(t.Context(), url, o)
		if err != nil {
			t.Fatal(err)
		}
		posted.On(c, func(context.Context, message) (event.None, error) { return event.None{}, nil })
		sockets = append(sockets, c)
		if len(sockets) == 1 {
			measure()
			runtime.ReadMemStats(&before)
			running = runtime.NumGoroutine()
		}
	}
	measure()
	runtime.ReadMemStats(&after)
	running = runtime.NumGoroutine() - running
	heap := int(after.HeapAlloc-before.HeapAlloc) / clients
	stack := int(after.StackInuse-before.StackInuse) / clients
	t.Logf("per client: %d bytes of heap, %d of stacks, %.2f goroutines", heap, stack, float64(running)/clients)
	if running > clients+20 {
		t.Errorf("%d goroutines for %d clients", running, clients)
	}
	if heap > 8<<10 {
		t.Errorf("%d bytes of heap for each client", heap)
	}
	hangUp() // nobody would answer the close frames
	for _, c := range sockets {
		_ = c.Close()
	}
}
