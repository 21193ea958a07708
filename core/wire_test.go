package core_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
)

func TestRequestErrors(t *testing.T) { // engine-io 3.1, B1 B2 B7 B9, A15 A16 A38 A39
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		session := d.join()
		sid := session[strings.LastIndex(session, "=")+1:]
		for _, test := range []struct {
			name, method, query string
			code                int
			message             string
		}{
			{"B1 no transport", "GET", "EIO=4", 0, "Transport unknown"},
			{"B1 unknown transport", "GET", "EIO=4&transport=tobi", 0, "Transport unknown"},
			{"B1 constructor", "GET", "EIO=4&transport=constructor", 0, "Transport unknown"},
			{"B1 __proto__", "GET", "EIO=4&transport=__proto__", 0, "Transport unknown"},
			{"A39 transport names are exact", "GET", "EIO=4&transport=Polling", 0, "Transport unknown"},
			{"A16 the transport is looked at first", "POST", "EIO=3&transport=x&sid=y", 0, "Transport unknown"},
			{"B2 unknown session", "GET", "EIO=4&transport=polling&sid=test", 1, "Session ID unknown"},
			{"B2 __proto__", "POST", "EIO=4&transport=polling&sid=__proto__", 1, "Session ID unknown"},
			{"B9 POST without session", "POST", "EIO=4&transport=polling", 2, "Bad handshake method"},
			{"B9 PUT without session", "PUT", "EIO=4&transport=polling", 2, "Bad handshake method"},
			{"B9 OPTIONS without CORS", "OPTIONS", "EIO=4&transport=polling", 2, "Bad handshake method"},
			{"B9 the method is looked at before the version", "POST", "transport=polling", 2, "Bad handshake method"},
			{"B7 websocket without upgrade", "GET", "EIO=4&transport=websocket", 3, "Bad request"},
			{"B7 mismatch", "GET", "EIO=4&transport=websocket&sid=" + sid, 3, "Bad request"},
			{"B9 EIO 3", "GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"},
			{"B9 EIO 5", "GET", "EIO=5&transport=polling", 5, "Unsupported protocol version"},
			{"B9 EIO abc", "GET", "EIO=abc&transport=polling", 5, "Unsupported protocol version"},
			{"B9 no EIO", "GET", "transport=polling", 5, "Unsupported protocol version"},
			{"2.2 the last of repeated parameters counts", "GET", "EIO=4&transport=polling&transport=x", 0, "Transport unknown"},
		} {
			a := d.request(test.method, test.query, "")
			want := fmt.Sprintf(`{"code":%d,"message":%q}`, test.code, test.message)
			if a.status != 400 || a.body != want || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %+v, want %s", test.name, a, want)
			}
		}
		d.post(session, `420["x"]`) // unharmed by the mismatch
		d.expectPoll(session, `430[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`)

		if a := d.request("GET", "EIO=4&transport=polling&sid=", ""); a.status != 200 {
			t.Errorf("A38 an empty sid starts a handshake: %+v", a)
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH"} {
			if a := d.request(method, session, ""); a.status != 405 || a.header.Get("Allow") != "GET, POST" {
				t.Errorf("2.4 %s with a session: %+v", method, a)
			}
		}
		d.post(session, `421["x"]`)
		d.poll(session)
	})
}

// upgrade sends a raw Upgrade request and returns the head of the answer and
// what follows it until the connection ends, or until the 101.
func (d *door) upgrade(query string, fields ...string) (string, *bufio.Reader) {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	var head strings.Builder
	head.WriteString("GET /socket.io/?" + query + " HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" +
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for i := 0; i+1 < len(fields); i += 2 {
		head.WriteString(fields[i] + ": " + fields[i+1] + "\r\n")
	}
	if _, err := io.WriteString(conn, head.String()+"\r\n"); err != nil {
		d.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	var answer strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			d.t.Fatalf("answer %q: %v", answer.String(), err)
		}
		if line == "\r\n" {
			return answer.String(), r
		}
		answer.WriteString(line)
	}
}

