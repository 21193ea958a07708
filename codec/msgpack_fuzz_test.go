package codec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
)

var packedMessages = []string{
	"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa5hello\xa3you",
	"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/",
	"\x83\xa4type\x00\xa4data\x82\xa3sid\xb4oSO0OpakMV_3jnilAAAA\xa3pid\xd4\x00\x00\xa3nsp\xa1/",
	"\x83\xa4type\x04\xa4data\x82\xa7message\xa3bad\xa4data\xd4\x00\x00\xa3nsp\xa3/no",
	"\x82\xa4type\x01\xa3nsp\xa1/",
	"\x84\xa2id\x00\xa4type\x03\xa4data\x92\xa1x\xca\x3f\xc0\x00\x00\xa3nsp\xa1/",
	"\x85\xa4type\x02\xa4data\x97\xa1x\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x02\x01\x02\xc7\x01\x00\x09\xd4\x00\x00\xc0" + packedDate +
		"\xa7options\x81\xa8compress\xc3\xa2id\x00\xa3nsp\xa1/",
	"\x83\xa4data\x95\xa1x\x81\xa1A\x82\xa1b\xc4\x01x\xa4next\x80\xd6\x051234\xdc\x00\x01\xd3\x80\x00\x00\x00\x00\x00\x00\x00\xd9\x01k\xa4type\x02\xa3nsp\xa1/",
	"\x83\xa4type\x02\xa4data\x91\xaadisconnect\xa3nsp\xa1/",
	"\xdf\xff\xff\xff\xff\xa4type", "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff\xa1a",
}

// FuzzDecodeMsgPack: no panic, no memory that the message does not account for,
// and what was decoded encodes to something that decodes to the same, with this
// codec, and with JSON if that can hold it.
func FuzzDecodeMsgPack(f *testing.F) {
	for _, in := range packedMessages {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkMemory(t, data)
		packets, err := feedPacked(codec.MsgPackOptions{}, string(data))
		if e, ok := errors.AsType[*codec.DecodeError](err); err != nil && (!ok || e.Err == nil || e.Offset < 0 || e.Offset > len(data)) {
			t.Fatalf("error %#v", err)
		}
		for _, r := range packets {
			if r.Namespace == "" || r.Namespace[0] != '/' || codec.CheckEvent(r.Event) != nil {
				t.Fatalf("received %+v", r)
			}
			values := bindPacked(t, r)
			if r.Type == codec.Ack && !r.HasID {
				continue // legal to receive, but not to send
			}
			p := &codec.Packet{Type: r.Type, Namespace: r.Namespace, ID: r.ID, HasID: r.HasID, Event: r.Event, Args: []any{r.Args}}
			fresh := *p
			fresh.Args = values[1:]
			if r.Type != codec.Event && r.Type != codec.Ack {
				p.Args, fresh.Args = nil, nil
				if !r.Data.IsZero() {
					p.Data, fresh.Data = r.Data, values[0]
				}
			}
			for name, p := range map[string]*codec.Packet{"passed on": p, "bound and sent": &fresh} {
				again := unpacked(t, packed(t, p))
				if again.Type != r.Type || again.Namespace != r.Namespace || again.HasID != r.HasID || again.ID != r.ID ||
					again.Args.Len() != r.Args.Len() || again.Event != r.Event {
					t.Fatalf("%s: received %+v, then %+v", name, r, again)
				}
				if got := bindPacked(t, again); !same(values, got) {
					t.Fatalf("%s: values %#v, then %#v", name, values, got)
				}
			}
			checkAsJSON(t, r, p)
		}
	})
}

