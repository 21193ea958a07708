package codec_test

import (
	"strings"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

func BenchmarkMsgPackDecode(b *testing.B) {
	for name, p := range map[string]*codec.Packet{
		"event":     event("message", strings.Repeat("x", 64)),
		"object":    {Type: codec.Event, Namespace: "/chat", Event: "message", ID: 17, HasID: true, Args: []any{chat}},
		"event 4KB": event("message", strings.Repeat("x", 4096)),
	} {
		b.Run(name, func(b *testing.B) {
			d := codec.MsgPack(codec.MsgPackOptions{}).NewDecoder()
			f := codec.Frame{Binary: true, Data: []byte(packed(b, p))}
			b.SetBytes(int64(len(f.Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := d.Decode(f); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkMsgPackBind(b *testing.B) {
	object := unpacked(b, packed(b, event("a", chat))).Args
	plain := unpacked(b, packed(b, event("a", strings.Repeat("x", 64)))).Args
	bytes := unpacked(b, packed(b, event("a", inner{Deep: []byte("bytes")}))).Args
	for name, bind := range map[string]func() error{
		"object": func() error { var v chatMessage; return object.Bind(&v) },
		"any":    func() error { var v any; return object.Bind(&v) },
		"string": func() error { var v string; return plain.Bind(&v) },
		"bytes":  func() error { var v inner; return bytes.Bind(&v) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bind(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMsgPackEncode(b *testing.B) {
	received := unpacked(b, packed(b, event("a", chat))).Args
	for name, p := range map[string]*codec.Packet{
		"string":     event("message", strings.Repeat("x", 64)),
		"string 4KB": event("message", strings.Repeat("x", 4096)),
		"struct":     event("message", chat),
		"map":        event("message", map[string]any{"room": chat.Room, "text": chat.Text, "at": chat.At}),
		"passed on":  event("message", received),
		"bytes":      event("message", "name", make([]byte, 64)),
		"inside":     event("message", inner{Deep: make([]byte, 64)}),
	} {
		b.Run(name, func(b *testing.B) {
			c := codec.MsgPack(codec.MsgPackOptions{})
			var frames []codec.Frame
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if frames, err = c.Encode(frames[:0], p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
