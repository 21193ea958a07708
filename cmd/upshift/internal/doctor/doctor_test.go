package doctor_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/cmd/upshift/internal/doctor"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server of ours.
func serve(t *testing.T, o core.Options) *httptest.Server {
	t.Helper()
	if o.PingInterval == 0 {
		o.PingInterval, o.PingTimeout = 30*time.Second, 100*time.Millisecond // for a quick end
	}
	srv, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		site.Close()
	})
	return site
}

// proxy puts a reverse proxy in front of one server or several, in turns.
func proxy(t *testing.T, change func(p *httputil.ReverseProxy), behind ...*httptest.Server) *httptest.Server {
	t.Helper()
	var turn atomic.Int64
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		target, _ := url.Parse(behind[int(turn.Add(1))%len(behind)].URL)
		r.SetURL(target)
	}}
	if change != nil {
		change(p)
	}
	site := httptest.NewServer(p)
	t.Cleanup(site.Close)
	return site
}

// examine runs the doctor and returns what it has found that is worse than ok.
func examine(t *testing.T, o doctor.Options) (*doctor.Report, map[string]doctor.Finding) {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second // nothing is to take so long
	}
	r, err := doctor.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	bad := make(map[string]doctor.Finding)
	for _, f := range r.Findings {
		t.Logf("%-9s %-8s %s (%s) %s", f.Check, f.Severity, f.Says, f.Why, f.Fix)
		if f.Severity == doctor.Problem || f.Severity == doctor.Warning {
			bad[f.Check] = f
		}
	}
	return r, bad
}

// only checks that one thing was found, and that it is called by its name.
func only(t *testing.T, bad map[string]doctor.Finding, check string, words ...string) {
	t.Helper()
	f, ok := bad[check]
	if !ok || len(bad) != 1 {
		t.Fatalf("found %v, want %s alone", bad, check)
	}
	for _, word := range words {
		if !strings.Contains(f.Says+" "+f.Fix, word) {
			t.Errorf("%+v does not speak of %q", f, word)
		}
	}
}

const (
	beat  = 2 * time.Second
	short = 3 * time.Second // a timeout, where something is to take longer
)

func TestHealthy(t *testing.T) {
	site := serve(t, core.Options{PingInterval: beat, PingTimeout: 10 * time.Second})
	r, bad := examine(t, doctor.Options{URL: site.URL})
	if len(bad) > 0 || r.Worst() != doctor.OK {
		t.Errorf("found %v", bad)
	}
	checks := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		checks[i] = f.Check
	}
	for _, want := range []string{"reach", "protocol", "sticky", "websocket", "compression", "upgrade", "heartbeat", "payload"} {
		if !slices.Contains(checks, want) {
			t.Errorf("%s is not among %v", want, checks)
		}
	}
}

func TestNotThere(t *testing.T) {
	_, bad := examine(t, doctor.Options{URL: "http://127.0.0.1:1"})
	only(t, bad, "reach", "Nothing listens")
	_, bad = examine(t, doctor.Options{URL: "http://no-such-host.invalid"})
	only(t, bad, "reach", "cannot be resolved")
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	_, bad = examine(t, doctor.Options{URL: tls.URL})
	only(t, bad, "reach", "certificate")
	_, bad = examine(t, doctor.Options{URL: strings.Replace(tls.URL, "https", "http", 1)})
	only(t, bad, "reach", "https://")
	plain := serve(t, core.Options{})
	_, bad = examine(t, doctor.Options{URL: strings.Replace(plain.URL, "http", "https", 1)})
	only(t, bad, "reach", "TLS")
}

func TestWrongPath(t *testing.T) {
	site := serve(t, core.Options{})
	_, bad := examine(t, doctor.Options{URL: site.URL, Path: "/sockets/"})
	only(t, bad, "reach", "/socket.io/")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>an app</html>") }))
	defer page.Close()
	_, bad = examine(t, doctor.Options{URL: page.URL})
	only(t, bad, "reach", "something else")
	for status, word := range map[int]string{301: "elsewhere", 403: "refuses", 502: "behind it"} {
		broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		_, bad = examine(t, doctor.Options{URL: broken.URL})
		only(t, bad, "reach", word)
		broken.Close()
	}
}

func TestOldServer(t *testing.T) {
	for _, body := range []string{
		`97:0{"sid":"xyz","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}2:40`,
		`{"code":5,"message":"Unsupported protocol version"}`,
	} {
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		_, bad := examine(t, doctor.Options{URL: site.URL})
		only(t, bad, "protocol", "Engine.IO 3")
		site.Close()
	}
}