// checkMemory: what decoding and binding allocate is at most the message times
// a constant. An element of one byte becomes an interface, a member of two
// bytes an entry of a map that has to be made for it.
func checkMemory(t *testing.T, data []byte) {
	t.Helper()
	const (
		factor = 400
		base   = 64 << 10 // what pools and tables take now and then
	)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	packets, _ := feedPacked(codec.MsgPackOptions{}, string(data))
	for _, r := range packets {
		var v any
		_ = r.Data.Bind(&v)
		for i := range r.Args.Len() {
			_ = r.Args.Raw(i).Bind(&v)
			v = nil
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(base+factor*len(data)) {
		t.Errorf("%d bytes of input took %d of memory", len(data), used)
	}
}

// bindPacked binds everything in a packet, which must work.
func bindPacked(t *testing.T, r codec.Received) []any {
	t.Helper()
	raws := []codec.Raw{r.Data}
	for i := range r.Args.Len() {
		raws = append(raws, r.Args.Raw(i))
	}
	values := make([]any, len(raws))
	for i, raw := range raws {
		if err := raw.Bind(&values[i]); err != nil {
			t.Fatalf("%q does not bind: %v", raw.Bytes(), err)
		}
		var typed holder
		_ = raw.Bind(&typed)
		var list []holder
		_ = raw.Bind(&list)
		text, err := json.Marshal(raw)
		if err != nil || !json.Valid(text) {
			t.Fatalf("%q is %s in JSON: %v", raw.Bytes(), text, err)
		}
	}
	return values
}

// same is reflect.DeepEqual, but that NaN is equal to itself, and a float of a to
// the integer that it has become in b.
func same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if v, ok := b[k]; !ok || !same(a[k], v) {
				return false
			}
		}
		return true
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	case float64:
		switch b := b.(type) {
		case float64:
			return a == b || math.IsNaN(a) && math.IsNaN(b)
		case int64:
			return a == float64(b)
		case uint64:
			return a == float64(b)
		}
		return false
	}
	return reflect.DeepEqual(a, b)
}

// checkAsJSON sends what was received on as JSON, if JSON can hold it, and back
// again.
func checkAsJSON(t *testing.T, r codec.Received, p *codec.Packet) {
	t.Helper()
	frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, p)
	if err != nil {
		return // NaN, many attachments, a member named _placeholder, years that JSON has not
	}
	back := one(t, frames...)
	if back.Args.Len() != r.Args.Len() || back.Event != r.Event {
		t.Fatalf("%+v came back from JSON as %+v", r, back)
	}
	for i := range back.Args.Len() {
		var was, is []byte
		if r.Args.Raw(i).Bytes()[0] != 0xc4 || r.Args.Raw(i).Bind(&was) != nil {
			continue
		}
		if err := back.Args.Raw(i).Bind(&is); err != nil || !bytes.Equal(was, is) {
			t.Fatalf("%q came back from JSON as %q, %v", was, is, err)
		}
	}
	p = &codec.Packet{Type: r.Type, Namespace: r.Namespace, ID: r.ID, HasID: r.HasID, Event: r.Event, Args: []any{back.Args}}
	if r.Type != codec.Event && r.Type != codec.Ack {
		p.Args = nil
		if !back.Data.IsZero() {
			p.Data = back.Data
		}
	}
	if again := unpacked(t, packed(t, p)); again.Args.Len() != r.Args.Len() {
		t.Fatalf("%+v came back from JSON as %+v", r, again)
	}
}

// FuzzMsgPackRoundTrip: values of all sorts arrive as they were sent.
func FuzzMsgPackRoundTrip(f *testing.F) {
	f.Add("event", "text", []byte("bytes"), 1.5, int64(-1), uint64(0), int64(1e12), false)
	f.Add("", "\"\x00\xff", []byte{}, math.Inf(-1), int64(1<<62), uint64(codec.MaxID), int64(math.MinInt64), true)
	f.Add("x", "é", []byte{0}, -0.0, int64(math.MinInt64), uint64(7), int64(0), true)
	f.Fuzz(func(t *testing.T, name, text string, data []byte, number float64, integer int64, id uint64, millis int64, ack bool) {
		type object struct {
			Text   string
			Data   []byte
			Number float64
			At     time.Time
			Any    any
		}
		at := time.UnixMilli(millis).UTC()
		want := object{text, data, number, at, map[string]any{"k": []any{text, data, nil, at}}}
		p := &codec.Packet{Type: codec.Event, Namespace: "/n", Event: name, ID: id, HasID: true, Args: []any{text, data, number, integer, want}}
		if ack {
			p.Type, p.Event = codec.Ack, ""
		}
		frames, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, p)
		if err != nil {
			if id <= codec.MaxID && codec.CheckEvent(p.Event) == nil {
				t.Fatal(err)
			}
			return
		}
		r := unpacked(t, string(frames[0].Data))
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
		clean := string(bytes.ToValidUTF8([]byte(text), []byte("\ufffd")))
		if r.Type != p.Type || r.ID != id || !same(number, got.number) || got.integer != integer || !bytes.Equal(got.data, data) || got.text != clean {
			t.Fatalf("sent %+v, received %+v with %+v", p, r, got)
		}
		var none any = data
		if data == nil {
			none = nil
		}
		want.Any = map[string]any{"k": []any{clean, none, nil, at}}
		if got.object.Text != clean || !got.object.At.Equal(at) || !same(want.Any, got.object.Any) {
			t.Fatalf("sent %#v, received %#v", want, got.object)
		}
	})
}
