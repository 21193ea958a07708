package ws

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

const (
	browserOffer = "permessage-deflate; client_max_window_bits"
	flateEnd     = "\x00\x00\xff\xff"
)

func TestNegotiate(t *testing.T) {
	plain := deflate{enabled: true}
	tests := map[string]struct {
		offer    string
		takeover bool
		want     deflate
	}{
		"none":                   {"", false, deflate{}},
		"another":                {"x-webkit-deflate-frame, permessage-bzip2; x=1", false, deflate{}},
		"bare":                   {"permessage-deflate", false, plain},
		"as browsers do":         {browserOffer, false, plain},
		"other case":             {"Permessage-Deflate", false, plain},
		"no takeover":            {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", true, plain},
		"takeover":               {browserOffer, true, deflate{true, true, true}},
		"takeover by the client": {"permessage-deflate; server_no_context_takeover", true, deflate{true, false, true}},
		"takeover by the server": {"permessage-deflate;client_no_context_takeover", true, deflate{true, true, false}},
		"client window":          {"permessage-deflate; client_max_window_bits=10", false, plain},
		"quoted client window":   {`permessage-deflate; client_max_window_bits="10"`, false, plain},
		"server window":          {"permessage-deflate; server_max_window_bits=10", false, deflate{}},
		"full server window":     {"permessage-deflate; server_max_window_bits=15", false, plain},
		"second offer":           {"permessage-deflate; server_max_window_bits=10, permessage-deflate", false, plain},
		"bad window":             {"permessage-deflate; client_max_window_bits=99", false, deflate{}},
		"unknown parameter":      {"permessage-deflate; speed=11", false, deflate{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := negotiate(test.offer, test.takeover); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func compressed(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(s))
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), flateEnd)
}

func decompressed(t testing.TB, b []byte) string {
	t.Helper()
	content, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader(flateEnd+"\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatal("decompressing:", err)
	}
	return string(content)
}

func deflating() setup {
	return setup{
		options: Options{Compression: Compression{Enabled: true}},
		request: func(r *request) { r.with("Sec-WebSocket-Extensions", browserOffer) },
	}
}

func TestDeflateOffByDefault(t *testing.T) {
	s := deflating()
	s.options.Compression.Enabled = false
	l := open(t, s)
	if _, head := l.readHead(t); head.Get("Sec-WebSocket-Extensions") != "" {
		t.Error("extensions", head)
	}
}

func TestDeflate(t *testing.T) {
	l := open(t, deflating())
	_, head := l.readHead(t)
	if got := head.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
		t.Errorf("extensions %q", got)
	}
	wait(t, "Ready", l.readied)
	long := strings.Repeat("hello ", 200)

	l.put(t, frame(0xc1, compressed(t, "4"+long)), frame(textFrame, "4plain"), frame(0xc2, compressed(t, long)))
	for _, want := range []transports.Packet{text(long), text("plain"), binaryPacket(long)} {
		if got := describe(wait(t, "packet", l.received)); got != describe(want) {
			t.Errorf("received %s, want %s", got, describe(want))
		}
	}

	uncompressed := text(long)
	uncompressed.NoCompress = true
	l.send(t, text("short"), text(long), uncompressed, transports.Packet{Type: transports.Close}, binaryPacket(long), text(long[:1023-1]))
	l.want(t, textFrame, "4short")
	l.wantDeflated(t, 0xc1, "4"+long)
	l.want(t, textFrame, "4"+long)
	l.wantDeflated(t, 0xc2, long)
	l.want(t, textFrame, "4"+long[:1022]) // one byte below the threshold
}

func (c *client) wantDeflated(t testing.TB, first byte, want string) {
	t.Helper()
	f, payload, err := c.read()
	if err != nil || f != first {
		t.Fatalf("frame %x, %v; want %x", f, err, first)
	}
	if got := decompressed(t, payload); got != want {
		t.Errorf("got %.80q, want %.80q", got, want)
	}
	if len(payload) >= len(want) {
		t.Errorf("%d bytes became %d", len(want), len(payload))
	}
}

// A broadcast is compressed once for all connections of one transport.
func TestDeflateShared(t *testing.T) {
	l := connect(t, deflating())
	p := text(strings.Repeat("hello ", 200))
	p.Shared = new(transports.Shared)
	l.send(t, p)
	made := p.Shared.Form(l.conn.(*conn).transport.deflatedForms[0], func() any { return []byte("not made") }).([]byte)
	want := "4" + string(p.Data)
	clear(p.Data) // proves that what is sent now was made before
	l.send(t, text("x"), p)
	l.wantDeflated(t, 0xc1, want)
	l.want(t, textFrame, "4x")
	l.wantDeflated(t, 0xc1, want)
	if made[0] != 0xc1 {
		t.Errorf("kept %x", made[:2])
	}
	if l.conn.(*conn).gather.capture != nil {
		t.Error("still capturing")
	}
}

// A connection that is over must not spoil the frame of the others.
func TestDeflateSharedAfterClose(t *testing.T) {
	l := connect(t, deflating())
	p := text(strings.Repeat("hello ", 200))
	p.Shared = new(transports.Shared)
	l.put(t, frame(closeFrame, ""))
	l.wantClosed(t, transports.TransportClose, nil)
	if _, err := l.conn.Send([]transports.Packet{p}); err == nil {
		t.Error("sent")
	}
	other := connect(t, deflating())
	other.send(t, p)
	first, payload, err := other.read()
	if err != nil || (first == textFrame && string(payload) != "4"+string(p.Data)) ||
		(first == 0xc1 && decompressed(t, payload) != "4"+string(p.Data)) {
		t.Errorf("frame %x %.80q, %v", first, payload, err)
	}
}

// The limit counts what comes out of decompression (spec 8).
func TestDeflateBomb(t *testing.T) {
	s := deflating()
	s.max = 1000
	l := connect(t, s)
	l.put(t, frame(0xc1, compressed(t, "4"+strings.Repeat("x", 999))))
	wait(t, "packet of the limit", l.received)
	l.put(t, frame(0xc1, compressed(t, "4"+strings.Repeat("x", 1_000_000))[:900]))
	l.wantClosed(t, transports.TransportError, transports.ErrPayloadTooLarge)
	l.want(t, closeFrame, "\x03\xf1") // 1009
	l.wantEOF(t)
}

func TestDeflateCorrupt(t *testing.T) {
	l := connect(t, deflating())
	l.put(t, frame(0xc1, "\xff\xff\xff\xff"))
	l.wantClosed(t, transports.TransportError, nil)
	l.want(t, closeFrame, "\x03\xf3") // 1011
	l.wantEOF(t)
}

// A peer with the client of gws: with and without context takeover.
func TestDeflateWithClient(t *testing.T) {
	for name, takeover := range map[string]bool{"takeover": true, "no takeover": false} {
		t.Run(name, func(t *testing.T) {
			server, peer := tcp(t)
			events := &clientEvents{messages: make(chan string, 16)}
			s := newSession()
			r := newRequest(server)
			upgraded := make(chan struct{})
			go func() {
				defer close(upgraded)
				acceptHTTP(t, r, New(Options{Compression: Compression{Enabled: true, ContextTakeover: takeover}}), s)
			}()
			socket, _, err := gws.NewClientFromConn(events, &gws.ClientOption{ //nolint:bodyclose // a 101 has none
				Addr: "ws://example.org/socket.io/",
				PermessageDeflate: gws.PermessageDeflate{
					Enabled: true, Threshold: 1, ServerContextTakeover: takeover, ClientContextTakeover: takeover,
					ServerMaxWindowBits: 15, ClientMaxWindowBits: 15,
				},
			}, peer)
			if err != nil {
				t.Fatal(err)
			}
			<-upgraded
			wait(t, "Ready", s.readied)
			done := make(chan struct{})
			go func() { defer close(done); socket.ReadLoop() }()
			if got := s.conn.(*conn).takeover; got != takeover {
				t.Errorf("takeover %t", got)
			}
			for i := range 8 {
				word := strings.Repeat(string(rune('a'+i/2))+"hello ", 300)
				if err := socket.WriteString("4" + word); err != nil {
					t.Fatal(err)
				}
				p := wait(t, "packet", s.received)
				if string(p.Data) != word {
					t.Fatalf("received %s", describe(p))
				}
				p.Shared = new(transports.Shared)
				p.NoCompress = i == 3
				if _, err := s.conn.Send([]transports.Packet{p}); err != nil {
					t.Fatal(err)
				}
				if got := wait(t, "echo", events.messages); got != "4"+word {
					t.Fatalf("echo %.80q", got)
				}
			}
			s.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
			wait(t, "end of the client", done)
			wait(t, "end of the connection's goroutine", r.served)
		})
	}
}

type clientEvents struct {
	gws.BuiltinEventHandler
	messages chan string
}

func (c *clientEvents) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.messages <- string(m.Bytes())
	_ = m.Close()
}