func TestNoUpgradeHeaders(t *testing.T) {
	site := proxy(t, func(p *httputil.ReverseProxy) {
		rewrite := p.Rewrite
		p.Rewrite = func(r *httputil.ProxyRequest) {
			rewrite(r)
			r.Out.Header.Del("Upgrade")
			r.Out.Header.Del("Connection")
		}
	}, serve(t, core.Options{}))
	_, bad := examine(t, doctor.Options{URL: site.URL, Quick: true, Timeout: short})
	if _, ok := bad["upgrade"]; !ok {
		t.Errorf("found %v", bad)
	}
	delete(bad, "upgrade")
	only(t, bad, "websocket", "strips", "proxy_set_header")
}

func TestNotSticky(t *testing.T) {
	site := proxy(t, nil, serve(t, core.Options{}), serve(t, core.Options{}))
	_, bad := examine(t, doctor.Options{URL: site.URL, Quick: true, Timeout: short})
	if f := bad["sticky"]; !strings.Contains(f.Says, "no sticky sessions") {
		t.Errorf("found %v", bad)
	}
}

// A balancer that goes by cookie is no problem.
func TestStickyByCookie(t *testing.T) {
	servers := []*httptest.Server{serve(t, core.Options{}), serve(t, core.Options{})}
	var turn atomic.Int64
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			which := strconv.Itoa(int(turn.Add(1)) % len(servers))
			if cookie, err := r.In.Cookie("node"); err == nil {
				which = cookie.Value
			}
			target, _ := url.Parse(servers[which[0]-'0'].URL)
			r.SetURL(target)
			r.Out.Header.Set("X-Which", which)
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Add("Set-Cookie", "node="+r.Request.Header.Get("X-Which"))
			return nil
		},
	}
	site := httptest.NewServer(p)
	defer site.Close()
	r, bad := examine(t, doctor.Options{URL: site.URL, Quick: true})
	if len(bad) > 0 {
		t.Errorf("found %v", bad)
	}
	if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "sticky" && strings.Contains(f.Says, "cookie") }) {
		t.Errorf("it does not speak of cookies: %+v", r.Findings)
	}
}

// A proxy that cuts idle connections does so for both transports.
func TestIdleTimeout(t *testing.T) {
	url, stop := impatient(t, false)
	defer stop()
	_, bad := examine(t, doctor.Options{URL: url})
	only(t, bad, "heartbeat", "cuts", "proxy_read_timeout")
}

// A firewall that forgets idle connections tells nobody.
func TestIdleConnectionsAreForgotten(t *testing.T) {
	url, stop := impatient(t, true)
	defer stop()
	r, _ := examine(t, doctor.Options{URL: url, Timeout: short})
	for _, transport := range []string{"polling", "WebSocket"} {
		if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
			return f.Check == "heartbeat" && f.Severity == doctor.Problem && strings.Contains(f.Says, "No ping comes") && strings.Contains(f.Says, transport)
		}) {
			t.Errorf("it does not speak of %s", transport)
		}
	}
}

// Where no connection can be made, nothing is said about how long it would last.
func TestHeartbeatIsNotInvented(t *testing.T) {
	servers := []*httptest.Server{serve(t, core.Options{}), serve(t, core.Options{})}
	site := proxy(t, func(p *httputil.ReverseProxy) {
		p.Rewrite = func(r *httputil.ProxyRequest) {
			which := 0
			if r.In.URL.Query().Has("sid") {
				which = 1
			}
			target, _ := url.Parse(servers[which].URL)
			r.SetURL(target)
			r.Out.Header.Del("Upgrade")
		}
	})
	r, _ := examine(t, doctor.Options{URL: site.URL, Timeout: short})
	for _, f := range r.Findings {
		if f.Check == "heartbeat" && f.Severity != doctor.Skipped {
			t.Errorf("found %+v", f)
		}
	}
}

// All requests have what clients send: the query of the URL and the header, Host as well.
func TestQueryAndHost(t *testing.T) {
	behind := serve(t, core.Options{PingInterval: beat, PingTimeout: 10 * time.Second})
	target, _ := url.Parse(behind.URL)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.example" || r.URL.Query().Get("token") != "secret" {
			t.Errorf("%s %s is for %s", r.Method, r.URL, r.Host)
		}
		forward.ServeHTTP(w, r)
	}))
	defer site.Close()
	with := strings.Replace(site.URL, "://", "://me:password@", 1) + "/?token=secret"
	r, bad := examine(t, doctor.Options{URL: with, Header: http.Header{"Host": {"app.example"}}})
	if len(bad) > 0 || strings.Contains(r.URL, "password") || strings.Contains(r.URL, "secret") {
		t.Errorf("found %v at %s", bad, r.URL)
	}
}

// A client that is thrown out while it waits for WebSocket has not just stayed on polling.
func TestThrownOut(t *testing.T) {
	srv, err := core.New(core.Options{UpgradeTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
		time.AfterFunc(0, s.Disconnect)
		return nil
	})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("transport") == "websocket" && r.URL.Query().Has("sid") {
			<-r.Context().Done()
			return
		}
		srv.ServeHTTP(w, r)
	}))
	defer site.Close()
	defer func() { _ = srv.Shutdown(context.Background()) }()
	r, bad := examine(t, doctor.Options{URL: site.URL, Quick: true})
	if len(bad) > 0 || !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
		return f.Check == "upgrade" && f.Severity == doctor.Skipped && strings.Contains(f.Says, "disconnects")
	}) {
		t.Errorf("found %+v", r.Findings)
	}
}

