package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// A user who has logged in on the web site is known to the handlers, and can be
// revoked.
func TestSessionCookie(t *testing.T) {
	sessions := scs.New()
	site := http.NewServeMux()
	site.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "user", "ann")
		sessions.Put(r.Context(), "since", time.Now().UnixNano())
	})
	login := httptest.NewRecorder()
	sessions.LoadAndSave(site).ServeHTTP(login, httptest.NewRequest(http.MethodGet, "/login", http.NoBody))
	cookie := login.Result().Cookies()[0]

	srv := upshifttest.NewServer(t, core.Options{AllowRequest: auth.Session(sessions.LoadAndSave)})
	guard, err := auth.New(srv, auth.Options{Identify: func(ctx context.Context, _ *core.Socket) (auth.Identity, error) {
		user := sessions.GetString(ctx, "user")
		if user == "" {
			return auth.Identity{}, auth.ErrMissing
		}
		return auth.Identity{Subject: user, Issued: time.Unix(0, sessions.GetInt64(ctx, "since"))}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Use(guard.Middleware)
	core.On(srv.Of("/"), "whoami", func(ctx context.Context, _ *core.Socket, _ core.None) (string, error) {
		return sessions.GetString(ctx, "user"), nil
	})
	o := upshifttest.Options{Handshake: transports.Handshake{Header: transports.NewHeader("Cookie", cookie.Name+"="+cookie.Value)}}
	c := upshifttest.Dial(t, srv, "/", o)
	var user string
	if err := c.Call(t.Context(), "whoami", nil, &user); err != nil || user != "ann" {
		t.Errorf("%q, %v", user, err)
	}
	if code, reason := refused(t, srv, "/", upshifttest.Options{}); code != "unauthorized" || reason != "missing" {
		t.Errorf("without a cookie: %q, %q", code, reason)
	}
	if err := guard.Revoke(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if got := c.WaitDisconnect(); got != "io server disconnect" {
		t.Errorf("disconnected for %q", got)
	}
	if _, reason := refused(t, srv, "/", o); reason != "revoked" {
		t.Errorf("refused for %q", reason)
	}
}

// Middleware that answers by itself refuses the handshake, over HTTP with 403
// and its own words.
func TestSessionRefused(t *testing.T) {
	for name, test := range map[string]struct {
		middleware http.HandlerFunc
		want       string
	}{
		"status":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusForbidden) }, "Forbidden"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "Unauthorized"},
		"text":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("log in")) }, "Unauthorized"},
		"nothing":  {func(http.ResponseWriter, *http.Request) {}, "Unauthorized"},
		"unknown":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }, "Unauthorized"},
		"twice": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
		}, "I'm a teapot"},
		"panic":  {func(http.ResponseWriter, *http.Request) { panic("secret") }, "internal error"},
		"header": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Any", "x") }, "Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			var rejected error
			srv, err := core.New(core.Options{
				AllowRequest: auth.Session(func(http.Handler) http.Handler { return test.middleware }),
				OnReject:     func(e *core.RequestError) { rejected = e },
			})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling", http.NoBody))
			if body := w.Body.String(); w.Code != http.StatusForbidden || !strings.Contains(body, `"`+test.want+`"`) {
				t.Errorf("answer %d %s", w.Code, body)
			}
			if !errors.Is(rejected, auth.ErrSession) {
				t.Errorf("rejected for %v", rejected)
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

type sessionKey struct{}

// The middleware gets to see the request, once, and what it has found outlives
// the request.
func TestSessionRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan *http.Request, 10)
		srv, err := core.New(core.Options{AllowRequest: auth.Session(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen <- r
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sessionKey{}, "found")))
			})
		})})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "https://example.org/socket.io/?EIO=4&transport=polling&lang=a%20b", http.NoBody)
		r.Header.Set("Cookie", "a=b")
		r.Header.Add("X-Two", "1")
		r.Header.Add("X-Two", "2")
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), sessionKey{}, "of the server"))
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r.WithContext(ctx))
		cancel()
		if w.Code != http.StatusOK {
			t.Fatalf("answer %d %s", w.Code, w.Body)
		}
		got := <-seen
		cookie, err := got.Cookie("a")
		if err != nil || cookie.Value != "b" || len(got.Header.Values("X-Two")) != 2 {
			t.Errorf("header %v", got.Header)
		}
		if got.Host != "example.org" || got.TLS == nil || got.URL.Query().Get("lang") != "a b" || got.URL.Path != "/socket.io/" ||
			got.RequestURI != "/socket.io/?EIO=4&transport=polling&lang=a%20b" || got.RemoteAddr != r.RemoteAddr {
			t.Errorf("request %+v", got)
		}
		if v := got.Context().Value(sessionKey{}); v != nil {
			t.Errorf("a value of the server's request is kept: %v", v)
		}
		for s := range srv.AllSessions() {
			values := s.Handshake().Values()
			if values.Value(sessionKey{}) != "found" || values.Err() != nil {
				t.Errorf("values %v, %v", values.Value(sessionKey{}), values.Err())
			}
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Middleware that waits is told when the client has gone, and one that calls
// next too late is not heard.
func TestSessionGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan struct{})
	finished := make(chan struct{})
	allow := auth.Session(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
			go func() {
				defer close(finished)
				<-late
				next.ServeHTTP(w, r)
			}()
		})
	})
	var h core.Handshake
	if err := allow(ctx, &h); !errors.Is(err, auth.ErrSession) {
		t.Errorf("error %v", err)
	}
	close(late)
	<-finished
	if h.Context != nil {
		t.Error("let in after all")
	}
}
