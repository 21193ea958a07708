package ws

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// B27, B50, spec 7.1 and 7.2.
func TestReceive(t *testing.T) {
	large := strings.Repeat("x", 70_000)
	tests := map[string]struct {
		frames [][]byte
		want   transports.Packet
	}{
		"text":             {[][]byte{frame(textFrame, "4hello")}, text("hello")},
		"empty message":    {[][]byte{frame(textFrame, "4")}, text("")},
		"not ASCII":        {[][]byte{frame(textFrame, "41€ 你好 😀")}, text("1€ 你好 😀")},
		"126 bytes":        {[][]byte{frame(textFrame, "4"+large[:125])}, text(large[:125])},
		"70,001 bytes":     {[][]byte{frame(textFrame, "4"+large)}, text(large)},
		"binary":           {[][]byte{frame(binaryFrame, "\x00\x01\xff")}, binaryPacket("\x00\x01\xff")},
		"empty binary":     {[][]byte{frame(binaryFrame, "")}, binaryPacket("")},
		"base64":           {[][]byte{frame(textFrame, "bAQIDBA==")}, binaryPacket("\x01\x02\x03\x04")},
		"base64 unpadded":  {[][]byte{frame(textFrame, "bAQI")}, binaryPacket("\x01\x02")},
		"base64 of a URL":  {[][]byte{frame(textFrame, "b-_-_")}, binaryPacket("\xfb\xff\xbf")},
		"empty base64":     {[][]byte{frame(textFrame, "b")}, binaryPacket("")},
		"pong":             {[][]byte{frame(textFrame, "3")}, transports.Packet{Type: transports.Pong, Data: []byte{}}},
		"probe":            {[][]byte{frame(textFrame, "2probe")}, transports.Packet{Type: transports.Ping, Data: []byte("probe")}},
		"upgrade":          {[][]byte{frame(textFrame, "5")}, transports.Packet{Type: transports.Upgrade}},
		"noop":             {[][]byte{frame(textFrame, "6")}, transports.Packet{Type: transports.Noop}},
		"fragments":        {[][]byte{frame(0x01, "4he"), frame(0x00, "l"), frame(0x00, ""), frame(0x80, "lo")}, text("hello")},
		"split character":  {[][]byte{frame(0x01, "4\xe2"), frame(0x80, "\x82\xac")}, text("€")},
		"binary fragments": {[][]byte{frame(0x02, "a"), frame(0x80, "b")}, binaryPacket("ab")},
		"ping in between":  {[][]byte{frame(0x01, "4a"), frame(0x89, "x"), frame(0x80, "b")}, text("ab")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := connect(t, setup{})
			l.put(t, test.frames...)
			if got := describe(wait(t, "packet", l.received)); got != describe(test.want) {
				t.Errorf("received %s, want %s", got, describe(test.want))
			}
		})
	}
}

// B47: what is no packet ends the session, with an empty close frame.
func TestReceiveMalformed(t *testing.T) {
	tests := map[string]string{
		"empty":               "",
		"type 7":              "7",
		"letter":              "hello",
		"bad UTF-8":           "4\xff",
		"half a character":    "4\xe2\x82",
		"bad base64":          "b*",
		"one digit of base64": "bA",
		"base64 and line end": "bAQ\r\nI",
		"too much padding":    "bAQI===",
		"padding inside":      "bAQ==AQID",
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			l := connect(t, setup{})
			l.put(t, frame(textFrame, payload), frame(textFrame, "4late"))
			l.wantClosed(t, transports.ParseError, transports.ErrMalformed)
			l.want(t, closeFrame, "")
			l.put(t, frame(closeFrame, ""))
			l.wantEOF(t)
			if len(l.received) > 0 {
				t.Error("received", describe(<-l.received))
			}
		})
	}
}

// B51: a message of the limit passes; one byte more is refused with 1009,
// before its content is read, and also when it comes in pieces.
func TestMaxPayload(t *testing.T) {
	const limit = 300
	exact := strings.Repeat("x", limit-1)
	t.Run("limit", func(t *testing.T) {
		l := connect(t, setup{max: limit})
		l.put(t, frame(textFrame, "4"+exact))
		if got := wait(t, "packet", l.received); string(got.Data) != exact {
			t.Error("received", describe(got))
		}
	})
	over := "4" + exact + "x"
	header := appendHeader(nil, textFrame, limit+1)
	header[1] |= 0x80
	tests := map[string][]byte{
		"whole":     frame(textFrame, over),
		"announced": append(header, 1, 2, 3, 4),
		"fragments": append(frame(0x01, over[:200]), frame(0x80, over[200:])...),
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			l := connect(t, setup{max: limit})
			l.put(t, input)
			l.wantClosed(t, transports.TransportError, transports.ErrPayloadTooLarge)
			l.want(t, closeFrame, "\x03\xf1") // 1009
			l.wantEOF(t)
			if len(l.received) > 0 {
				t.Error("received", describe(<-l.received))
			}
		})
	}
}

