//go:build !race

package codec_test

import (
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// Budgets, not measurements: a test that fails here has made the hot path
// dearer.
func TestAllocsJSON(t *testing.T) {
	c := codec.JSON(codec.JSONOptions{})
	d := c.NewDecoder()
	frames := make([]codec.Frame, 0, 4) // whose memory is used again
	var s string
	decode := func(in string) func() error {
		f := text(in)
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
	received := one(t, text(`2["message","text",{"a":1}]`)).Args
	alone := one(t, text(`2["message","text"]`)).Args
	object := one(t, text(`2["message",{"a":"short","b":"longer than all of the rest"}]`)).Args
	var two struct {
		A string `json:"a"`
		B string `json:"b"`
	}
	for name, tt := range map[string]struct {
		most float64
		run  func() error
	}{
		"decode event":               {1, decode(`2["message","text",{"a":1},3]`)},
		"decode event in namespace":  {1, decode(`2/chat,12["message","text"]`)},
		"decode event without args":  {0, decode(`2["message"]`)},
		"decode event with 5 args":   {3, decode(`2["message",1,2,3,4,5]`)},
		"decode ack":                 {1, decode(`312["text"]`)},
		"bind string":                {1, func() error { return received.Bind(&s) }},
		"bind string that is all":    {0, func() error { return alone.Bind(&s) }},
		"bind a short and a long":    {1, func() error { return object.Bind(&two) }},
		"encode strings and numbers": {0, encode(event("message", "text", 12, true, nil, 1.5))},
		"encode struct":              {1, encode(event("message", chat))},
		"encode received":            {0, encode(event("message", received))},
		"encode attachment":          {2, encode(event("message", []byte("bytes")))},
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
