package interop

import (
	"strings"
	"testing"
	"time"

	goclient "github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/transports/ws"
)

// What else Go clients do with an official server.

func TestGoClientVolatile(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		got := newJournal[string]()
		c := goConnect(t, srv.url(), o, journalled(got))
		srv.saw(t, "connect")
		// Either may be dropped while something else is being written.
		until := func(heard <-chan struct{}, send func()) {
			t.Helper()
			for deadline := time.After(patience); ; {
				send()
				select {
				case <-heard:
					return
				case <-deadline:
					t.Fatal("a volatile event never arrives")
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
		there, here := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(there)
			srv.await(t, "a volatile event", func(seen observed) bool { return seen.Kind == "count" && seen.N == 7 })
		}()
		until(there, func() {
			if err := c.Volatile().Emit(t.Context(), "count", 7); err != nil {
				t.Error(err)
			}
		})
		go func() {
			defer close(here)
			got.await(t, "a volatile event", is(`tick ["now"]`))
		}()
		until(here, func() {
			srv.say(t, map[string]any{"namespace": "/", "event": "tick", "args": []any{"now"}, "volatile": true})
		})
	})
}

func TestGoClientKeepsCookies(t *testing.T) {
	options := map[string]any{"cookie": map[string]any{"name": "node"}}
	eachGoWay(t, options, func(t *testing.T, srv *official, o goclient.Options) {
		if o.Transports[0] == goclient.WebSocket {
			return // Node sets cookies where a session opens on polling
		}
		c := goConnect(t, srv.url(), o, nil)
		if first := srv.saw(t, "connect"); first.Cookie != "" {
			t.Errorf("the first request has %q", first.Cookie)
		}
		if err := c.Emit(t.Context(), "drop"); err != nil {
			t.Fatal(err)
		}
		if again := srv.saw(t, "connect"); !strings.HasPrefix(again.Cookie, "node=") {
			t.Errorf("the request after the loss has %q", again.Cookie)
		}
	})
}

func TestGoClientFallsBack(t *testing.T) {
	srv := startOfficial(t, "json", map[string]any{"transports": []string{"polling"}})
	goConnect(t, srv.url(), goclient.Options{Transports: []string{goclient.WebSocket, goclient.Polling}}, nil)
	if seen := srv.saw(t, "connect"); seen.Transport != goclient.Polling {
		t.Errorf("connected on %s", seen.Transport)
	}
}

func TestGoClientRemembersTheUpgrade(t *testing.T) {
	srv := startOfficial(t, "json", nil)
	c := goConnect(t, srv.url(), goclient.Options{
		Transports: []string{goclient.Polling, goclient.WebSocket}, RememberUpgrade: true, Reconnection: quick,
	}, nil)
	if seen := srv.saw(t, "connect"); seen.Transport != goclient.Polling {
		t.Fatalf("connected on %s", seen.Transport)
	}
	srv.saw(t, "upgrade")
	eventually(t, "the client has moved", func() bool { return c.Transport() == goclient.WebSocket })
	if err := c.Emit(t.Context(), "drop"); err != nil {
		t.Fatal(err)
	}
	if seen := srv.saw(t, "connect"); seen.Transport != goclient.WebSocket {
		t.Errorf("connected again on %s", seen.Transport)
	}
}

func TestGoClientCompresses(t *testing.T) {
	options := map[string]any{"perMessageDeflate": map[string]any{"threshold": 0}}
	eachGoWay(t, options, func(t *testing.T, srv *official, o goclient.Options) {
		o.Compression = ws.Compression{Enabled: true, Threshold: 1}
		c := goConnect(t, srv.url(), o, nil)
		for _, text := range []string{"", "short", strings.Repeat("long ", 20_000)} {
			var answer string
			if goCall(t, c, "echo", []any{text}, &answer); answer != text {
				t.Errorf("sent %d bytes, got %d", len(text), len(answer))
			}
		}
	})
}
