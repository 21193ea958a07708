package ws

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

func TestIdentity(t *testing.T) {
	transport := New(Options{})
	if got := transport.Name(); got != "websocket" {
		t.Errorf("name %q", got)
	}
	if got, want := transport.Features(), (transports.Features{UpgradeTarget: true, HTTPUpgrade: true, Revision3: true}); got != want {
		t.Errorf("features %+v, want %+v", got, want)
	}
}

// B6: wrong handshakes get an answer of HTTP, and nothing is attached.
func TestHandshakeRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*request)
		body   string
		fields [][2]string
	}{
		"no upgrade": {
			change: func(r *request) { r.without("Upgrade") },
			body:   "refused: not a WebSocket handshake",
		},
		"upgrade to something else": {
			change: func(r *request) { r.without("Upgrade").with("Upgrade", "h2c") },
			body:   "refused: not a WebSocket handshake",
		},
		"method": {
			change: func(r *request) { r.method = http.MethodPost },
			body:   "A WebSocket handshake has the method GET",
		},
		"connection": {
			change: func(r *request) { r.without("Connection").with("Connection", "keep-alive") },
			body:   "The Connection header field does not name Upgrade",
		},
		"no key": {
			change: func(r *request) { r.without("Sec-WebSocket-Key") },
			body:   "Missing or invalid Sec-WebSocket-Key header field",
		},
		"short key": {
			change: func(r *request) { r.without("Sec-WebSocket-Key").with("Sec-WebSocket-Key", "c2hvcnQ=") },
			body:   "Missing or invalid Sec-WebSocket-Key header field",
		},
		"two keys": {
			change: func(r *request) { r.with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") },
			body:   "Missing or invalid Sec-WebSocket-Key header field",
		},
		"version 8": {
			change: func(r *request) { r.without("Sec-WebSocket-Version").with("Sec-WebSocket-Version", "8") },
			body:   "Missing or unsupported Sec-WebSocket-Version header field",
			fields: [][2]string{{"Sec-WebSocket-Version", "13"}},
		},
		"not to be hijacked": {
			change: func(r *request) { r.conn = nil },
			body:   "refused: the connection cannot become a WebSocket: " + errors.ErrUnsupported.Error(),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, peer := pipe(t)
			defer server.Close()
			defer peer.Close()
			r := newRequest(server)
			test.change(r)
			s := newSession()
			New(Options{}).Accept(r, s.admission())
			if r.status != http.StatusBadRequest || r.body != test.body {
				t.Errorf("answer %d %q, want 400 %q", r.status, r.body, test.body)
			}
			if !strings.HasPrefix(test.body, "refused") {
				test.fields = append(test.fields, [2]string{"Connection", "close"}, [2]string{"Content-Type", "text/html"})
			}
			if !slices.Equal(r.set, test.fields) {
				t.Errorf("header %v, want %v", r.set, test.fields)
			}
			if s.conn != nil {
				t.Error("attached")
			}
		})
	}
}

func TestHandshakeAccepted(t *testing.T) {
	tests := map[string]func(*request){
		"as browsers send it": func(*request) {},
		"in other cases": func(r *request) {
			r.without("Upgrade").with("upgrade", "WebSocket").without("Connection").with("connection", "UPGRADE")
		},
		"connection on two lines": func(r *request) {
			r.without("Connection").with("Connection", "keep-alive").with("Connection", "upgrade")
		},
		"several upgrades": func(r *request) { r.without("Upgrade").with("Upgrade", "h2c, websocket") },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			l := open(t, setup{request: change})
			status, head := l.readHead(t)
			if status != http.StatusSwitchingProtocols {
				t.Fatalf("answer %d %v", status, head)
			}
			if got := head.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 section 1.3
				t.Errorf("accept %q", got)
			}
			l.put(t, frame(textFrame, "4hello"))
			if got := describe(wait(t, "packet", l.received)); got != describe(text("hello")) {
				t.Error("received", got)
			}
		})
	}
}

