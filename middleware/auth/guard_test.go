package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// What is wrong with a token reaches the client as a code and a reason, and
// nothing else of it does.
func TestConnectRefused(t *testing.T) {
	for name, test := range map[string]struct {
		options      upshifttest.Options
		verify       func(ctx context.Context) (auth.Identity, error)
		code, reason string
	}{
		"no payload":  {upshifttest.Options{}, nil, "unauthorized", "missing"},
		"no token":    {with(nil), nil, "unauthorized", "missing"},
		"empty token": {with(""), nil, "unauthorized", "missing"},
		"number":      {with(7), nil, "unauthorized", "invalid"},
		"unknown":     {with("?"), nil, "unauthorized", "invalid"},
		"oversized":   {with(strings.Repeat("x", 8193)), nil, "unauthorized", "too_large"},
		"expired": {with("t"), func(context.Context) (auth.Identity, error) {
			return auth.Identity{}, fmt.Errorf("secret detail: %w", auth.ErrExpired)
		}, "unauthorized", "expired"},
		"expired, though verified": {with("t"), func(context.Context) (auth.Identity, error) {
			return auth.Identity{Subject: "ann", Expires: time.Now()}, nil
		}, "unauthorized", "expired"},
		"not yet valid": {with("t"), func(context.Context) (auth.Identity, error) {
			return auth.Identity{}, auth.ErrNotYetValid
		}, "unauthorized", "not_yet_valid"},
		"own error": {with("t"), func(context.Context) (auth.Identity, error) {
			return auth.Identity{}, core.Errorf("banned", "go away")
		}, "banned", ""},
		"unavailable": {with("t"), func(context.Context) (auth.Identity, error) {
			return auth.Identity{}, fmt.Errorf("database: %w", auth.ErrUnavailable)
		}, "internal", ""},
		"panic": {with("t"), func(context.Context) (auth.Identity, error) { panic("of the program") }, "internal", ""},
		"blocks": {with("t"), func(ctx context.Context) (auth.Identity, error) {
			<-ctx.Done()
			return auth.Identity{}, auth.ErrInvalid
		}, "internal", ""},
		"ignores its context": {with("t"), func(context.Context) (auth.Identity, error) {
			<-time.After(20 * time.Second)
			return auth.Identity{Subject: "ann"}, nil
		}, "internal", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, core.Options{}, auth.Options{})
				r.on("t", test.verify)
				test.options.Patience = time.Hour
				if code, reason := refused(t, r.Server, "/", test.options); code != test.code || reason != test.reason {
					t.Errorf("refused with %q, %q", code, reason)
				}
				if n := r.Of("/").Len(); n != 0 {
					t.Errorf("%d connected", n)
				}
			})
		})
	}
}

func TestConnectErrorText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		if err := upshifttest.Refused(t, r.Server, "/", with("?")); err.Error() != "the token is not valid" {
			t.Errorf("the client is told %q", err)
		}
	})
}

// A guard lets a client in, and what it knows of it can be asked for.
func TestIdentity(t *testing.T) {
	type account struct{ Plan string }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		r.on("t", func(context.Context) (auth.Identity, error) {
			return auth.Identity{Subject: "ann", Claims: account{"gold"}}, nil
		})
		c := r.dial(t, "t")
		var subject string
		if err := c.Call(t.Context(), "whoami", nil, &subject); err != nil || subject != "ann" {
			t.Errorf("%q, %v", subject, err)
		}
		s := r.Of("/").Socket(c.ID())
		if got, ok := auth.Claims[account](s); !ok || got.Plan != "gold" {
			t.Errorf("claims %v, %v", got, ok)
		}
		if _, ok := auth.Claims[string](s); ok {
			t.Error("claims of another type")
		}

		free := upshifttest.NewServer(t, core.Options{})
		other := upshifttest.Dial(t, free, "/", upshifttest.Options{})
		if id, ok := auth.From(free.Of("/").Socket(other.ID())); ok {
			t.Errorf("identity %v without a guard", id)
		}
	})
}

// The first source that has a token counts, whatever the others have.
func TestSources(t *testing.T) {
	header := func(pairs ...string) transports.Handshake {
		return transports.Handshake{Header: transports.NewHeader(pairs...), Query: "token=query&token=last"}
	}
	all := []auth.Source{auth.Payload("jwt"), auth.Bearer(), auth.Cookie("sid"), auth.Query("token")}
	payload := map[string]any{"jwt": "payload"}
	for name, test := range map[string]struct {
		sources []auth.Source
		auth    any
		h       transports.Handshake
		want    string // the subject, or the reason of the refusal
	}{
		"payload":             {all, payload, header("Authorization", "Bearer header", "Cookie", "sid=cookie"), "payload"},
		"header":              {all, nil, header("authorization", "bEARER  header", "Cookie", "sid=cookie"), "header"},
		"another scheme":      {all, nil, header("Authorization", "Basic abc", "Cookie", "a=b; sid=cookie; sid=second"), "cookie"},
		"scheme alone":        {all, nil, header("Authorization", "Bearer"), "last"},
		"two headers":         {all, nil, header("Authorization", "Bearer header", "Authorization", "Bearer other"), "invalid"},
		"a broken cookie":     {all, nil, header("Cookie", "\x01", "Cookie", "sid=cookie"), "cookie"},
		"query":               {all, nil, header(), "last"},
		"other order":         {[]auth.Source{auth.Query("token"), auth.Payload("jwt")}, payload, header(), "last"},
		"no cookie unasked":   {nil, nil, header("Cookie", "token=cookie"), "missing"},
		"default header":      {nil, nil, header("Authorization", "Bearer header"), "header"},
		"a bad one is enough": {all, map[string]any{"jwt": "bad"}, header("Authorization", "Bearer header"), "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, core.Options{}, auth.Options{Sources: test.sources})
				for _, token := range []string{"payload", "header", "cookie", "last"} {
					r.on(token, func(context.Context) (auth.Identity, error) { return auth.Identity{Subject: token}, nil })
				}
				o := upshifttest.Options{Auth: test.auth, Handshake: test.h}
				switch test.want {
				case "invalid", "missing":
					if code, reason := refused(t, r.Server, "/", o); code != "unauthorized" || reason != test.want {
						t.Errorf("refused with %q, %q", code, reason)
					}
				default:
					c := upshifttest.Dial(t, r.Server, "/", o)
					if id, _ := auth.From(r.Of("/").Socket(c.ID())); id.Subject != test.want {
						t.Errorf("token %q, want %q", id.Subject, test.want)
					}
				}
			})
		})
	}
}

func TestMaxTokenBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{MaxTokenBytes: 5})
		for _, token := range []string{"12345", "123456"} {
			r.on(token, func(context.Context) (auth.Identity, error) { return auth.Identity{Subject: "ann"}, nil })
		}
		c := r.dial(t, "12345")
		if _, reason := refused(t, r.Server, "/", with("123456")); reason != "too_large" {
			t.Errorf("refused for %q", reason)
		}
		if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", []any{"123456"})); reason != "too_large" {
			t.Errorf("renewal refused for %q", reason)
		}
	})
}

// Identify is for those without a token.
func TestIdentify(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{Identify: func(ctx context.Context, s *core.Socket) (auth.Identity, error) {
			switch name := s.Handshake().Query.Get("name"); name {
			case "":
				return auth.Identity{}, nil
			case "eve":
				return auth.Identity{}, auth.ErrMissing
			case "slow":
				<-ctx.Done()
				return auth.Identity{}, nil
			default:
				id, _ := ctx.Value(key{}).(string)
				return auth.Identity{Subject: name + id}, nil
			}
		}})
		ann := r.issue("ann", 0)
		in := func(query string, token any) upshifttest.Options {
			o := with(token)
			o.Handshake = transports.Handshake{
				Query: transports.Query(query), Context: context.WithValue(t.Context(), key{}, " of the session"),
			}
			return o
		}
		for query, want := range map[string]string{"name=bob": "bob of the session", "": ""} {
			c := upshifttest.Dial(t, r.Server, "/", in(query, nil))
			if id, ok := auth.From(r.Of("/").Socket(c.ID())); !ok || id.Subject != want {
				t.Errorf("%s: %q", query, id.Subject)
			}
		}
		c := upshifttest.Dial(t, r.Server, "/", in("name=bob", ann))
		if id, _ := auth.From(r.Of("/").Socket(c.ID())); id.Subject != "ann" {
			t.Errorf("with a token: %q", id.Subject)
		}
		for query, want := range map[string]string{"name=eve": "unauthorized", "name=slow": "internal"} {
			if code, _ := refused(t, r.Server, "/", in(query, nil)); code != want {
				t.Errorf("%s: refused with %q", query, code)
			}
		}
		if code, reason := refused(t, r.Server, "/", in("name=bob", "?")); code != "unauthorized" || reason != "invalid" {
			t.Errorf("with a bad token: %q, %q", code, reason)
		}
	})
}

func TestOptions(t *testing.T) {
	srv := upshifttest.NewServer(t, core.Options{})
	verify := new(book).verify
	for want, o := range map[string]auth.Options{
		"neither Verify nor Identify": {},
		"negative duration":           {Verify: verify, Lead: -1},
		"negative limit":              {Verify: verify, MaxTokenBytes: -1},
		"names an event":              {Verify: verify, RenewEvent: "connect"},
	} {
		if _, err := auth.New(srv, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A guard without Verify has nothing that makes a token good.
func TestNoVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		guard, err := auth.New(srv, auth.Options{Identify: func(context.Context, *core.Socket) (auth.Identity, error) {
			return auth.Identity{Subject: "ann"}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		srv.Use(guard.Middleware)
		if _, reason := refused(t, srv, "/", with("t")); reason != "invalid" {
			t.Errorf("refused for %q", reason)
		}
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", []any{"t"})); reason != "invalid" {
			t.Errorf("renewal refused for %q", reason)
		}
	})
}

// A guard that has come later does not renew what another one has let in.
func TestRenewByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		strict, lax := new(book), new(book)
		first, err := auth.New(srv, auth.Options{Verify: strict.verify})
		if err != nil {
			t.Fatal(err)
		}
		second, err := auth.New(srv, auth.Options{Verify: lax.verify, Name: "lax", RenewEvent: "auth:renew"})
		if err != nil {
			t.Fatal(err)
		}
		srv.Of("/").Use(first.Middleware)
		c := upshifttest.Dial(t, srv, "/", with(strict.issue("ann", 0)))
		srv.Use(second.Middleware) // runs first
		if _, reason := reasonOf(t, c.Call(t.Context(), "auth:renew", []any{lax.issue("ann", 0)})); reason != "missing" {
			t.Errorf("refused for %q", reason)
		}
	})
}

// Two guards on the way of one socket would not know of each other's timers.
func TestTwoGuards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{}, auth.Options{})
		other, err := auth.New(r.Server, auth.Options{Verify: r.verify, Name: "other"})
		if err != nil {
			t.Fatal(err)
		}
		r.Of("/two").Use(other.Middleware)
		r.Of("/twice").Use(r.guard.Middleware)
		for _, namespace := range []string{"/two", "/twice"} {
			if code, _ := refused(t, r.Server, namespace, with(r.issue("ann", 0))); code != "internal" {
				t.Errorf("%s: refused with %q", namespace, code)
			}
		}
	})
}