func TestUpgradeErrors(t *testing.T) { // engine-io 3.1, B1 B3 B6
	forbid := false
	o := core.Options{AllowRequest: func(context.Context, *core.Handshake) error {
		if forbid {
			return errors.New("not today")
		}
		return nil
	}}
	eachDoor(t, o, func(t *testing.T, d *door) {
		for _, test := range []struct{ query, message string }{
			{"EIO=4&transport=tobi", "Transport unknown"},
			{"EIO=4&transport=websocket&sid=x", "Session ID unknown"},
			{"EIO=4&transport=polling", "Bad request"},
			{"EIO=3&transport=websocket", "Unsupported protocol version"},
		} {
			head, r := d.upgrade(test.query)
			body, err := io.ReadAll(r) // ends, because the connection is closed
			if err != nil || string(body) != test.message || !strings.HasPrefix(head, "HTTP/1.1 400 ") ||
				!strings.Contains(strings.ToLower(head), "content-type: text/html\r\n") {
				t.Errorf("%s: %s%s %v", test.query, head, body, err)
			}
		}
		forbid = true
		defer func() { forbid = false }()
		head, r := d.upgrade("EIO=4&transport=websocket")
		if body, err := io.ReadAll(r); err != nil || string(body) != "not today" || !strings.HasPrefix(head, "HTTP/1.1 400 ") {
			t.Errorf("forbidden: %s%s %v", head, body, err)
		}
		if a := d.request("GET", "EIO=4&transport=polling", ""); a.status != 403 || a.body != `{"code":4,"message":"not today"}` { // B3
			t.Errorf("forbidden: %+v", a)
		}
	})
}

