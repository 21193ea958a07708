package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/health"
	"github.com/upshift-go/upshift/upshifttest"
)

// doors are both ways to mount a Handler.
var doors = map[string]func(t *testing.T, h *health.Handler, r *http.Request) (int, string){
	"net/http": func(_ *testing.T, h *health.Handler, r *http.Request) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	},
	"fasthttp": func(t *testing.T, h *health.Handler, r *http.Request) (int, string) {
		t.Helper()
		l := fasthttputil.NewInmemoryListener()
		server := &fasthttp.Server{Handler: h.ServeFastHTTP}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return l.Dial() },
		}}
		r.RequestURI = ""
		r.URL.Scheme, r.URL.Host = "http", "test"
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close(), server.Shutdown(), <-ended); err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(body)
	},
}

func get(target string) *http.Request {
	return httptest.NewRequest(http.MethodGet, target, http.NoBody)
}

func TestLive(t *testing.T) {
	for name, door := range doors {
		if code, body := door(t, health.Live(), get("/livez")); code != 200 || body != `{"status":"ok"}` {
			t.Errorf("%s: %d %s", name, code, body)
		}
		if code, body := door(t, health.Live(), httptest.NewRequest(http.MethodHead, "/livez", http.NoBody)); code != 200 || body != "" {
			t.Errorf("%s: HEAD: %d %s", name, code, body)
		}
		if code, _ := door(t, health.Live(), httptest.NewRequest(http.MethodPost, "/livez", http.NoBody)); code != 405 {
			t.Errorf("%s: POST: %d", name, code)
		}
	}
}

func TestReady(t *testing.T) {
	for name, door := range doors {
		t.Run(name, func(t *testing.T) {
			srv := upshifttest.NewServer(t, core.Options{})
			broken := errors.New("no route to database")
			var database error
			h := health.Ready(srv, health.ReadyOptions{Checks: map[string]func(ctx context.Context) error{
				"database": func(context.Context) error { return database },
				"fine":     func(context.Context) error { return nil },
			}})
			if code, body := door(t, h, get("/readyz")); code != 200 || body != `{"status":"ok"}` {
				t.Errorf("%d %s", code, body)
			}
			database = broken
			if code, body := door(t, h, get("/readyz")); code != 503 || body != `{"status":"failing","checks":{"database":"no route to database"}}` {
				t.Errorf("with a check that fails: %d %s", code, body)
			}
			database = nil
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if code, body := door(t, h, get("/readyz")); code != 503 || body != `{"status":"draining"}` {
				t.Errorf("after Shutdown: %d %s", code, body)
			}
		})
	}
}

// A check that hangs or panics fails, and does not hold up the answer.
func TestBrokenChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		h := health.Ready(srv, health.ReadyOptions{Checks: map[string]func(ctx context.Context) error{
			"hangs":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			"panics": func(context.Context) error { panic("oh") },
		}})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, get("/readyz"))
		want := `{"status":"failing","checks":{"hangs":"context deadline exceeded","panics":"panic: oh"}}`
		if w.Code != 503 || w.Body.String() != want {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func operators(_ context.Context, h *core.Handshake) error {
	if h.Header.Get("Authorization") != "Bearer operator" {
		return errors.New("who are you")
	}
	return nil
}

// ask returns the snapshot for a query.
func ask[T any](t *testing.T, h *health.Handler, query string) T {
	t.Helper()
	r := get("/snapshot" + query)
	r.Header.Set("Authorization", "Bearer operator")
	code, body := doors["net/http"](t, h, r)
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil || code != 200 {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	return v
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		chat := srv.Of("/chat")
		joined := 0
		chat.OnConnect(func(ctx context.Context, s *core.Socket) error {
			joined++
			return s.Join(ctx, "all", fmt.Sprint("half", joined%2), fmt.Sprint("own", joined))
		})
		for range 5 {
			upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
			synctest.Wait()
		}
		h := health.Snapshot(srv, health.SnapshotOptions{Allow: operators, MaxRooms: 3, MaxSockets: 2})

		all := ask[health.Overview](t, h, "")
		if all.Sessions != 5 || all.Transports["pipe"] != 5 || all.Draining || all.Stats.Opened != 5 {
			t.Errorf("%+v", all)
		}
		if len(all.Namespaces) != 2 || all.Namespaces[0].Name != "/" || all.Namespaces[0].Sockets != 0 {
			t.Fatalf("%+v", all.Namespaces)
		}
		n := all.Namespaces[1]
		if fmt.Sprint(n.Largest) != "[{all 5} {half1 3} {half0 2}]" || n.Rooms != 8 || n.Sockets != 5 {
			t.Errorf("%+v", n)
		}

		seen := make(map[string]bool)
		after := ""
		for pages := 1; ; pages++ {
			page := ask[health.Page](t, h, "?namespace=/chat&limit=1000&after="+after)
			for _, s := range page.Sockets {
				seen[s.ID] = true
				if s.Transport != "pipe" || len(s.Rooms) != 3 || s.PacketsOut == 0 || s.Since.IsZero() {
					t.Errorf("%+v", s)
				}
			}
			if after = page.Next; after == "" {
				if pages != 3 || len(seen) != 5 {
					t.Errorf("%d pages, sockets %v", pages, seen)
				}
				break
			}
		}
		if page := ask[health.Page](t, h, "?namespace=/chat&room=half0&limit=1"); len(page.Sockets) != 1 || page.Next == "" {
			t.Errorf("%+v", page)
		}
		for s := range srv.AllSessions() {
			r := get("/snapshot?namespace=/chat")
			r.Header.Set("Authorization", "Bearer operator")
			if _, body := doors["net/http"](t, h, r); strings.Contains(body, s.ID()) {
				t.Error("a session id is in the answer")
			}
		}
	})
}

func TestSnapshotRefused(t *testing.T) {
	srv := upshifttest.NewServer(t, core.Options{})
	for name, h := range map[string]*health.Handler{
		"nobody is allowed":   health.Snapshot(srv, health.SnapshotOptions{}),
		"this one is refused": health.Snapshot(srv, health.SnapshotOptions{Allow: operators}),
	} {
		for door, serve := range doors {
			if code, body := serve(t, h, get("/snapshot")); code != 403 || strings.Contains(body, "namespaces") {
				t.Errorf("%s, %s: %d %s", name, door, code, body)
			}
		}
	}
	h := health.Snapshot(srv, health.SnapshotOptions{Allow: operators})
	r := get("/snapshot?namespace=/none")
	r.Header.Set("Authorization", "Bearer operator")
	if code, _ := doors["net/http"](t, h, r); code != 404 {
		t.Errorf("no such namespace: %d", code)
	}
}
