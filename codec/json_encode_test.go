package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
)

func event(name string, args ...any) *codec.Packet {
	return &codec.Packet{Type: codec.Event, Event: name, Args: args}
}

func mustEncode(t testing.TB, o codec.JSONOptions, p *codec.Packet) []codec.Frame {
	t.Helper()
	frames, err := codec.JSON(o).Encode(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// wire encodes a packet and joins its frames with " + ".
func wire(t testing.TB, p *codec.Packet) string {
	t.Helper()
	var b strings.Builder
	for i, f := range mustEncode(t, codec.JSONOptions{}, p) {
		if i > 0 {
			b.WriteString(" + ")
		}
		if f.Binary != (i > 0) {
			t.Errorf("frame %d binary: %v", i, f.Binary)
		}
		b.Write(f.Data)
	}
	return b.String()
}

// The table of section 2.1, to the byte.
func TestJSONEncodesPackets(t *testing.T) {
	type object map[string]string
	for _, tt := range []struct {
		want   string
		packet codec.Packet
	}{
		{`0`, codec.Packet{Type: codec.Connect}},
		{`0/admin,`, codec.Packet{Type: codec.Connect, Namespace: "/admin"}},
		{`0/admin,{"sid":"oSO0"}`, codec.Packet{Type: codec.Connect, Namespace: "/admin", Data: object{"sid": "oSO0"}}},
		{`0`, codec.Packet{Type: codec.Connect, Data: (*inner)(nil)}},
		{`0`, codec.Packet{Type: codec.Connect, ID: 5, HasID: true}},
		{`0{"Deep":"Ynl0ZXM="}`, codec.Packet{Type: codec.Connect, Data: inner{Deep: []byte("bytes")}}},
		{`0{"_placeholder":true}`, codec.Packet{Type: codec.Connect, Data: json.RawMessage(`{"_placeholder":true}`)}},
		{`1`, codec.Packet{Type: codec.Disconnect, Namespace: "/"}},
		{`1/admin,`, codec.Packet{Type: codec.Disconnect, Namespace: "/admin"}},
		{`2["foo"]`, codec.Packet{Type: codec.Event, Event: "foo"}},
		{`2/admin,["bar"]`, codec.Packet{Type: codec.Event, Namespace: "/admin", Event: "bar"}},
		{`212["foo"]`, codec.Packet{Type: codec.Event, Event: "foo", ID: 12, HasID: true}},
		{`20["foo"]`, codec.Packet{Type: codec.Event, Event: "foo", HasID: true}},
		{`2["foo"]`, codec.Packet{Type: codec.Event, Event: "foo", ID: 12}},
		{`2/admin,13["bar",null]`, codec.Packet{Type: codec.Event, Namespace: "/admin", Event: "bar", ID: 13, HasID: true, Args: []any{nil}}},
		{`3/admin,13["bar"]`, codec.Packet{Type: codec.Ack, Namespace: "/admin", ID: 13, HasID: true, Args: []any{"bar"}}},
		{`312[]`, codec.Packet{Type: codec.Ack, ID: 12, HasID: true}},
		{`30[1,2]`, codec.Packet{Type: codec.Ack, HasID: true, Args: []any{1, 2}}},
		{`4/random,{"message":"Invalid namespace"}`, codec.Packet{Type: codec.ConnectError, Namespace: "/random", Data: object{"message": "Invalid namespace"}}},
		{`4"text"`, codec.Packet{Type: codec.ConnectError, Data: "text"}},
		{`51-["baz",{"_placeholder":true,"num":0}] + x`, codec.Packet{Type: codec.Event, Event: "baz", Args: []any{[]byte("x")}}},
		{
			`52-/admin,7["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}] + x + y`,
			codec.Packet{Type: codec.Event, Namespace: "/admin", Event: "baz", ID: 7, HasID: true, Args: []any{[]byte("x"), []byte("y")}},
		},
		{`61-15["bar",{"_placeholder":true,"num":0}] + x`, codec.Packet{Type: codec.Ack, ID: 15, HasID: true, Args: []any{"bar", []byte("x")}}},
		{`61-/x,0[{"_placeholder":true,"num":0}] + `, codec.Packet{Type: codec.Ack, Namespace: "/x", HasID: true, Args: []any{[]byte{}}}},
	} {
		if got := wire(t, &tt.packet); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Methods with pointer receivers are called for values that can be addressed.
type viaPointer struct{ Data []byte }

func (v *viaPointer) MarshalJSON() ([]byte, error) {
	return []byte(`"pointer ` + string(v.Data) + `"`), nil
}

type viaValue struct{ Data []byte }

func (v viaValue) MarshalText() ([]byte, error) { return append([]byte("value "), v.Data...), nil }

type spelled byte

func (s spelled) MarshalText() ([]byte, error) { return []byte{'<', byte(s), '>'}, nil }

type (
	outline struct {
		Data  []byte
		Small []byte `json:",omitempty"`
	}
	embeds struct {
		outline
		*inner
		After string
	}
	tagged struct {
		outline `json:"in"`
		*inner  `json:"ptr"`
	}
	Ping struct {
		*Pong
		Data []byte
	}
	Pong struct {
		*Ping
		More []byte
	}
	Loop struct {
		*Loop
		Data []byte
	}
)

// B34, B35: what values look like on the wire.
func TestJSONEncodesValues(t *testing.T) {
	x, deep := []byte("x"), &inner{Deep: []byte("d")}
	const ph0, ph1 = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`
	for _, tt := range []struct {
		value any
		want  string
	}{
		// Scalars and text.
		{nil, `null`},
		{true, `true`},
		{int8(-8), `-8`},
		{int32(-32), `-32`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{uint(7), `7`},
		{uint32(32), `32`},
		{uint64(math.MaxUint64), `18446744073709551615`},
		{1.0, `1`},
		{0.1, `0.1`},
		{math.Copysign(0, -1), `0`},
		{1e21, `1e+21`},
		{1e20, `100000000000000000000`},
		{1e-7, `1e-7`},
		{-1.5e-300, `-1.5e-300`},
		{float32(0.1), `0.1`},
		{json.Number("1e2"), `1e2`},
		{"<a> & b", `"<a> & b"`},
		{"\u2028\u2029é😀\x7f", "\"\u2028\u2029é😀\x7f\""},
		{"\"\\/\b\f\n\r\t\x00\x1f", `"\"\\/\u0008\u000c\n\r\t\u0000\u001f"`},
		{"12345678\"", `"12345678\""`},
		{"broken \xff\xfe utf8", "\"broken \ufffd utf8\""},
		{map[string]string{"<": ">"}, `{"<":">"}`},
		{time.Unix(0, 0).UTC(), `"1970-01-01T00:00:00Z"`},
		{(*int)(nil), `null`},
		{[]int(nil), `null`},
		// Text that is JSON already.
		{json.RawMessage(`{"a": [1, "<"]}`), `{"a": [1, "<"]}`},
		{json.RawMessage(nil), `null`},
		{struct{ R json.RawMessage }{json.RawMessage(`[1]`)}, `{"R":[1]}`},
		{map[string]any{"r": json.RawMessage(`[1]`)}, `{"r":[1]}`},
		// Byte slices that stay with encoding/json.
		{[]byte(nil), `null`},
		{named(nil), `null`},
		{[3]byte{1, 2, 3}, `[1,2,3]`},
		{net.IPv4(127, 0, 0, 1), `"127.0.0.1"`},
		{&viaPointer{x}, `"pointer x"`},
		{[]viaPointer{{x}}, `["pointer x"]`},
		{viaValue{x}, `"value x"`},
		{&viaValue{x}, `"value x"`},
		{[]viaValue{{x}}, `["value x"]`},
		{[]spelled{'a', 'b'}, `["<a>","<b>"]`},
		{outline{Small: []byte{}}, `{"Data":null}`},
		{struct {
			D []byte `json:"-"`
			e []byte
		}{x, x}, `{}`},
		// Byte slices that become attachments.
		{x, ph0 + ` + x`},
		{named(x), ph0 + ` + x`},
		{letters{'a', 'b'}, ph0 + ` + ab`},
		{&x, ph0 + ` + x`},
		{[][]byte{x, nil, {}}, `[` + ph0 + `,null,` + ph1 + `] + x + `},
		{[2]any{1, x}, `[1,` + ph0 + `] + x`},
		{map[string][]byte{"k": x}, `{"k":` + ph0 + `} + x`},
		{map[int]any{1: x}, `{"1":` + ph0 + `} + x`},
		{map[string]any{"a": []any{x, "t"}, "b": x}, `{"a":[` + ph0 + `,"t"],"b":` + ph1 + `} + x + x`},
		{[]any{map[string]any{"k": &x}}, `[{"k":` + ph0 + `}] + x`},
		{viaPointer{x}, `{"Data":` + ph0 + `} + x`},
		{map[string]viaPointer{"k": {x}}, `{"k":{"Data":` + ph0 + `}} + x`},
		{outline{Data: []byte{}, Small: x}, `{"Data":` + ph0 + `,"Small":` + ph1 + `} +  + x`},
		{embeds{outline{Data: x}, deep, "after"}, `{"Data":` + ph0 + `,"Deep":` + ph1 + `,"After":"after"} + x + d`},
		{&embeds{outline: outline{Data: x}}, `{"Data":` + ph0 + `,"After":""} + x`},
		{tagged{outline{Data: x}, deep}, `{"in":{"Data":` + ph0 + `},"ptr":{"Deep":` + ph1 + `}} + x + d`},
		{&tagged{outline: outline{Data: x}}, `{"in":{"Data":` + ph0 + `},"ptr":null} + x`},
		{Loop{Data: x}, `{"Data":` + ph0 + `} + x`},
		{Ping{&Pong{More: deep.Deep}, x}, `{"More":` + ph0 + `,"Data":` + ph1 + `} + d + x`},
		{struct{ E error }{bytesError(x)}, `{"E":` + ph0 + `} + x`},
		// Hidden by the outer field of the same name, so not written.
		{struct {
			outline
			Data int
		}{outline{Data: x}, 1}, `{"Data":1}`},
	} {
		t.Run(fmt.Sprintf("%T", tt.value), func(t *testing.T) {
			head, tail, _ := strings.Cut(tt.want, " + ")
			want := `2["a",` + head + `]`
			if head != tt.want {
				want = fmt.Sprintf(`5%d-["a",%s] + %s`, strings.Count(head, "_placeholder"), head, tail)
			}
			if got := wire(t, event("a", tt.value)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	if string(x) != "x" || string(deep.Deep) != "d" {
		t.Errorf("the values are %q and %q now", x, deep.Deep)
	}
}

type bytesError []byte

func (bytesError) Error() string { return "" }

// C8, B35, B38: what is not sent, and that nothing is.
func TestJSONRefusesValues(t *testing.T) {
	x := []byte("x")
	deep := func(n int) (v any) {
		for range n {
			v = []any{v}
		}
		return v
	}
	type node struct{ Next *node }
	var list *node
	for range 600 {
		list = &node{list}
	}
	eleven := make([][]byte, 11)
	for i := range eleven {
		eleven[i] = x
	}
	for name, tt := range map[string]struct {
		args []any
		want error // nil for one of encoding/json
	}{
		"NaN":                       {[]any{math.NaN()}, nil},
		"Inf":                       {[]any{math.Inf(-1)}, nil},
		"Inf inside":                {[]any{map[string]any{"k": math.Inf(1)}}, nil},
		"complex":                   {[]any{1i}, nil},
		"bad RawMessage":            {[]any{json.RawMessage(`{`)}, codec.ErrInvalidPayload},
		"RawMessage ends the array": {[]any{json.RawMessage(`1],[2`)}, codec.ErrInvalidPayload},
		"two values":                {[]any{json.RawMessage(`1,2`)}, codec.ErrInvalidPayload},
		"empty RawMessage":          {[]any{json.RawMessage{}}, codec.ErrInvalidPayload},
		"bad RawMessage inside":     {[]any{[]json.RawMessage{json.RawMessage(`{`)}}, nil},
		"no UTF-8":                  {[]any{json.RawMessage("\"\xff\"")}, codec.ErrInvalidUTF8},
		"no UTF-8 inside":           {[]any{[]json.RawMessage{json.RawMessage("\"\xff\"")}}, codec.ErrInvalidUTF8},
		"too deep":                  {[]any{deep(512)}, codec.ErrTooDeep},
		"too deep with bytes":       {[]any{x, deep(512)}, codec.ErrTooDeep},
		"too deep RawMessage":       {[]any{json.RawMessage(strings.Repeat("[", 512) + strings.Repeat("]", 512))}, codec.ErrTooDeep},
		"long list":                 {[]any{list}, codec.ErrTooDeep},
		"eleven arguments":          {[]any{x, x, x, x, x, x, x, x, x, x, x}, codec.ErrTooManyAttachments},
		"eleven inside":             {[]any{eleven}, codec.ErrTooManyAttachments},
		"placeholder in a map":      {[]any{x, map[string]any{"_placeholder": true, "num": 0}}, codec.ErrPlaceholder},
		"placeholder, not true":     {[]any{map[string]any{"_placeholder": 1}, x}, codec.ErrPlaceholder},
		"placeholder in a struct": {[]any{struct {
			P bool `json:"_placeholder"`
		}{}, x}, codec.ErrPlaceholder},
		"placeholder in RawMessage": {[]any{x, json.RawMessage(`{"a":[{"_placeholder":true}]}`)}, codec.ErrPlaceholder},
		"placeholder with escapes":  {[]any{x, []any{json.RawMessage(`{"_pl\u0061ceholder":true,"num":0}`)}}, codec.ErrPlaceholder},
		"placeholder passed on":     {[]any{x, one(t, text(`2["a",`+placeholder0+`]`)).Args}, codec.ErrPlaceholder},
	} {
		t.Run(name, func(t *testing.T) {
			frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, event("a", tt.args...))
			if err == nil || len(frames) != 0 || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%d frames, error %v, want %v", len(frames), err, tt.want)
			}
		})
	}
	for name, data := range map[string]any{
		"array":      json.RawMessage(`[1]`),
		"nil map":    map[string]any(nil),
		"number":     time.Duration(1),
		"marshalled": &viaPointer{},
		"bad":        json.RawMessage(`{`),
		"deep":       map[string]any{"k": deep(512)},
		"NaN":        map[string]any{"k": math.NaN()},
	} {
		packet := &codec.Packet{Type: codec.ConnectError, Data: data}
		if name == "marshalled" {
			packet.Type = codec.Connect // it writes a string
		}
		if frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, packet); err == nil {
			t.Errorf("data %s was sent as %q", name, frames[0].Data)
		}
	}
}

// What is allowed up to the limit is allowed at the limit.
func TestJSONEncodesUpToLimits(t *testing.T) {
	var deep any = map[string]any{}
	for range 510 {
		deep = []any{deep}
	}
	x := []byte("x")
	frames := mustEncode(t, codec.JSONOptions{}, event("a", deep, x, x, x, x, x, x, x, x, x, x))
	if packets, err := feed(codec.JSONOptions{}, frames...); err != nil || len(packets) != 1 {
		t.Errorf("%d packets, %v", len(packets), err)
	}
	if _, err := codec.JSON(codec.JSONOptions{MaxAttachments: -1}).Encode(nil, event("a", x)); !errors.Is(err, codec.ErrTooManyAttachments) {
		t.Errorf("with no attachments allowed: %v", err)
	}
	frames = mustEncode(t, codec.JSONOptions{MaxAttachments: 20}, event("a", [][]byte{x, x, x, x, x, x, x, x, x, x, x, x}))
	if len(frames) != 13 || !strings.HasPrefix(string(frames[0].Data), "512-") {
		t.Errorf("%d frames, the first is %s", len(frames), frames[0].Data)
	}
	// A member named _placeholder is ordinary data where nothing is attached.
	if got := wire(t, event("a", map[string]any{"_placeholder": true})); got != `2["a",{"_placeholder":true}]` {
		t.Errorf("got %s", got)
	}
}

// A packet does not leave anything to the next one that is encoded.
func TestJSONEncoderIsClean(t *testing.T) {
	c := codec.JSON(codec.JSONOptions{})
	packets := []*codec.Packet{
		event("a", "text"),
		event("b", []byte("x"), map[string]any{"k": []byte("y")}),
		event("c", make(chan int)),
		event("d", []byte("x"), math.NaN()),
		event("e", strings.Repeat("large", 1<<16)),
		event("f", json.RawMessage(`1`)),
	}
	first := map[string][]codec.Frame{}
	for range 3 {
		for _, p := range packets {
			frames, err := c.Encode(nil, p)
			want, seen := first[p.Event]
			if !seen {
				first[p.Event] = frames
			} else if !reflect.DeepEqual(want, frames) {
				t.Errorf("%s makes %d frames that differ from the first %d, %v", p.Event, len(frames), len(want), err)
			}
		}
	}
}

// Raw JSON is passed on to the byte.
func TestJSONPassesTextOn(t *testing.T) {
	r := one(t, text(`2["a", {"n" : 12345678901234567890.10} ,"\u0041"]`))
	if got, want := wire(t, event("b", r.Args)), `2["b",{"n" : 12345678901234567890.10},"\u0041"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := wire(t, event("b", r.Args.Raw(1), r.Args.Raw(0))), `2["b","\u0041",{"n" : 12345678901234567890.10}]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := wire(t, &codec.Packet{Type: codec.Connect, Data: one(t, text(`0{"a":1.0}`)).Data}), `0{"a":1.0}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Placeholders are numbered anew, and what else they hold is dropped.
	r = one(t, text(`52-["a",{"_placeholder":true,"num":1,"x":[]},[{"num":0,"_placeholder":true}]]`), binary("x"), binary("y"))
	if got, want := wire(t, event("b", r.Args)), `52-["b",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]] + y + x`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
