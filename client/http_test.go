package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// A tunnel is a proxy that knows CONNECT.
func tunnel(t *testing.T) (address *url.URL, used *atomic.Int64) {
	used = new(atomic.Int64)
	var carrying sync.WaitGroup
	carrying.Add(1) // more may come until the test is over
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") == "" {
			http.Error(w, "no", http.StatusMethodNotAllowed)
			return
		}
		used.Add(1)
		server, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{conn, server}, {server, conn}} {
			carrying.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}))
	t.Cleanup(func() {
		proxy.Close()
		carrying.Done()
		carrying.Wait()
	})
	address, _ = url.Parse(proxy.URL)
	address.User = url.UserPassword("joe", "secret")
	return address, used
}

// TLS, a proxy, cookies and header fields are those of the http.Client, on both
// transports and for the upgrade.
func TestHTTPClient(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			cookies := make(chan string, 10)
			srv, err := core.New(core.Options{
				Cookie: &core.Cookie{Name: "route"},
				AllowRequest: func(_ context.Context, h *core.Handshake) error {
					if h.Header.Get("X-Key") != "open" || h.Header.Get("Host") != "virtual.test" || h.Query.Get("room") != "a&b" || h.Query.Get("v") != "1" {
						return fmt.Errorf("header %v, query %q", h.Header, h.Query)
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			countOn(srv)
			host := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("sid") != "" {
					select {
					case cookies <- r.Header.Get("Cookie"):
					default:
					}
				}
				srv.ServeHTTP(w, r)
			}))
			host.EnableHTTP2 = true
			host.StartTLS()
			t.Cleanup(func() {
				_ = srv.Shutdown(context.Background())
				host.Close()
			})
			proxy, used := tunnel(t)
			own := &http.Transport{
				Proxy:             http.ProxyURL(proxy),
				TLSClientConfig:   host.Client().Transport.(*http.Transport).TLSClientConfig.Clone(),
				ForceAttemptHTTP2: true,
			}
			t.Cleanup(own.CloseIdleConnections)
			o := way
			o.HTTPClient = &http.Client{Transport: own, Jar: jar{}, Timeout: time.Hour}
			o.Header = http.Header{"x-key": {"open"}, "Host": {"virtual.test"}}
			o.Query = url.Values{"room": {"a&b"}}
			c := dial(t, host.URL+"/?v=1", o)
			for n := range 3 {
				if err := c.Call(t.Context(), "count", []any{n}); err != nil {
					t.Fatal(err)
				}
			}
			if name != "websocket" {
				if got := receive(t, cookies, "a request"); got != "jar=full" {
					t.Errorf("cookies %q", got)
				}
			}
			if used.Load() == 0 {
				t.Error("the proxy was passed by")
			}
		})
	}
}

// A jar has one cookie for everybody.
type jar struct{}

func (jar) SetCookies(*url.URL, []*http.Cookie) {}
func (jar) Cookies(*url.URL) []*http.Cookie {
	return []*http.Cookie{{Name: "jar", Value: "full"}}
}

// Load balancers that route by cookie work without further ado.
func TestCookiesAreKept(t *testing.T) {
	srv, _ := serve(t, core.Options{Cookie: &core.Cookie{Name: "route"}})
	cookies := make(chan string, 10)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case cookies <- r.Header.Get("Cookie"):
		default:
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	dial(t, front.URL, client.Options{Transports: []string{client.Polling}})
	if got := receive(t, cookies, "the handshake"); got != "" {
		t.Errorf("the first request has %q", got)
	}
	if got := receive(t, cookies, "the next"); !strings.HasPrefix(got, "route=") {
		t.Errorf("the second has %q", got)
	}
}

