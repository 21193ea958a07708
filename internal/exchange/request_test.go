package exchange

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/transports"
)

// seen is what an exchange says of its request.
type seen struct {
	method, path, query, host, custom, agent, absent, remote string
	secure                                                   bool
	fields                                                   []string
}

func look(ex transports.Exchange) seen {
	s := seen{
		method: ex.Method(), path: ex.Path(), query: string(ex.Query()),
		host: ex.Header("host"), custom: ex.Header("x-CUSTOM"), agent: ex.Header("User-Agent"),
		absent: ex.Header("X-Absent"), remote: ex.RemoteAddr(), secure: ex.Secure(),
	}
	for name, value := range ex.Headers() {
		s.fields = append(s.fields, name+": "+value)
	}
	slices.Sort(s.fields)
	return s
}

// Both servers show a request alike, and what they show outlives it: the
// second request on the connection reuses the buffers of the first.
func TestRequest(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		requests := make(chan seen, 2)
		addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
			requests <- look(ex)
			_ = ex.Respond(200, nil)
		})
		c := k.dial(t, addr)
		got := make([]seen, 0, 2)
		for _, word := range []string{"first", "other"} {
			c.put("PUT /" + word + "%20path/?a=" + word + "&b=%20 HTTP/1.1\r\nHost: " + word + ".example\r\n" +
				"X-Custom: " + word + "\r\nX-Custom: zzz\r\nUser-Agent: agent " + word + "\r\nContent-Length: 0\r\n\r\n")
			c.want(200, "")
			got = append(got, wait(t, "request", requests))
		}
		for i, word := range []string{"first", "other"} {
			want := seen{
				method: "PUT", path: "/" + word + " path/", query: "a=" + word + "&b=%20",
				host: word + ".example", custom: word, agent: "agent " + word,
				remote: c.LocalAddr().String(), secure: k.tls,
				fields: []string{
					"Content-Length: 0", "Host: " + word + ".example", "User-Agent: agent " + word,
					"X-Custom: " + word, "X-Custom: zzz",
				},
			}
			if fmt.Sprint(got[i]) != fmt.Sprint(want) {
				t.Errorf("request %d:\n got %v\nwant %v", i, got[i], want)
			}
		}
	})
}

func TestHeaderWithoutNormalising(t *testing.T) {
	server := &fasthttp.Server{
		DisableHeaderNamesNormalizing: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			ex := FastHTTP(ctx, false)
			_ = ex.Respond(200, []byte(ex.Header("X-Custom")))
		},
	}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.ServeConn(near) }()
	go func() {
		_, _ = far.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nx-cUstOm: yes\r\nConnection: close\r\n\r\n"))
	}()
	c := newClient(t, far)
	c.want(200, "yes")
	if err := wait(t, "end", served); err != nil {
		t.Error(err)
	}
}

func TestRespond(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		set := make(chan []string, 3)
		addr := k.serve(t, timeouts{}, func(ex transports.Exchange) {
			ex.SetHeader("X-One", "old")
			ex.SetHeader("X-One", "new")
			ex.AddHeader("Set-Cookie", "a=1")
			ex.AddHeader("Set-Cookie", "b=2; Path=/")
			if ex.Query().Get("type") != "" {
				ex.SetHeader("Content-Type", ex.Query().Get("type"))
			}
			var fields []string
			for name, value := range ex.ResponseHeaders() {
				fields = append(fields, name+": "+value)
			}
			slices.Sort(fields)
			set <- fields
			body := []byte(ex.Query().Get("body"))
			_ = ex.Respond(418, body)
			clear(body) // it has been copied, or written
		})
		c := k.dial(t, addr)
		for _, test := range []struct {
			query, body string
			types       []string
		}{
			{"body=<html>", "<html>", nil},
			{"type=text/x&body=b", "b", []string{"text/x"}},
			{"", "", nil},
		} {
			c.put(get("/?" + test.query))
			res := c.read()
			if res.status != 418 || res.body != test.body || res.length != int64(len(test.body)) {
				t.Errorf("%s: answer %d %q of length %d", test.query, res.status, res.body, res.length)
			}
			if types := res.header.Values("Content-Type"); !slices.Equal(types, test.types) {
				t.Errorf("%s: content type %q, want %q", test.query, types, test.types)
			}
			want := []string{"Set-Cookie: a=1", "Set-Cookie: b=2; Path=/", "X-One: new"}
			if len(test.types) > 0 {
				want = append([]string{"Content-Type: text/x"}, want...)
			}
			if got := wait(t, "fields", set); !slices.Equal(got, want) {
				t.Errorf("%s: response fields %q, want %q", test.query, got, want)
			}
			for name, values := range map[string][]string{"X-One": {"new"}, "Set-Cookie": {"a=1", "b=2; Path=/"}} {
				if got := res.header.Values(name); !slices.Equal(got, values) {
					t.Errorf("%s: %s is %q, want %q", test.query, name, got, values)
				}
			}
		}
	})
}

// Values that middleware put in front are there, for what is called with them.
func TestContext(t *testing.T) {
	type key struct{}
	var ctx fasthttp.RequestCtx
	ctx.SetUserValue(key{}, "fast")
	if got := FastHTTP(&ctx, false).Context().Value(key{}); got != "fast" {
		t.Errorf("fasthttp: %v", got)
	}
	r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(""))
	if HTTP(httptest.NewRecorder(), r).Context() != r.Context() {
		t.Error("net/http: another context than the request's")
	}
}