// impatient puts what passes on nothing more, or ends, when nothing happens in front of a
// server.
func impatient(t *testing.T, silently bool) (url string, stop func()) {
	t.Helper()
	behind := serve(t, core.Options{PingInterval: 2 * beat, PingTimeout: time.Second})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { relay(conn, behind.Listener.Addr().String(), beat/2, silently) })
		}
	})
	return "http://" + l.Addr().String(), func() {
		_ = l.Close()
		all.Wait()
	}
}

// relay passes on what both sides say until both are silent for a time. Then it ends, or
// silently passes on nothing more.
func relay(client net.Conn, to string, idle time.Duration, silently bool) {
	defer func() { _ = client.Close() }()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var forgotten atomic.Bool
	timer := time.AfterFunc(idle, func() {
		if silently {
			forgotten.Store(true)
			return
		}
		_ = client.Close()
		_ = server.Close()
	})
	defer timer.Stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				if err != nil {
					_ = way[1].Close()
					return
				}
				if forgotten.Load() {
					continue
				}
				timer.Reset(idle)
				if _, err := way[1].Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
	both.Wait()
}

func TestBodyLimit(t *testing.T) {
	behind := serve(t, core.Options{})
	target, _ := url.Parse(behind.URL)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 100_000 {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer site.Close()
	_, bad := examine(t, doctor.Options{URL: site.URL, Quick: true})
	only(t, bad, "payload", "client_max_body_size")
}

func TestCORS(t *testing.T) {
	const page = "https://app.example"
	_, bad := examine(t, doctor.Options{URL: serve(t, core.Options{}).URL, Quick: true, Origin: page})
	if _, ok := bad["cors"]; !ok {
		t.Errorf("found %v", bad)
	}
	_, bad = examine(t, doctor.Options{URL: serve(t, core.Options{CORS: &core.CORS{Origins: []string{page}}}).URL, Quick: true, Origin: page})
	if len(bad) > 0 {
		t.Errorf("found %v", bad)
	}
	_, bad = examine(t, doctor.Options{URL: serve(t, core.Options{CORS: &core.CORS{Origins: []string{"https://other.example"}}}).URL, Quick: true, Origin: page})
	if _, ok := bad["cors"]; !ok {
		t.Errorf("found %v", bad)
	}
}

// A server may refuse a page and name it in the header all the same, and a wildcard is not
// for requests with cookies.
func TestCORSInName(t *testing.T) {
	const page = "https://app.example"
	behind := serve(t, core.Options{})
	target, _ := url.Parse(behind.URL)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Del("Origin")
	}}
	var forbidding atomic.Bool
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		if forbidding.Load() && r.Header.Get("Origin") != "" && r.URL.Query().Get("transport") == "polling" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer site.Close()
	r, bad := examine(t, doctor.Options{URL: site.URL, Quick: true, Origin: page})
	if len(bad) > 0 || !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
		return f.Check == "cors" && strings.Contains(f.Says, "without cookies")
	}) {
		t.Errorf("found %+v", r.Findings)
	}
	forbidding.Store(true)
	_, bad = examine(t, doctor.Options{URL: site.URL, Quick: true, Origin: page})
	only(t, bad, "cors", "refuses")
}

func TestPollingOnly(t *testing.T) {
	_, bad := examine(t, doctor.Options{URL: serve(t, core.Options{Transports: []transports.Transport{polling.New(polling.Options{})}}).URL, Quick: true})
	only(t, bad, "websocket", "does not offer")
}

// A server without polling is one all the same, and its WebSocket is looked at.
func TestWebSocketOnly(t *testing.T) {
	r, bad := examine(t, doctor.Options{URL: serve(t, core.Options{Transports: []transports.Transport{ws.New(ws.Options{})}}).URL, Quick: true})
	only(t, bad, "reach", "polling", `transports: ["websocket"]`)
	if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "websocket" && f.Severity == doctor.OK }) {
		t.Errorf("found %+v", r.Findings)
	}
}

// Servers before Engine.IO 6.2 do not say what they take.
func TestNoMaxPayload(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`)
	}))
	defer site.Close()
	r, _ := examine(t, doctor.Options{URL: site.URL, Quick: true, Timeout: short})
	for _, f := range r.Findings {
		if strings.Contains(f.Says, " 0 bytes") {
			t.Errorf("found %+v", f)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range []string{"ftp://x", "http://", "http://%"} {
		if _, err := doctor.Run(t.Context(), doctor.Options{URL: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