func TestRefusedRequests(t *testing.T) {
	forbidding := must(core.New(core.Options{AllowRequest: func(context.Context, *core.Handshake) error { return errors.New("not today") }}))
	for _, test := range []struct {
		name    string
		handler http.Handler
		want    client.RequestError
	}{
		{"not found", http.NotFoundHandler(), client.RequestError{Status: 404, Code: -1, Message: "404 page not found"}},
		{"forbidden", forbidding, client.RequestError{Status: 403, Code: 4, Message: "not today"}},
		{"an endless page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		}), client.RequestError{Status: 502, Code: -1}},
	} {
		for _, transport := range []string{client.Polling, client.WebSocket} {
			t.Run(test.name+"/"+transport, func(t *testing.T) {
				host := httptest.NewServer(test.handler)
				defer host.Close()
				_, err := client.Dial(t.Context(), host.URL, client.Options{Transports: []string{transport}})
				e, ok := errors.AsType[*client.RequestError](err)
				test.want.Transport = transport
				if test.name == "forbidden" && transport == client.WebSocket {
					// As the reference server has it.
					test.want.Status, test.want.Code = 400, -1
				}
				if !ok || *e != test.want || e.Error() == "" {
					t.Errorf("Dial: %v, want %v", err, &test.want)
				}
			})
		}
	}
}

func must(srv *core.Server, err error) *core.Server {
	if err != nil {
		panic(err)
	}
	return srv
}

func TestFallsBackToPolling(t *testing.T) {
	srv, url := serve(t, core.Options{Transports: []transports.Transport{polling.New(polling.Options{})}})
	countOn(srv)
	c := dial(t, url, client.Options{})
	if got := c.Transport(); got != client.Polling {
		t.Errorf("on %s", got)
	}
	if _, err := client.Dial(t.Context(), url, client.Options{FirstTransportOnly: true}); err == nil {
		t.Error("Dial has succeeded")
	}
}

func TestRemembersTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened []string
		_, net, o := inMemory(t, core.Options{AllowRequest: func(_ context.Context, h *core.Handshake) error {
			opened = append(opened, h.Query.Get("transport"))
			return nil
		}})
		o.Transports = []string{client.Polling, client.WebSocket}
		o.RememberUpgrade = true
		c := newClient(t, memory, o)
		connect(t, c)
		<-time.After(time.Second)
		synctest.Wait()
		if c.Transport() != client.WebSocket {
			t.Errorf("on %s", c.Transport())
		}
		net.cut()
		net.mend()
		<-time.After(5 * time.Second)
		synctest.Wait()
		if got := strings.Join(opened, " "); got != "polling websocket" {
			t.Errorf("opened on %s", got)
		}
	})
}

func TestCompression(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		t.Run(fmt.Sprintf("takeover=%v", takeover), func(t *testing.T) {
			squeeze := ws.Compression{Enabled: true, ContextTakeover: takeover}
			srv, url := serve(t, core.Options{Transports: []transports.Transport{ws.New(ws.Options{Compression: squeeze})}})
			core.OnEvent(srv.Of("/"), echo, func(_ context.Context, _ *core.Socket, m message) (message, error) { return m, nil })
			var passed atomic.Int64
			transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &meter{conn, &passed}, err
			}}
			c := dial(t, url, client.Options{
				Transports: []string{client.WebSocket}, Compression: squeeze,
				HTTPClient: &http.Client{Transport: transport},
			})
			m := message{Text: strings.Repeat("hello ", 10_000), Blob: bytes.Repeat([]byte("x"), 50_000)}
			for range 5 {
				got, err := echo.Call(t.Context(), c, m)
				if err != nil || got.Text != m.Text || !bytes.Equal(got.Blob, m.Blob) {
					t.Fatalf("%d and %d bytes, %v", len(got.Text), len(got.Blob), err)
				}
				m.Text += "!"
				small, err := echo.Call(t.Context(), c, message{Text: "small"})
				if err != nil || small.Text != "small" {
					t.Fatalf("%+v, %v", small, err)
				}
			}
			if n := passed.Load(); n > 100_000 {
				t.Errorf("%d bytes have passed", n)
			}
		})
	}
}

// A meter counts bytes.
type meter struct {
	net.Conn
	passed *atomic.Int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.passed.Add(int64(n))
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	m.passed.Add(int64(len(p)))
	return m.Conn.Write(p)
}

// A client whose machine has slept notices when it emits, and loses nothing.
func TestWakesFromSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		c := newClient(t, memory, o)
		h := watch(c)
		connect(t, c)
		c.Sleep(46 * time.Second)
		if err := c.Emit(t.Context(), "count", 1); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		changes := h.take()
		if len(changes) < 3 || client.ReasonOf(changes[2].Err) != client.PingTimeout {
			t.Errorf("changes %+v", changes)
		}
		<-time.After(5 * time.Second)
		if got := seen.take(); len(got) != 1 || !c.Connected() {
			t.Errorf("seen %v", got)
		}
	})
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]client.Options{
		"transport":     {Transports: []string{"carrier pigeon"}},
		"no transport":  {Transports: []string{}},
		"timeout":       {Timeout: -1},
		"message":       {MaxMessageBytes: -1},
		"queue":         {MaxQueuedBytes: -1},
		"delay":         {Reconnection: client.Reconnection{Delay: -1}},
		"jitter":        {Reconnection: client.Reconnection{Jitter: 2}},
		"retries":       {Socket: client.SocketOptions{Retries: -1}},
		"ack timeout":   {Socket: client.SocketOptions{AckTimeout: -1}},
		"the last word": {Reconnection: client.Reconnection{Attempts: -1}},
	} {
		if _, err := client.New("http://x", o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, url := range []string{"ftp://x", "http://", "http://x/a,b", ":", "http://[::1"} {
		if _, err := client.New(url, client.Options{}); err == nil {
			t.Errorf("%s: accepted", url)
		}
	}
	for url, want := range map[string]string{"example.com": "/", "ws://x/chat": "/chat", "wss://x:1/a/b?c=d": "/a/b", "https://x/": "/"} {
		c, err := client.New(url, client.Options{})
		if err != nil || c.Namespace() != want {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = c.Close()
	}
}
