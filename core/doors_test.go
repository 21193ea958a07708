package core_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
)

// door is a server behind one of its two front doors, and a plain HTTP client.
type door struct {
	*core.Server
	t      *testing.T
	addr   string
	client *http.Client
}

// eachDoor runs a test behind net/http and behind fasthttp.
func eachDoor(t *testing.T, o core.Options, test func(t *testing.T, d *door)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T, *core.Server) string{
		"nethttp": func(t *testing.T, srv *core.Server) string {
			server := httptest.NewServer(srv)
			t.Cleanup(server.Close)
			return server.Listener.Addr().String()
		},
		"fasthttp": func(t *testing.T, srv *core.Server) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- srv.ServeListener(l) }()
			t.Cleanup(func() {
				if err := <-done; err != nil {
					t.Error("ServeListener:", err)
				}
			})
			return l.Addr().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := core.New(o)
			if err != nil {
				t.Fatal(err)
			}
			d := &door{Server: srv, t: t, addr: start(t, srv), client: &http.Client{Transport: &http.Transport{}}}
			t.Cleanup(func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel() // clients that are left need no farewell
				_ = srv.Shutdown(ctx)
				d.client.CloseIdleConnections()
			})
			test(t, d)
		})
	}
}

// answer is an HTTP response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// request makes a request below /socket.io/. Further pairs are header fields.
func (d *door) request(method, query, body string, fields ...string) answer {
	d.t.Helper()
	return d.requestPath(method, "/socket.io/?"+query, body, fields...)
}

func (d *door) requestPath(method, path, body string, fields ...string) answer {
	d.t.Helper()
	a, err := d.try(method, path, body, fields...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// try is requestPath for goroutines, which must not end the test.
func (d *door) try(method, path, body string, fields ...string) (answer, error) {
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.addr+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

// polling opens a session and returns its query.
func (d *door) polling() string {
	d.t.Helper()
	a := d.request("GET", "EIO=4&transport=polling", "")
	var open struct{ SID string }
	if a.status != 200 || !strings.HasPrefix(a.body, "0{") || json.Unmarshal([]byte(a.body[1:]), &open) != nil {
		d.t.Fatalf("handshake: %+v", a)
	}
	return "EIO=4&transport=polling&sid=" + open.SID
}

// post sends packets; it fails unless they are taken.
func (d *door) post(session, packets string) {
	d.t.Helper()
	if a := d.request("POST", session, packets, "Content-Type", "text/plain;charset=UTF-8"); a.status != 200 || a.body != "ok" {
		d.t.Fatalf("POST %q: %+v", packets, a)
	}
}

// poll returns the packets that the next poll is answered with.
func (d *door) poll(session string) []string {
	d.t.Helper()
	a := d.request("GET", session, "")
	if a.status != 200 {
		d.t.Fatalf("poll: %+v", a)
	}
	return strings.Split(a.body, "\x1e")
}

// expectPoll polls until it has as many packets as it wants.
func (d *door) expectPoll(session string, want ...string) {
	d.t.Helper()
	var got []string
	for len(got) < len(want) {
		got = append(got, d.poll(session)...)
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			d.t.Fatalf("polled %q, want %q", got, want)
		}
	}
}

// join opens a session on polling and joins the main namespace.
func (d *door) join() string {
	d.t.Helper()
	session := d.polling()
	d.post(session, "40")
	if got := d.poll(session); len(got) != 1 || !strings.HasPrefix(got[0], `40{"sid"`) {
		d.t.Fatalf("answer to CONNECT: %q", got)
	}
	return session
}
