package polling

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// collect splits a body and keeps what Split lends.
func collect(body []byte) (packets []transports.Packet, err error) {
	for p, splitErr := range Split(body) {
		if splitErr != nil {
			return packets, splitErr
		}
		packets = append(packets, clone(p))
	}
	return packets, nil
}

func equal(a, b []transports.Packet) bool {
	return slices.EqualFunc(a, b, func(a, b transports.Packet) bool {
		return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
	})
}

// B65: the vectors of the protocol, both ways.
func TestPayloadVectors(t *testing.T) {
	packet := func(ty transports.Type, data string) transports.Packet {
		return transports.Packet{Type: ty, Data: []byte(data)}
	}
	for _, test := range []struct {
		wire    string
		packets []transports.Packet
	}{
		{"4hello\x1e2\x1e4world", []transports.Packet{text("hello"), packet(transports.Ping, ""), text("world")}},
		{"4hello\x1ebAQIDBA==", []transports.Packet{text("hello"), binary("\x01\x02\x03\x04")}},
		{"0\x1e1\x1e2probe\x1e3probe\x1e4test", []transports.Packet{
			packet(transports.Open, ""), packet(transports.Close, ""),
			packet(transports.Ping, "probe"), packet(transports.Pong, "probe"), text("test"),
		}},
		{"5\x1e6", []transports.Packet{packet(transports.Upgrade, ""), packet(transports.Noop, "")}},
		{"41€", []transports.Packet{text("1€")}},
		{"bAQI=", []transports.Packet{binary("\x01\x02")}},
		{"b", []transports.Packet{binary("")}},
		{"4", []transports.Packet{text("")}},
		{"b\x1eb\x1ebAA==", []transports.Packet{binary(""), binary(""), binary("\x00")}},
	} {
		if got := AppendPayload(nil, test.packets); string(got) != test.wire {
			t.Errorf("AppendPayload: %q, want %q", got, test.wire)
		}
		if got := AppendPayload([]byte("before"), test.packets); string(got) != "before"+test.wire {
			t.Errorf("AppendPayload to something: %q", got)
		}
		body := []byte(test.wire)
		if got, err := collect(body); err != nil || !equal(got, test.packets) {
			t.Errorf("Split(%q): %v, %v", test.wire, got, err)
		}
		if string(body) != test.wire {
			t.Errorf("Split changed %q to %q", test.wire, body)
		}
	}
}

func TestSplitBase64(t *testing.T) {
	for _, test := range []struct {
		wire string
		want string
		ok   bool
	}{
		{"bAQI", "\x01\x02", true},
		{"bAQIDBA", "\x01\x02\x03\x04", true},
		{"bAQIDBA==", "\x01\x02\x03\x04", true},
		{"b+/+/", "\xfb\xff\xbf", true},
		{"b-_-_", "\xfb\xff\xbf", true},
		{"b+_-/", "\xfb\xff\xbf", true},
		{"b-_8=", "\xfb\xff", true},
		{"b-_8", "\xfb\xff", true},
		{"bA", "", false},       // six bits are no byte
		{"bAQIDB", "", false},   // nor are they behind whole groups
		{"b=", "", false},       // padding of nothing
		{"b====", "", false},    //
		{"bA===", "", false},    //
		{"bAQI==", "", false},   // too much of it
		{"bAQIDBA=", "", false}, // too little of it
		{"bAQ=I", "", false},    // not at the end
		{"bAQID\nBA==", "", false},
		{"bAQID\r\n", "", false},
		{"b AQI=", "", false},
		{"bAQ*=", "", false},
		{"b\xff\xff\xff\xff", "", false},
		{"bAQIDB\x00==", "", false},
	} {
		got, err := collect([]byte(test.wire))
		if !test.ok {
			if !errors.Is(err, transports.ErrMalformed) || !errors.Is(err, &transports.CloseError{Reason: transports.ParseError}) {
				t.Errorf("%q: %v, %v", test.wire, got, err)
			}
			continue
		}
		if err != nil || !equal(got, []transports.Packet{binary(test.want)}) {
			t.Errorf("%q: %v, %v", test.wire, got, err)
		}
	}
}

// A consumer may stop, and nothing goes on behind its back.
func TestSplitStops(t *testing.T) {
	n := 0
	for _, err := range Split([]byte("41\x1e42\x1ebad")) {
		if err != nil {
			t.Error(err)
		}
		n++
		if n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d packets", n)
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		"", "4hello\x1e2\x1e4world", "4hello\x1ebAQIDBA==", "b", "b=", "bAQI", "b-_8=", "bAQIDBA=", "4a\x1e",
		"\x1e", "4\xff", "0{\"sid\":\"x\"}", "7", "4😀\x1e4€", "b\x1eb", "bAQ=I\x1e4x", "bA", "b\x00\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		packets, err := collect(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		if len(packets) > 1+bytes.Count(body, []byte{separator}) {
			t.Fatalf("%d packets", len(packets))
		}
		if err != nil {
			if transports.AsCloseError(err).Reason != transports.ParseError || !errors.Is(err, transports.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			if len(packets) == 0 {
				return
			}
		}
		// What has been read is written and read again as it was.
		again, err := collect(AppendPayload(nil, packets))
		if err != nil || !equal(again, packets) {
			t.Fatalf("%v became %v, %v", packets, again, err)
		}
	})
}

// What decodes here decodes with the standard library, to the same bytes.
func FuzzBase64(f *testing.F) {
	for _, seed := range []string{"", "A", "AQ", "AQI", "AQID", "AQIDBA==", "-_-_", "=", "AQ=="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		got, err := appendDecoded(nil, encoded)
		standard := strings.NewReplacer("-", "+", "_", "/").Replace(string(encoded))
		encoding := base64.StdEncoding
		if !strings.Contains(standard, "=") {
			encoding = base64.RawStdEncoding
		}
		want, wantErr := encoding.DecodeString(standard)
		if strings.ContainsAny(standard, "\r\n") {
			wantErr = errBase64
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, %v; the standard library has %q, %v", encoded, got, err, want, wantErr)
		}
	})
}

// batch is a mixed batch of 16 packets of 64 bytes.
func batch(withBinary bool) []transports.Packet {
	packets := make([]transports.Packet, 16)
	for i := range packets {
		packets[i] = text(strings.Repeat("x", 64))
		packets[i].Binary = withBinary && i%4 == 0
	}
	return packets
}

func BenchmarkAppendPayload(b *testing.B) {
	for name, withBinary := range map[string]bool{"text": false, "mixed": true} {
		b.Run(name, func(b *testing.B) {
			packets := batch(withBinary)
			buffer := AppendPayload(nil, packets)
			b.SetBytes(int64(len(buffer)))
			b.ReportAllocs()
			for b.Loop() {
				buffer = AppendPayload(buffer[:0], packets)
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	for name, withBinary := range map[string]bool{"text": false, "mixed": true} {
		b.Run(name, func(b *testing.B) {
			body := AppendPayload(nil, batch(withBinary))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range Split(body) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
