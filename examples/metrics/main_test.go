package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// Who scrapes the site sees what its clients have done.
func TestSite(t *testing.T) {
	srv, site, err := newSite(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(site)
	defer server.Close()
	defer func() {
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	get := func(path string) string {
		t.Helper()
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%s: %s %v", path, answer.Status, err)
		}
		return string(body)
	}
	counts := func(want string) {
		t.Helper()
		if text := get("/metrics"); !strings.Contains(text, want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	counts("upshift_sessions_opened_total 0")
	c, err := client.Dial(t.Context(), server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(t.Context(), "tell", []any{"hello"}); err != nil {
		t.Fatal(err)
	}
	counts("upshift_sessions_opened_total 1")
	counts(`upshift_sockets{namespace="/"} 1`)
	counts(`upshift_events_total{event="tell",namespace="/",outcome="ok"} 1`)
	if !json.Valid([]byte(get("/dashboard.json"))) {
		t.Error("the dashboard is not JSON")
	}
	if page := get("/"); !strings.Contains(page, "Metrics") {
		t.Error(page)
	}
}
