package main

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// browser is a client of the pages, with cookies.
type browser struct {
	http.Client
	t   *testing.T
	url string
}

func newBrowser(t *testing.T, address string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{Client: http.Client{Jar: jar}, t: t, url: address}
}

// post returns the status, and the token that came back, if one did.
func (b *browser) post(path string, fields ...string) (status int, token string) {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	answer, err := b.PostForm(b.url+path, form)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	_ = json.NewDecoder(answer.Body).Decode(&token) // there may be none
	return answer.StatusCode, token
}

func TestLogin(t *testing.T) {
	srv, site, err := newSite(core.Options{Transports: []transports.Transport{upshifttest.Transport()}}, time.Hour)
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
	ann, ben, nobody := newBrowser(t, server.URL), newBrowser(t, server.URL), newBrowser(t, server.URL)
	for _, wrong := range [][]string{{"name", "ann", "password", "coffee"}, {"name", "carl", "password", ""}, {}} {
		if status, _ := nobody.post("/login", wrong...); status != 401 {
			t.Errorf("login with %v: %d", wrong, status)
		}
	}
	if status, token := nobody.post("/token"); status != 401 || token != "" {
		t.Errorf("token without a login: %d %q", status, token)
	}
	if err := upshifttest.Refused(t, srv, "/", upshifttest.Options{}); err == nil {
		t.Error("somebody without a token is in")
	}

	dial := func(b *browser) *upshifttest.Client {
		t.Helper()
		_, token := b.post("/token")
		return upshifttest.Dial(t, srv, "/", upshifttest.Options{Auth: map[string]string{"token": token}})
	}
	ann.post("/login", "name", "ann", "password", "tea")
	ben.post("/login", "name", "ben", "password", "coffee")
	one, other, bens := dial(ann), dial(ann), dial(ben)
	if err := one.Emit(t.Context(), "say", "hello"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*upshifttest.Client{one, other, bens} {
		c.Expect("said", map[string]any{"from": "ann", "text": "hello"})
	}

	// Who logs out in one window is out in all, at once.
	if status, _ := ann.post("/logout"); status != 200 {
		t.Errorf("logout: %d", status)
	}
	for _, c := range []*upshifttest.Client{one, other} {
		c.Expect("auth:closed", map[string]any{"code": "unauthorized", "reason": "revoked"})
		if reason := c.WaitDisconnect(); reason != "io server disconnect" {
			t.Errorf("disconnected for %q", reason)
		}
	}
	if status, _ := ann.post("/token"); status != 401 {
		t.Errorf("token after the logout: %d", status)
	}
	ann.post("/login", "name", "ann", "password", "tea")
	dial(ann) // is let in again
	if err := bens.Emit(t.Context(), "say", "still here"); err != nil {
		t.Error(err)
	}
	bens.Expect("said", map[string]any{"from": "ben", "text": "still here"})
}