// B29, B31: what middleware set lands on the 101, several fields of one name
// included; what belongs to the handshake or to a body does not.
func TestResponseFields(t *testing.T) {
	l := open(t, setup{request: func(r *request) {
		r.set = [][2]string{
			{"Set-Cookie", "a=1; Path=/"},
			{"Set-Cookie", "b=2"},
			{"Access-Control-Allow-Origin", "https://example.org"},
			{"Vary", "Origin"},
			{"Content-Type", "text/plain"},
			{"Content-Length", "3"},
			{"Connection", "close"},
			{"Sec-WebSocket-Accept", "nonsense"},
			{"X-Lines", "one\r\nX-Smuggled: two"},
			{"X bad name", "x"},
		}
	}})
	status, head := l.readHead(t)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("answer %d", status)
	}
	want := map[string][]string{
		"Set-Cookie":                  {"a=1; Path=/", "b=2"},
		"Access-Control-Allow-Origin": {"https://example.org"},
		"Vary":                        {"Origin"},
		"Content-Type":                nil,
		"Content-Length":              nil,
		"Connection":                  {"Upgrade"},
		"Upgrade":                     {"websocket"},
		"Sec-Websocket-Accept":        {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"X-Lines":                     {"one  X-Smuggled: two"},
		"X-Smuggled":                  nil,
	}
	for name, values := range want {
		if got := head.Values(name); !slices.Equal(got, values) {
			t.Errorf("%s: %q, want %q", name, got, values)
		}
	}
	if len(head) != 7 {
		t.Errorf("header %v", head)
	}
}

// A32: a browser that offered subprotocols wants one of them back.
func TestSubprotocol(t *testing.T) {
	last := func(offered []string) string { return offered[len(offered)-1] }
	tests := map[string]struct {
		offer  []string
		choose func([]string) string
		want   []string
	}{
		"none offered":     {},
		"first by default": {offer: []string{"foo, bar"}, want: []string{"foo"}},
		"on two lines":     {offer: []string{"foo", "bar"}, choose: last, want: []string{"bar"}},
		"chosen":           {offer: []string{"foo, bar"}, choose: last, want: []string{"bar"}},
		"none chosen":      {offer: []string{"foo"}, choose: func([]string) string { return "" }},
		"not offered":      {offer: []string{"foo"}, choose: func([]string) string { return "x" }},
		"no token":         {offer: []string{"f oo, (x), bar"}, want: []string{"bar"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := open(t, setup{
				options: Options{SelectSubprotocol: test.choose},
				request: func(r *request) {
					for _, offer := range test.offer {
						r.with("Sec-WebSocket-Protocol", offer)
					}
				},
			})
			_, head := l.readHead(t)
			if got := head.Values("Sec-WebSocket-Protocol"); !slices.Equal(got, test.want) {
				t.Errorf("subprotocol %q, want %q", got, test.want)
			}
		})
	}
}

// 20.1.2: frames that came with the request are not lost, nor is the rest of
// one that came in part.
func TestEarlyFrames(t *testing.T) {
	whole := slices.Concat(frame(textFrame, "4one"), frame(textFrame, "4two"), frame(binaryFrame, strings.Repeat("x", 5000)))
	for _, n := range []int{1, 5, len(whole) - 3000, len(whole)} {
		l := connect(t, setup{request: func(r *request) { r.early = whole[:n] }})
		l.put(t, whole[n:])
		for _, want := range []transports.Packet{text("one"), text("two"), binaryPacket(strings.Repeat("x", 5000))} {
			if got := describe(wait(t, "packet", l.received)); got != describe(want) {
				t.Errorf("%d bytes early: received %s, want %s", n, got, describe(want))
			}
		}
	}
}

// The 101 leaves together with what the session sends when it is told that the
// conn is ready.
func TestOpenPacketLeavesWithHead(t *testing.T) {
	s := newSession()
	s.onReady = func() {
		if ready, err := s.conn.Send([]transports.Packet{{Type: transports.Open, Data: []byte("{}")}}); !ready || err != nil {
			t.Errorf("Send: %t, %v", ready, err)
		}
	}
	l := open(t, setup{session: s})
	b := make([]byte, 1024)
	n, err := l.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 101 ") || !strings.HasSuffix(string(b[:n]), "\r\n\r\n\x81\x030{}") {
		t.Errorf("first read: %q, %v", b[:n], err)
	}
}

// A session that is gone when the conn is attached: the WebSocket ends with an
// empty close frame (spec 3.2).
func TestAttachFails(t *testing.T) {
	for name, dial := range map[string]func(testing.TB) (server, peer net.Conn){"tcp": tcp, "pipe": pipe} {
		t.Run(name, func(t *testing.T) {
			server, peer := dial(t)
			r := newRequest(server)
			adm := newSession().admission()
			adm.Attach = func(transports.Conn) (transports.Sink, error) { return nil, errors.New("gone") }
			New(Options{}).Accept(r, adm)
			c := newClient(peer)
			if status, _ := c.readHead(t); status != http.StatusSwitchingProtocols {
				t.Errorf("answer %d", status)
			}
			c.want(t, closeFrame, "")
			c.wantEOF(t)
			_ = c.Close()
			wait(t, "end of the connection's goroutine", r.served)
		})
	}
}
