package session

import (
	"errors"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

func TestMayConnect(t *testing.T) {
	shop := &CORS{Origins: []string{"https://shop.example.com", "https://*.Example.org", "http://*.dev.example:8080", "null", "capacitor://localhost"}}
	for _, tt := range []struct {
		from asker
		cors *CORS
		want bool
	}{
		// No page.
		{asker{host: "example.com"}, nil, true},
		// The server's own.
		{asker{origin: "https://example.com", host: "example.com"}, nil, true},
		{asker{origin: "http://EXAMPLE.com", host: "Example.com"}, nil, true},
		{asker{origin: "https://example.com", host: "example.com:443"}, nil, true},
		{asker{origin: "http://example.com", host: "example.com:80"}, nil, true},
		{asker{origin: "http://localhost:3000", host: "localhost:3000"}, nil, true},
		{asker{origin: "http://[::1]:3000", host: "[::1]:3000"}, nil, true},
		{asker{origin: "https://example.com", host: "backend:3000", fetchSite: "same-origin"}, nil, true},
		{asker{origin: "https://example.com", host: "example.com", secure: true}, nil, true},
		// Others.
		{asker{origin: "http://example.com", host: "example.com", secure: true}, nil, false},
		{asker{origin: "https://example.com:8443", host: "example.com"}, nil, false},
		{asker{origin: "http://localhost:3001", host: "localhost:3000"}, nil, false},
		{asker{origin: "https://evil.example", host: "example.com"}, nil, false},
		{asker{origin: "https://example.com.evil.example", host: "example.com"}, nil, false},
		{asker{origin: "https://sub.example.com", host: "example.com", fetchSite: "same-site"}, nil, false},
		{asker{origin: "https://evil.example", host: "example.com", fetchSite: "cross-site"}, nil, false},
		{asker{origin: "null", host: "null"}, nil, false},
		{asker{origin: "https://", host: ""}, nil, false},
		// Those that are named.
		{asker{origin: "https://shop.example.com", host: "api.example.com"}, shop, true},
		{asker{origin: "https://Shop.Example.com", host: "api.example.com"}, shop, true},
		{asker{origin: "http://shop.example.com", host: "api.example.com"}, shop, false},
		{asker{origin: "https://shop.example.com:8443", host: "api.example.com"}, shop, false},
		{asker{origin: "https://a.example.org", host: "api.example.com"}, shop, true},
		{asker{origin: "https://a.b.example.org", host: "api.example.com"}, shop, true},
		{asker{origin: "https://example.org", host: "api.example.com"}, shop, false},
		{asker{origin: "https://.example.org", host: "api.example.com"}, shop, false},
		{asker{origin: "https://evilexample.org", host: "api.example.com"}, shop, false},
		{asker{origin: "https://evil.test/.example.org", host: "api.example.com"}, shop, false},
		{asker{origin: "https://evil.test:1.example.org", host: "api.example.com"}, shop, false},
		{asker{origin: "https://a.example.org:8443", host: "api.example.com"}, shop, false},
		{asker{origin: "http://a.dev.example:8080", host: "api.example.com"}, shop, true},
		{asker{origin: "null", host: "api.example.com"}, shop, true},
		{asker{origin: "capacitor://localhost", host: "api.example.com"}, shop, true},
		{asker{origin: "https://api.example.com", host: "api.example.com"}, shop, true}, // its own, too
		{asker{origin: "https://anybody.test", host: "example.com"}, &CORS{Origins: []string{"*"}}, true},
		{asker{origin: "https://a.test", host: "b"}, &CORS{AllowOrigin: func(o string) bool { return o == "https://a.test" }}, true},
		{asker{origin: "https://c.test", host: "b"}, &CORS{AllowOrigin: func(o string) bool { return o == "https://a.test" }}, false},
	} {
		m := &Manager{options: Options{CORS: tt.cors}}
		if got := m.mayConnect(tt.from); got != tt.want {
			t.Errorf("%+v with %v: %t", tt.from, tt.cors, got)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"*", "null", "https://example.com", "http://localhost:3000", "https://*.example.com", "file://", "capacitor://localhost", "https://[::1]:3000"} {
		if err := checkOrigin(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "example.com", "https://", "https://example.com/", "https://example.com/path", "https://a*.example.com", "https://*.*.com", "https://user@example.com", "https://example.com?x", "*.example.com"} {
		if checkOrigin(bad) == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// A transport with connections of its own is asked, too.
func TestOpenChecksOrigin(t *testing.T) {
	r := newRig(t, Options{})
	_, err := r.manager.Open(r.polling, transports.Handshake{Header: transports.NewHeader("Origin", "https://evil.example", "Host", "a")}, &fakeConn{})
	refused, ok := errors.AsType[*RequestError](err)
	if !ok || !errors.Is(err, ErrOrigin) || refused.Code != CodeForbidden {
		t.Errorf("Open: %v", err)
	}
	if n := r.manager.Stats().OriginRefused; n != 1 {
		t.Errorf("counted %d", n)
	}
}