func TestAllowRequestIsAskedOnce(t *testing.T) { // B3, A17
	var asked atomic.Int32
	o := core.Options{AllowRequest: func(_ context.Context, h *core.Handshake) error {
		asked.Add(1)
		if h.Query.Get("extra") != "a b" || h.Header.Get("x-test") != "1" || h.RemoteAddr == "" || h.Path != "/socket.io/" {
			return fmt.Errorf("handshake %+v", h)
		}
		return nil
	}}
	eachDoor(t, o, func(t *testing.T, d *door) {
		asked.Store(0)
		a := d.request("GET", "EIO=4&transport=polling&extra=a+b", "", "X-Test", "1") // B14 B17
		if a.status != 200 {
			t.Fatalf("handshake: %+v", a)
		}
		sid := regexp.MustCompile(`"sid":"([^"]*)"`).FindStringSubmatch(a.body)[1]
		session := "EIO=4&transport=polling&sid=" + sid
		d.post(session, "40")
		d.poll(session)
		head, _ := d.upgrade("EIO=4&transport=websocket&sid=" + sid)
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatalf("upgrade: %s", head)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestOnReject(t *testing.T) { // 3.3
	rejected := make(chan *core.RequestError, 1)
	o := core.Options{OnReject: func(e *core.RequestError) { rejected <- e }}
	eachDoor(t, o, func(t *testing.T, d *door) {
		d.request("GET", "EIO=4&transport=tobi", "")
		if e := <-rejected; e.Code != 0 || e.Transport != "tobi" {
			t.Errorf("%+v", e)
		}
		session := d.polling()
		d.request("GET", strings.Replace(session, "polling", "websocket", 1), "")
		if e := <-rejected; e.Code != 3 || e.Context != "TRANSPORT_MISMATCH" || !strings.HasSuffix(session, e.SessionID) {
			t.Errorf("%+v", e)
		}
	})
}

func TestCookieAndHeaders(t *testing.T) { // B11 B28 B29
	o := core.Options{
		Cookie: &core.Cookie{},
		Headers: func(ex transports.Exchange, initial bool) {
			ex.AddHeader("Set-Cookie", fmt.Sprintf("initial=%v", initial))
			ex.SetHeader("X-Powered-By", "test")
		},
	}
	eachDoor(t, o, func(t *testing.T, d *door) {
		a := d.request("GET", "EIO=4&transport=polling", "")
		sid := regexp.MustCompile(`"sid":"([^"]*)"`).FindStringSubmatch(a.body)[1]
		want := []string{"io=" + sid + "; Path=/; HttpOnly; SameSite=Lax", "initial=true"}
		if got := a.header.Values("Set-Cookie"); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("Set-Cookie %q, want %q", got, want)
		}
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
			t.Errorf("Content-Type %q", got)
		}
		session := "EIO=4&transport=polling&sid=" + sid
		post := d.request("POST", session, "40")
		if got := post.header.Values("Set-Cookie"); strings.Join(got, "|") != "initial=false" || post.header.Get("X-Powered-By") != "test" {
			t.Errorf("POST: %v", post.header)
		}
		if post.header.Get("Cache-Control") != "no-store" || post.header.Get("Content-Type") != "text/html" || post.header.Get("Server") != "" {
			t.Errorf("POST: %v", post.header)
		}
		head, _ := d.upgrade("EIO=4&transport=websocket&sid=" + sid)
		if !strings.Contains(head, "\r\nSet-Cookie: initial=false\r\n") || !strings.Contains(head, "\r\nX-Powered-By: test\r\n") {
			t.Errorf("101: %s", head)
		}
		head, _ = d.upgrade("EIO=4&transport=websocket", "Sec-WebSocket-Protocol", "foo, bar")
		if !strings.Contains(head, "initial=true\r\n") || strings.Contains(head, "io=") || !strings.Contains(head, "Sec-WebSocket-Protocol: foo\r\n") { // A32
			t.Errorf("101: %s", head)
		}
	})
}

func TestCORS(t *testing.T) { // B30, A18
	t.Run("list", func(t *testing.T) {
		o := core.Options{CORS: &core.CORS{
			Origins: []string{"https://a.example"}, Credentials: true,
			ExposedHeaders: []string{"X-A", "X-B"}, MaxAge: time.Hour,
		}}
		eachDoor(t, o, func(t *testing.T, d *door) {
			pre := d.request("OPTIONS", "EIO=4&transport=polling", "", "Origin", "https://a.example", "Access-Control-Request-Headers", "x-token")
			if pre.status != 204 || pre.body != "" || pre.header.Get("Access-Control-Allow-Origin") != "https://a.example" ||
				pre.header.Get("Access-Control-Allow-Credentials") != "true" || pre.header.Get("Access-Control-Allow-Headers") != "x-token" ||
				pre.header.Get("Access-Control-Allow-Methods") != "GET,HEAD,PUT,PATCH,POST,DELETE" || pre.header.Get("Access-Control-Max-Age") != "3600" ||
				pre.header.Get("Vary") != "Origin, Access-Control-Request-Headers" {
				t.Errorf("preflight: %+v", pre)
			}
			for _, a := range []answer{
				d.request("GET", "EIO=4&transport=polling", "", "Origin", "https://a.example"),
				d.request("GET", "EIO=4&transport=x", "", "Origin", "https://a.example"),
				d.request("POST", d.polling(), strings.Repeat("x", 1_000_001), "Origin", "https://a.example"),
			} {
				if a.header.Get("Access-Control-Allow-Origin") != "https://a.example" || a.header.Get("Access-Control-Expose-Headers") != "X-A,X-B" ||
					!strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
					t.Errorf("%+v", a)
				}
			}
			bad := d.request("OPTIONS", "EIO=4&transport=polling", "", "Origin", "https://b.example")
			if bad.status != 204 || bad.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("bad origin: %+v", bad)
			}
			head, _ := d.upgrade("EIO=4&transport=websocket", "Origin", "https://a.example")
			if !strings.Contains(head, "\r\nAccess-Control-Allow-Origin: https://a.example\r\n") {
				t.Errorf("101: %s", head)
			}
		})
	})
	t.Run("any, and a function", func(t *testing.T) {
		eachDoor(t, core.Options{CORS: &core.CORS{Origins: []string{"*"}, PreflightStatus: 200}}, func(t *testing.T, d *door) {
			a := d.request("OPTIONS", "", "", "Origin", "https://b.example")
			if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%+v", a)
			}
		})
		o := core.Options{CORS: &core.CORS{AllowOrigin: func(o string) bool { return strings.HasSuffix(o, ".example") }}}
		eachDoor(t, o, func(t *testing.T, d *door) {
			if a := d.polling(); a == "" {
				t.Error("no session")
			}
			a := d.request("GET", "EIO=4&transport=polling", "", "Origin", "https://c.example")
			if a.header.Get("Access-Control-Allow-Origin") != "https://c.example" {
				t.Errorf("%+v", a)
			}
		})
	})
}

