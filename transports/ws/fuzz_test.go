package ws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/upshift-go/upshift/transports"
)

// FuzzFrames feeds a connection with whatever may follow a handshake: no panic
// gets out, packets are what the contract says, the end is reported once, and
// no goroutine is left.
func FuzzFrames(f *testing.F) {
	f.Add(false, []byte{})
	f.Add(false, slices.Concat(frame(textFrame, "4hello"), frame(binaryFrame, "\x00\xff"), frame(closeFrame, "\x03\xe8bye")))
	f.Add(false, slices.Concat(frame(0x01, "4he"), frame(0x89, "ping"), frame(0x00, ""), frame(0x80, "llo")))
	f.Add(false, slices.Concat(frame(textFrame, "bAQIDBA=="), frame(textFrame, "b!"), frame(textFrame, "4")))
	f.Add(false, frame(textFrame, "1"))
	f.Add(false, frame(textFrame, "4\xff"))
	f.Add(false, frame(textFrame, "4"+strings.Repeat("x", 5000)))
	f.Add(false, hostileFrame())
	f.Add(false, []byte{0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Add(true, []byte{0xc1, 0x87, 0, 0, 0, 0, 0x32, 0xc9, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})
	f.Add(true, slices.Concat(frame(0xc1, "\xff\xff\xff\xff"), frame(textFrame, "4")))
	f.Add(true, slices.Concat(frame(0x41, "\x32"), frame(0x80, "\x04\x00")))
	plain := New(Options{})
	deflating := New(Options{Compression: Compression{Enabled: true, ContextTakeover: true}})
	f.Fuzz(func(t *testing.T, deflate bool, input []byte) {
		server, peer := pipe(t)
		r := newRequest(server, [2]string{"Sec-WebSocket-Extensions", browserOffer})
		s := newSession()
		s.onReady = func() {}
		s.onReceive = func(p transports.Packet) error {
			switch {
			case p.Type > transports.Noop || p.Type == transports.Close:
				t.Error("received", describe(p))
			case p.Binary && p.Type != transports.Message:
				t.Error("received", describe(p))
			case !p.Binary && !utf8.Valid(p.Data):
				t.Error("received", describe(p))
			case len(p.Data) > 4096:
				t.Errorf("received %d bytes", len(p.Data))
			}
			if len(p.Data) > 0 && p.Data[0] == 0 {
				panic("the session's side")
			}
			return nil
		}
		adm := s.admission()
		adm.MaxPayload = 4096
		transport := plain
		if deflate {
			transport = deflating
		}
		transport.Accept(r, adm)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, peer)
		}()
		_, _ = peer.Write(input)
		_ = peer.Close()
		wait(t, "end of the connection's goroutine", r.served)
		<-drained
		cause := wait(t, "Closed", s.closed)
		if _, ok := errors.AsType[*transports.CloseError](cause); !ok || len(s.closed) > 0 {
			t.Errorf("closed by %v, and %d more", cause, len(s.closed))
		}
	})
}

// FuzzBase64 checks the lenient decoder against the strict one: what that takes
// means the same, and nothing else means something but for the alphabet, the
// padding, and bits that no byte is made of.
func FuzzBase64(f *testing.F) {
	for _, seed := range []string{"", "AQIDBA==", "AQI", "-_-_", "A", "=", "AQI===", "AQ==AQ==", "AQ\r\nI=", "AR"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		got, err := decodeBase64(bytes.Clone(input))
		if strict, strictErr := base64.StdEncoding.Strict().DecodeString(string(input)); strictErr == nil && !bytes.ContainsAny(input, "\r\n") {
			if err != nil || !bytes.Equal(got, strict) {
				t.Fatalf("%q: %x, %v; want %x", input, got, err, strict)
			}
		}
		if err != nil {
			if !errors.Is(err, transports.ErrMalformed) {
				t.Fatalf("%q: %v", input, err)
			}
			return
		}
		digits := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(string(input)), "=")
		again := base64.RawStdEncoding.EncodeToString(got)
		if len(digits) != len(again) || len(digits) > 0 && digits[:len(digits)-1] != again[:len(again)-1] {
			t.Fatalf("%q means %x, which is %q", input, got, again)
		}
	})
}
