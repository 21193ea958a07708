//go:build !race

package codec_test

import (
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// Budgets, not measurements: a test that fails here has made the hot path
// dearer.
func TestMsgPackAllocs(t *testing.T) {
	c := codec.MsgPack(codec.MsgPackOptions{})
	d := c.NewDecoder()
	frames := make([]codec.Frame, 0, 4)
	var (
		s       string
		b       []byte
		message chatMessage
	)
	decode := func(p *codec.Packet) func() error {
		f := codec.Frame{Binary: true, Data: []byte(packed(t, p))}
		return func() error {
			_, _, err := d.Decode(f)
			return err
		}
	}
	encode := func(p *codec.Packet) func() error {
		return func() error {
			_, err := c.Encode(frames[:0], p)
			return err
		}
	}
	object := map[string]any{"a": 1}
	received := unpacked(t, packed(t, event("message", "text", object, []byte("bytes"), chat))).Args
	options := codec.Frame{Binary: true, Data: []byte("\x84\xa4type\x02\xa4data\x92\xa1a\x05\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/")}
	for name, tt := range map[string]struct {
		most float64
		run  func() error
	}{
		"decode event":               {1, decode(event("message", "text", object, 3))},
		"decode event in namespace":  {1, decode(&codec.Packet{Type: codec.Event, Namespace: "/chat", Event: "message", ID: 12, HasID: true, Args: []any{"text"}})},
		"decode event without args":  {0, decode(event("message"))},
		"decode event with 5 args":   {3, decode(event("message", 1, 2, 3, 4, 5))},
		"decode ack":                 {1, decode(&codec.Packet{Type: codec.Ack, ID: 12, HasID: true, Args: []any{"text"}})},
		"decode event with options":  {1, func() error { _, _, err := d.Decode(options); return err }},
		"bind string":                {1, func() error { return received.Bind(&s) }},
		"bind bytes":                 {1, func() error { return received.Raw(2).Bind(&b) }},
		"bind struct":                {2, func() error { return received.Raw(3).Bind(&message) }},
		"encode strings and numbers": {1, encode(event("message", "text", 12, true, nil, 1.5))},
		"encode struct":              {1, encode(event("message", chat))},
		"encode map":                 {1, encode(event("message", object))},
		"encode received":            {1, encode(event("message", received))},
		"encode bytes":               {1, encode(event("message", []byte("bytes")))},
	} {
		if got := testing.AllocsPerRun(100, func() {
			if err := tt.run(); err != nil {
				t.Fatal(err)
			}
		}); got > tt.most {
			t.Errorf("%s: %v allocations, at most %v", name, got, tt.most)
		}
	}
}