// A page of another origin opens no session and takes none over, on any transport.
func TestOrigin(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		const evil = "https://evil.example"
		session := d.polling()
		for what, a := range map[string]answer{
			"handshake": d.request("GET", "EIO=4&transport=polling", "", "Origin", evil),
			"poll":      d.request("GET", session, "", "Origin", evil),
			"post":      d.request("POST", session, "40", "Origin", evil),
		} {
			if a.status != 403 || a.body != `{"code":4,"message":"origin not allowed"}` {
				t.Errorf("%s: %+v", what, a)
			}
		}
		for what, query := range map[string]string{
			"handshake": "EIO=4&transport=websocket",
			"upgrade":   strings.Replace(session, "polling", "websocket", 1),
		} {
			if head, _ := d.upgrade(query, "Origin", evil); !strings.HasPrefix(head, "HTTP/1.1 400 ") {
				t.Errorf("%s on WebSocket: %s", what, head)
			}
		}
		if n := d.Stats().OriginRefused; n != 5 {
			t.Errorf("%d refused", n)
		}
		if head, _ := d.upgrade("EIO=4&transport=websocket", "Origin", "http://test"); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Errorf("the server's own: %s", head)
		}
	})
}

func TestPayloadLimit(t *testing.T) { // B20, A2
	eachDoor(t, core.Options{MaxPayload: 1000}, func(t *testing.T, d *door) {
		session := d.join()
		pad := func(n int) string { return `42["x","` + strings.Repeat("x", n-len(`42["x",""]`)) + `"]` }
		d.post(session, pad(999))
		d.post(session, pad(1000))
		if a := d.request("POST", session, pad(1001)); a.status != 413 {
			t.Errorf("POST over the limit: %+v", a)
		}
		if a := d.request("POST", session, strings.Repeat("x", 10_000_000)); a.status != 413 {
			t.Errorf("POST far over the limit: %d", a.status)
		}
		d.post(session, `420["x"]`)
		d.poll(session)
		if n := d.Stats().PayloadTooLarge; n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

// A session whose parked poll loses its client ends at once (B24), behind
// both doors.
func TestParkedPollSeesItsClientLeave(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		gone := make(chan error, 1)
		d.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { gone <- cause })
		session := d.join()
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET /socket.io/?%s HTTP/1.1\r\nHost: test\r\n\r\n", session); err != nil {
			t.Fatal(err)
		}
		// The poll is parked when a second one is told so; rather than that,
		// which would end the session, let the server answer it once.
		s := d.Of("/").Sockets()[0]
		if err := s.Emit(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if _, err := fmt.Fprintf(conn, "GET /socket.io/?%s HTTP/1.1\r\nHost: test\r\n\r\n", session); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		cause := <-gone
		if core.ReasonOf(cause) != core.TransportError || !errors.Is(cause, transports.ErrClientGone) {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestBadRequestsEndTheSession(t *testing.T) { // B21 B23, A23
	for name, test := range map[string]struct {
		body   string
		fields []string
		reason core.Reason
	}{
		"malformed":     {"abc", nil, core.ParseError},
		"empty":         {"", nil, core.ParseError},
		"octet stream":  {"4x", []string{"Content-Type", "application/octet-stream"}, core.TransportError},
		"invalid UTF-8": {"42[\"\xff\"]", nil, core.ParseError},
		"a client ping": {"2", nil, core.TransportError},
	} {
		t.Run(name, func(t *testing.T) {
			eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
				gone := make(chan error, 1)
				d.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { gone <- cause })
				session := d.join()
				d.request("POST", session, test.body, test.fields...)
				if cause := <-gone; core.ReasonOf(cause) != test.reason {
					t.Errorf("cause %v", cause)
				}
				if a := d.request("GET", session, ""); a.status != 400 || a.body != `{"code":1,"message":"Session ID unknown"}` {
					t.Errorf("next poll: %+v", a)
				}
			})
		})
	}
}

// An invalid Socket.IO packet on polling: the peer reads a noop and a close
// (socket-io C16).
func TestInvalidPacketOnPolling(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		session := d.join()
		d.post(session, `42{}`)
		d.expectPoll(session, "6", "1")
		if a := d.request("GET", session, ""); a.status != 400 {
			t.Errorf("next poll: %+v", a)
		}
	})
}

