package codec_test

import (
	"strings"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

type chatMessage struct {
	Room string `json:"room"`
	Text string `json:"text"`
	At   int64  `json:"at"`
}

var chat = chatMessage{Room: "lobby", Text: "a message of sixty-four bytes or so", At: 1700000000000}

func BenchmarkJSONDecode(b *testing.B) {
	for name, in := range map[string]string{
		"event":     `2["message","` + strings.Repeat("x", 64) + `"]`,
		"object":    `2/chat,17["message",{"room":"lobby","text":"a message of sixty-four bytes or so","at":1700000000000}]`,
		"event 4KB": `2["message","` + strings.Repeat("x", 4096) + `"]`,
	} {
		b.Run(name, func(b *testing.B) {
			d := codec.JSON(codec.JSONOptions{}).NewDecoder()
			f := text(in)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := d.Decode(f); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkJSONBind(b *testing.B) {
	object := one(b, text(`2["a",{"room":"lobby","text":"a message of sixty-four bytes or so","at":1700000000000}]`)).Args
	plain := one(b, text(`2["a","`+strings.Repeat("x", 64)+`"]`)).Args
	attachment := attached(b, `{"Deep":`+placeholder0+`}`)
	for name, bind := range map[string]func() error{
		"object":     func() error { var v chatMessage; return object.Bind(&v) },
		"string":     func() error { var v string; return plain.Bind(&v) },
		"attachment": func() error { var v inner; return attachment.Bind(&v) },
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

func BenchmarkJSONEncode(b *testing.B) {
	received := one(b, text(`2["a",{"room":"lobby","text":"a message of sixty-four bytes or so","at":1700000000000}]`)).Args
	for name, p := range map[string]*codec.Packet{
		"string":     event("message", strings.Repeat("x", 64)),
		"string 4KB": event("message", strings.Repeat("x", 4096)),
		"struct":     event("message", chat),
		"map":        event("message", map[string]any{"room": chat.Room, "text": chat.Text, "at": chat.At}),
		"passed on":  event("message", received),
		"attachment": event("message", "name", make([]byte, 64)),
		"inside":     event("message", inner{Deep: make([]byte, 64)}),
	} {
		b.Run(name, func(b *testing.B) {
			c := codec.JSON(codec.JSONOptions{})
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
