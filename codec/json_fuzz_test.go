package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/upshift-go/upshift/codec"
)

var wireTexts = []string{
	`0`, `0/admin,{"sid":"x"}`, `0/a,5{}`, `1/admin,`, `1`, `2["foo"]`, `2/admin,13["bar",1,[2],{"a":"b"}]`, `212["foo"]`, `2[1.50]`,
	`3/admin,13["bar"]`, `312[]`, `3["connect"]`, `4"text"`, `4/random,{"message":"Invalid namespace"}`, `50-["a"]`, `5-["a"]`, `2["connect"]`,
	`51-["baz",{"_placeholder":true,"num":0}]`, `52-/admin,7["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
	`61-15["bar",{"_placeholder":true,"num":0}]`, `511-["a"]`, `51-["a",{"_placeholder":true,"num":"splice"}]`, `2["a",{"_placeholder":true,"num":0}]`,
	`51-["a",{"\u005fplaceholder":true,"num":0.0,"x":{"_placeholder":true}}]`, `2["\u0061\ud800"," "]`, ``, `9`, `2/a`, `2[`,
}

// FuzzDecodeText: no panic, and what was decoded encodes to something that
// decodes to the same.
func FuzzDecodeText(f *testing.F) {
	for _, in := range wireTexts {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		packets, err := feed(codec.JSONOptions{}, codec.Frame{Data: data})
		check(t, packets, err)
	})
}

// FuzzDecodeFrames: the input is cut into frames; the byte after a cut says
// whether what follows is binary.
func FuzzDecodeFrames(f *testing.F) {
	const cut = 0x1e
	for _, in := range wireTexts {
		f.Add([]byte("\x00" + in))
		f.Add([]byte("\x00" + in + "\x1e\x01bytes\x1e\x01\x1e\x00" + in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var frames []codec.Frame
		for part := range bytes.SplitSeq(data, []byte{cut}) {
			if len(part) > 0 {
				frames = append(frames, codec.Frame{Binary: part[0]&1 == 1, Data: part[1:]})
			}
		}
		packets, err := feed(codec.JSONOptions{}, frames...)
		check(t, packets, err)
	})
}

// check checks what came out of a decoder that was fed with anything at all.
func check(t *testing.T, packets []codec.Received, err error) {
	t.Helper()
	if e, ok := errors.AsType[*codec.DecodeError](err); err != nil && (!ok || e.Err == nil) {
		t.Fatalf("error %#v", err)
	}
	for _, r := range packets {
		if !strings.HasPrefix(r.Namespace, "/") || strings.Contains(r.Namespace, ",") || codec.CheckEvent(r.Event) != nil {
			t.Fatalf("received %+v", r)
		}
		values := bindAll(t, r)
		p := &codec.Packet{Type: r.Type, Namespace: r.Namespace, ID: r.ID, HasID: r.HasID, Event: r.Event, Args: []any{r.Args}}
		if r.Type != codec.Event && r.Type != codec.Ack {
			p.Args = nil
			if !r.Data.IsZero() {
				p.Data = r.Data
			}
		}
		frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, p)
		if err != nil {
			// Legal to receive, but not to send.
			legal := r.Type == codec.Ack && !r.HasID || !utf8.ValidString(r.Namespace) ||
				errors.Is(err, codec.ErrInvalidUTF8) || errors.Is(err, codec.ErrPlaceholder) || errors.Is(err, codec.ErrTooManyAttachments)
			if !legal {
				t.Fatalf("%+v does not encode: %v", r, err)
			}
			continue
		}
		again := one(t, frames...)
		if again.Type != r.Type || again.Namespace != r.Namespace || again.HasID != r.HasID || again.ID != r.ID ||
			again.Args.Len() != r.Args.Len() || again.Event != strings.ToValidUTF8(r.Event, "\ufffd") {
			t.Fatalf("received %+v, encoded and received again %+v", r, again)
		}
		if got := bindAll(t, again); !reflect.DeepEqual(got, values) {
			t.Fatalf("values %#v, encoded and received again %#v", values, got)
		}
	}
}

// bindAll binds everything in a packet, which must work but for numbers that
// no Go type can hold.
func bindAll(t *testing.T, r codec.Received) []any {
	t.Helper()
	raws := make([]codec.Raw, 0, 1+r.Args.Len())
	raws = append(raws, r.Data)
	for i := range r.Args.Len() {
		raws = append(raws, r.Args.Raw(i))
	}
	values := make([]any, len(raws))
	for i, raw := range raws {
		if err := raw.Bind(&values[i]); err != nil {
			if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
				t.Fatalf("%q does not bind: %v", raw.Bytes(), err)
			}
		}
		var typed struct {
			A    any `json:"a"`
			B    []byte
			Next *struct{ B []byte }
		}
		_ = raw.Bind(&typed)
	}
	return values
}

// FuzzRoundTrip: values of all sorts arrive as they were sent.
func FuzzRoundTrip(f *testing.F) {
	f.Add("event", "text", []byte("bytes"), 1.5, int64(-1), uint64(0), false)
	f.Add("", "\"\\\u2028<\x00\xff", []byte{}, 1e-7, int64(1<<62), uint64(codec.MaxID), true)
	f.Add("_placeholder", `{"_placeholder":true,"num":0}`, []byte(`{"_placeholder":true,"num":0}`), 0.0, int64(0), uint64(7), true)
	f.Fuzz(func(t *testing.T, name, text string, data []byte, number float64, integer int64, id uint64, ack bool) {
		type object struct {
			Text   string
			Data   []byte
			Number float64
			Any    any
		}
		want := object{text, data, number, map[string]any{"k": []any{text, data, nil}}}
		p := &codec.Packet{Type: codec.Event, Namespace: "/n", Event: name, ID: id, HasID: true, Args: []any{text, data, number, integer, want}}
		if ack {
			p.Type, p.Event = codec.Ack, ""
		}
		frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, p)
		if err != nil {
			if id <= codec.MaxID && codec.CheckEvent(p.Event) == nil && number-number == 0 {
				t.Fatal(err)
			}
			return
		}
		r := one(t, frames...)
		var got struct {
			text    string
			data    []byte
			number  float64
			integer int64
			object  object
		}
		if err := r.Args.Bind(&got.text, &got.data, &got.number, &got.integer, &got.object); err != nil {
			t.Fatal(err)
		}
		if r.Type != p.Type || r.ID != id || !utf8.Valid(frames[0].Data) || got.number != number || got.integer != integer || !bytes.Equal(got.data, data) {
			t.Fatalf("sent %+v, received %+v with %+v", p, r, got)
		}
		if !utf8.ValidString(text) {
			return
		}
		if got.text != text || !ack && utf8.ValidString(name) && r.Event != name {
			t.Fatalf("sent %q in %q, received %q in %q", text, name, got.text, r.Event)
		}
		if data == nil {
			want.Any = map[string]any{"k": []any{text, nil, nil}}
		}
		if !reflect.DeepEqual(got.object, want) {
			t.Fatalf("sent %#v, received %#v", want, got.object)
		}
	})
}
