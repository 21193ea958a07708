package relay_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/relay"
	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

const (
	patience = 30 * time.Second
	secret   = "sixteen bytes at the least"
)

// ways are those in which a client comes.
var ways = map[string]client.Options{
	"polling":   {Transports: []string{client.Polling}},
	"upgrade":   {Transports: []string{client.Polling, client.WebSocket}},
	"websocket": {Transports: []string{client.WebSocket}},
}

// A node is one server of a cluster.
type node struct {
	srv   *core.Server
	front *relay.Relay
	base  string
	log   *lockedBuffer
	kill  func() // cuts its connections and listens no more
}

type setup struct {
	door    string // "nethttp", which is the default, or "fasthttp"
	core    core.Options
	relay   relay.Options
	prepare func(i int, n *node, o *relay.Options)
	alone   bool // no adapter
}

// start makes servers that know each other.
func start(t testing.TB, count int, s setup) []*node {
	t.Helper()
	bus := new(adaptertest.Bus)
	all := make([]*node, 0, count)
	for i := range count {
		n := &node{log: new(lockedBuffer)}
		o := s.core
		o.SessionTag = relay.NewTag()
		if o.PingTimeout == 0 { // a session whose client is not there any more is waited for that long at the end
			o.PingInterval, o.PingTimeout = patience, time.Second
		}
		if !s.alone {
			o.Adapter = cluster.New(bus.Engine(), cluster.Options{})
		}
		var err error
		if n.srv, err = core.New(o); err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.base = "http://" + listener.Addr().String()
		ro := s.relay
		ro.Secret, ro.Advertise = secret, n.base
		ro.Logger = slog.New(slog.NewTextHandler(n.log, nil))
		if s.prepare != nil {
			s.prepare(i, n, &ro)
		}
		if n.front, err = relay.New(n.srv, ro); err != nil {
			t.Fatal(err)
		}
		stop := n.listen(s.door, listener)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := n.srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := n.front.Close(); err != nil {
				t.Error(err)
			}
			stop(ctx)
			if a := n.front.Stats().Active; a != 0 {
				t.Errorf("%d relayed requests are left", a)
			}
			if t.Failed() {
				t.Logf("server %d: %+v\n%s", i, n.front.Stats(), n.log.String())
			}
		})
		all = append(all, n)
	}
	if !s.alone {
		until(t, "the servers know each other", func() bool {
			return !slices.ContainsFunc(all, func(n *node) bool { return n.front.Stats().Servers < count-1 })
		})
	}
	return all
}

// listen serves the node, and returns how to stop it.
func (n *node) listen(door string, listener net.Listener) (stop func(context.Context)) {
	var serving sync.WaitGroup
	if door == "fasthttp" {
		server := &fasthttp.Server{Handler: n.front.ServeFastHTTP, StreamRequestBody: true}
		serving.Go(func() { _ = server.Serve(listener) })
		return func(ctx context.Context) {
			_ = server.ShutdownWithContext(ctx)
			serving.Wait()
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.front)
	mux.HandleFunc("/inner", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("inner")) })
	var (
		mu    sync.Mutex
		conns = make(map[net.Conn]bool) // those of WebSockets included
	)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience, ConnState: func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if s == http.StateClosed {
			delete(conns, c)
		} else {
			conns[c] = true
		}
	}}
	serving.Go(func() { _ = server.Serve(listener) })
	n.kill = func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for c := range conns {
			_ = c.Close()
		}
	}
	return func(context.Context) {
		_ = server.Close()
		serving.Wait()
	}
}

// A balancer takes turns, for each request anew.
type balancer struct {
	url  string
	mu   sync.Mutex // guards what follows
	next int
	to   []*node
}

func balance(t testing.TB, nodes []*node) *balancer {
	t.Helper()
	b := &balancer{to: slices.Clone(nodes)}
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			u, _ := url.Parse(b.turn().base)
			r.SetURL(u)
			r.Out.Host = r.In.Host
		},
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	b.url = proxy.URL
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		transport.CloseIdleConnections()
	})
	return b
}

func (b *balancer) turn() *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.to[b.next%len(b.to)]
}

func (b *balancer) remove(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.to = slices.DeleteFunc(slices.Clone(b.to), func(other *node) bool { return other == n })
}

// dial connects a client, and closes it with the test.
func dial(t testing.TB, url string, o client.Options) *client.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// until waits for something that comes about elsewhere.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// receive waits for what comes on a channel.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// total adds up what the relays of all nodes have counted.
func total(nodes []*node) (sum relay.Stats) {
	for _, n := range nodes {
		s := n.front.Stats()
		sum.Requests += s.Requests
		sum.Tunnels += s.Tunnels
		sum.Received += s.Received
		sum.Forged += s.Forged
		sum.Unknown += s.Unknown
		sum.Failed += s.Failed
		sum.Questions += s.Questions
		sum.Active += s.Active
	}
	return sum
}

// lockedBuffer is a buffer for logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