func TestPath(t *testing.T) { // B15
	eachDoor(t, core.Options{Path: "custom"}, func(t *testing.T, d *door) {
		for path, want := range map[string]int{
			"/custom/?EIO=4&transport=polling":        200,
			"/custom?EIO=4&transport=polling":         200,
			"/custom/deep/er?EIO=4&transport=polling": 200,
			"/customs/?EIO=4&transport=polling":       404,
			"/socket.io/?EIO=4&transport=polling":     404,
			"/":                                       404,
		} {
			if a := d.requestPath("GET", path, ""); a.status != want {
				t.Errorf("%s: status %d, want %d", path, a.status, want)
			}
		}
	})
}

func TestBundle(t *testing.T) { // socket-io C56, B55
	dir := t.TempDir()
	script := strings.Repeat("// the client\n", 100)
	for name, content := range map[string]string{"socket.io.min.js": script, "socket.io.min.js.map": "{}", "secret.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eachDoor(t, core.Options{ClientDir: dir, CORS: &core.CORS{Origins: []string{"*"}}}, func(t *testing.T, d *door) {
		d.client.Transport.(*http.Transport).DisableCompression = true
		get := func(path string, fields ...string) answer {
			return d.requestPath("GET", "/socket.io/"+path, "", fields...)
		}
		a := get("socket.io.min.js?v=1")
		if a.status != 200 || a.body != script || a.header.Get("Content-Type") != "application/javascript; charset=utf-8" ||
			a.header.Get("Cache-Control") != "public, max-age=0" || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%+v", a)
		}
		etag := a.header.Get("ETag")
		if !regexp.MustCompile(`^"[^"]+"$`).MatchString(etag) {
			t.Errorf("ETag %s", etag)
		}
		for _, match := range []string{etag, "W/" + etag} {
			if a := get("socket.io.min.js", "If-None-Match", match); a.status != 304 || a.body != "" || a.header.Get("ETag") != etag {
				t.Errorf("If-None-Match %s: %+v", match, a)
			}
		}
		if a := get("socket.io.min.js.map"); a.status != 200 || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("map: %+v", a)
		}
		if a := get("socket.io.min.js", "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "gzip" || len(a.body) >= len(script) {
			t.Errorf("gzip: %+v", a)
		}
		if a := d.requestPath("POST", "/socket.io/socket.io.min.js", ""); a.status != 405 {
			t.Errorf("POST: %+v", a)
		}
		if a := get("socket.io.js"); a.status != 404 { // known, but not in the directory
			t.Errorf("missing: %+v", a)
		}
		for _, path := range []string{"secret.txt", "../secret.txt", "socket.io.min.jsx"} {
			if a := get(path); a.status == 200 {
				t.Errorf("%s: %+v", path, a)
			}
		}
	})
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		if a := d.requestPath("GET", "/socket.io/socket.io.min.js", ""); a.status != 400 || !strings.Contains(a.body, "Transport unknown") {
			t.Errorf("no directory: %+v", a)
		}
	})
}

func TestMaxSessions(t *testing.T) {
	eachDoor(t, core.Options{MaxSessions: 1}, func(t *testing.T, d *door) {
		d.polling()
		if a := d.request("GET", "EIO=4&transport=polling", ""); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%+v", a)
		}
		if head, _ := d.upgrade("EIO=4&transport=websocket"); !strings.HasPrefix(head, "HTTP/1.1 503 ") {
			t.Errorf("%s", head)
		}
	})
}