// hostileFrame is the header of a frame whose length has its highest bit set.
func hostileFrame() []byte {
	b := []byte{binaryFrame, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, math.MaxUint64)
	return append(b, 1, 2, 3, 4)
}

// A36: what breaks the WebSocket protocol ends the connection as a transport
// error and nothing else. The hostile frame makes gws panic.
func TestProtocolErrors(t *testing.T) {
	unmasked := appendHeader(nil, textFrame, 2)
	tests := map[string][]byte{
		"A36 hostile frame":     hostileFrame(),
		"unmasked":              append(unmasked, "4x"...),
		"reserved bit":          frame(0xc1, "4x"),
		"reserved opcode":       frame(0x83, "4x"),
		"reserved control":      frame(0x8b, ""),
		"fragmented ping":       frame(0x09, ""),
		"long ping":             frame(0x89, strings.Repeat("x", 126)),
		"lone continuation":     frame(0x80, "4x"),
		"message in a message":  append(frame(0x01, "4"), frame(textFrame, "4")...),
		"no masks, after other": append(frame(textFrame, "4first"), unmasked...),
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			l := connect(t, setup{})
			l.put(t, input, frame(textFrame, "4late"))
			l.wantClosed(t, transports.TransportError, nil)
			l.want(t, closeFrame, "\x03\xea") // 1002
			l.wantEOF(t)
			for len(l.received) > 0 {
				if p := <-l.received; string(p.Data) != "first" {
					t.Error("received", describe(p))
				}
			}
		})
	}
}

// 20.1.3: a ping is answered with its payload.
func TestPingEcho(t *testing.T) {
	l := connect(t, setup{})
	for _, payload := range []string{"", "x", strings.Repeat("y", 125)} {
		l.put(t, frame(0x89, payload))
		l.want(t, pongFrame, payload)
	}
	l.put(t, frame(0x8a, "unsolicited"), frame(textFrame, "4after"))
	if got := describe(wait(t, "packet", l.received)); got != describe(text("after")) {
		t.Error("received", got)
	}
}

// Spec 8: packet 1 ends the session as if the WebSocket had been closed.
func TestClosePacket(t *testing.T) {
	l := connect(t, setup{})
	l.put(t, frame(textFrame, "1"), frame(textFrame, "4late"))
	l.wantClosed(t, transports.TransportClose, nil)
	l.want(t, closeFrame, "")
	l.put(t, frame(closeFrame, ""))
	l.wantEOF(t)
	if len(l.received) > 0 {
		t.Error("received", describe(<-l.received))
	}
}

// When the session takes nothing more, the rest of the input is dropped.
func TestReceiveRefused(t *testing.T) {
	s := newSession()
	calls := make(chan string, 8)
	s.onReceive = func(p transports.Packet) error {
		calls <- string(p.Data)
		return errors.New("enough")
	}
	l := connect(t, setup{session: s})
	l.put(t, frame(textFrame, "4one"), frame(textFrame, "4two"), frame(0x89, "still there?"))
	l.want(t, pongFrame, "still there?")
	if got := wait(t, "Receive", calls); got != "one" || len(calls) > 0 {
		t.Errorf("received %q and %d more", got, len(calls))
	}
}

// A panic in the session's side ends this connection, not the process.
func TestReceivePanics(t *testing.T) {
	s := newSession()
	s.onReceive = func(transports.Packet) error { panic("a bug above") }
	l := connect(t, setup{session: s})
	l.put(t, frame(textFrame, "4one"))
	cause := wait(t, "Closed", l.closed)
	if !strings.Contains(cause.Error(), "a bug above") || !errors.Is(cause, &transports.CloseError{Reason: transports.TransportError}) {
		t.Errorf("closed by %v", cause)
	}
	l.want(t, closeFrame, "\x03\xf3") // 1011
	l.put(t, frame(closeFrame, "\x03\xf3"))
	l.wantEOF(t)
}

// The bytes of a packet are read during Receive only: the buffer is used
// again.
func TestReceiveReusesBuffers(t *testing.T) {
	s := newSession()
	l := connect(t, setup{session: s})
	for range 100 {
		l.put(t, frame(textFrame, "4"+strings.Repeat("a", 100)), frame(binaryFrame, strings.Repeat("b", 100)))
	}
	for i := range 200 {
		want := []string{"a", "b"}[i%2]
		if got := wait(t, "packet", l.received); string(got.Data) != strings.Repeat(want, 100) {
			t.Fatalf("packet %d: %s", i, describe(got))
		}
	}
}
