package codec_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
)

// text and binary make the frames of a test.
func text(s string) codec.Frame   { return codec.Frame{Data: []byte(s)} }
func binary(s string) codec.Frame { return codec.Frame{Binary: true, Data: []byte(s)} }

// feed decodes frames with a new decoder, up to the first error.
func feed(o codec.JSONOptions, frames ...codec.Frame) (packets []codec.Received, err error) {
	d := codec.JSON(o).NewDecoder()
	for _, f := range frames {
		r, ok, err := d.Decode(f)
		if err != nil {
			return packets, err
		}
		if ok {
			packets = append(packets, r)
		}
	}
	return packets, nil
}

// one decodes the frames of one packet.
func one(t testing.TB, frames ...codec.Frame) codec.Received {
	t.Helper()
	packets, err := feed(codec.JSONOptions{}, frames...)
	if err != nil || len(packets) != 1 {
		t.Fatalf("%q: %d packets, %v", frames[0].Data, len(packets), err)
	}
	return packets[0]
}

// The examples of section 2.1, the looseness that section 2.4 keeps, and B4,
// B6 to B8.
func TestJSONDecodesText(t *testing.T) {
	type received struct {
		Type      codec.Type
		Namespace string
		ID        string // empty for none
		Event     string
		Args      []string
		Data      string
	}
	for in, want := range map[string]received{
		`0`:                         {Type: codec.Connect, Namespace: "/"},
		`0/admin,`:                  {Type: codec.Connect, Namespace: "/admin"},
		`0/admin`:                   {Type: codec.Connect, Namespace: "/admin"},
		`0/admin?x=1,{"a":1}`:       {Type: codec.Connect, Namespace: "/admin?x=1", Data: `{"a":1}`},
		`0/admin,{"sid":"oSO0"}`:    {Type: codec.Connect, Namespace: "/admin", Data: `{"sid":"oSO0"}`},
		`0{"sid":"a","pid":"b"} `:   {Type: codec.Connect, Namespace: "/", Data: `{"sid":"a","pid":"b"} `},
		`0/a,5{}`:                   {Type: codec.Connect, Namespace: "/a", Data: `{}`},
		`1`:                         {Type: codec.Disconnect, Namespace: "/"},
		`1/admin,`:                  {Type: codec.Disconnect, Namespace: "/admin"},
		`1/admin`:                   {Type: codec.Disconnect, Namespace: "/admin"},
		`2["foo"]`:                  {Type: codec.Event, Namespace: "/", Event: "foo"},
		`2/admin,["bar"]`:           {Type: codec.Event, Namespace: "/admin", Event: "bar"},
		`212["foo"]`:                {Type: codec.Event, Namespace: "/", ID: "12", Event: "foo"},
		`20["foo"]`:                 {Type: codec.Event, Namespace: "/", ID: "0", Event: "foo"},
		`2007["foo"]`:               {Type: codec.Event, Namespace: "/", ID: "7", Event: "foo"},
		`29007199254740991["foo"]`:  {Type: codec.Event, Namespace: "/", ID: "9007199254740991", Event: "foo"},
		`2/admin,13["bar"]`:         {Type: codec.Event, Namespace: "/admin", ID: "13", Event: "bar"},
		`2/,["a"]`:                  {Type: codec.Event, Namespace: "/", Event: "a"},
		"2[ \"a\" ,\t1 , [ ] ]\r\n": {Type: codec.Event, Namespace: "/", Event: "a", Args: []string{"1", "[ ]"}},
		`2["a-b,c",{"d":"5-[,"}]`:   {Type: codec.Event, Namespace: "/", Event: "a-b,c", Args: []string{`{"d":"5-[,"}`}},
		`2["a",1,2,3,4,5]`:          {Type: codec.Event, Namespace: "/", Event: "a", Args: []string{"1", "2", "3", "4", "5"}},
		`2["",null]`:                {Type: codec.Event, Namespace: "/", Args: []string{"null"}},
		`2["a",{"_placeholder":true,"num":9}]`: {
			Type: codec.Event, Namespace: "/", Event: "a", Args: []string{`{"_placeholder":true,"num":9}`},
		},
		`3/admin,13["bar"]`:              {Type: codec.Ack, Namespace: "/admin", ID: "13", Args: []string{`"bar"`}},
		`312[]`:                          {Type: codec.Ack, Namespace: "/", ID: "12"},
		`3["connect"]`:                   {Type: codec.Ack, Namespace: "/", Args: []string{`"connect"`}},
		`30[[],2,3,4]`:                   {Type: codec.Ack, Namespace: "/", ID: "0", Args: []string{"[]", "2", "3", "4"}},
		`4"text"`:                        {Type: codec.ConnectError, Namespace: "/", Data: `"text"`},
		`4/random,{"message":"Invalid"}`: {Type: codec.ConnectError, Namespace: "/random", Data: `{"message":"Invalid"}`},
		`50-["a"]`:                       {Type: codec.Event, Namespace: "/", Event: "a"},
		`5-["a",{"_placeholder":true,"num":0}]`: {
			Type: codec.Event, Namespace: "/", Event: "a", Args: []string{`{"_placeholder":true,"num":0}`},
		},
		`60-/x,7[1]`: {Type: codec.Ack, Namespace: "/x", ID: "7", Args: []string{"1"}},
	} {
		t.Run(in, func(t *testing.T) {
			// B39: count 0 leaves nothing pending, so a second packet follows.
			packets, err := feed(codec.JSONOptions{}, text(in), text(in))
			if err != nil || len(packets) != 2 {
				t.Fatalf("%d packets, %v", len(packets), err)
			}
			for _, r := range packets {
				got := received{Type: r.Type, Namespace: r.Namespace, Event: r.Event, Data: string(r.Data.Bytes())}
				if r.HasID {
					got.ID = strconv.FormatUint(r.ID, 10)
				}
				for i := range r.Args.Len() {
					got.Args = append(got.Args, string(r.Args.Raw(i).Bytes()))
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// C7: numbers are event names too, and stand for what JavaScript would make of
// them.
func TestJSONEventNames(t *testing.T) {
	for in, want := range map[string]string{
		`"1"`: "1", `1`: "1", `1.0`: "1", `1e3`: "1000", `-0`: "0", `-1.50`: "-1.5", `0.000001`: "0.000001",
		`1e-7`: "1e-7", `12e-10`: "1.2e-9", `1e-10`: "1e-10", `123456789012345680000`: "123456789012345680000", `1e21`: "1e+21",
		`9007199254740993`: "9007199254740992", `"a\u0062\n"`: "ab\n", `"\ud83d\ude00"`: "😀", `"é"`: "é",
	} {
		if r := one(t, text("2["+in+",true]")); r.Event != want || r.Args.Len() != 1 {
			t.Errorf("%s is %q with %d arguments, want %q", in, r.Event, r.Args.Len(), want)
		}
	}
}

// A name that repeats is the same to who receives it, whatever came between.
func TestJSONRepeatedNames(t *testing.T) {
	d := codec.JSON(codec.JSONOptions{}).NewDecoder()
	long := strings.Repeat("long", 100)
	for _, name := range []string{"a", "a", "b", "a", long, "a", long, ""} {
		r, ok, err := d.Decode(text(`2/` + name + `,["` + name + `"]`))
		if err != nil || !ok || r.Event != name || r.Namespace != "/"+name {
			t.Errorf("%q arrived as %q in %q: %v", name, r.Event, r.Namespace, err)
		}
	}
}

// C8, B9: each malformed example of sections 2.3 and 2.4 has its text.
func TestJSONRefusesText(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for reason, inputs := range map[string][]string{
		"unknown packet type NaN": {``, `a`, ` 0`, `-1`, `é`, "\x00"},
		"unknown packet type 7":   {`7`},
		"unknown packet type 9":   {`999`},
		"Illegal attachments": {
			`5`, `5woooot`, `51`, `5["a"]`, `5x-["a"]`, `50x1-["a"]`, `51.0-["a"]`, `5 1-["a"]`, `5+1-["a"]`, `6`,
			`51e0-["a"]`, `5/x,1-["a"]`,
		},
		"too many attachments": {`511-["a"]`, `599999999999999999999999999999-["a"]`, `611-`},
		"invalid packet id":    {`29007199254740992["a"]`, `299999999999999999999999999["a"]`, `39007199254740992[]`},
		"invalid payload": {
			// No payload where there must be one, or one where there must be none.
			`2`, `213`, `2/a`, `2/a,`, `2/a,12`, `3`, `35`, `4`, `4/x,`, `50-`, `1{}`, `1null`, `1/admin,{}`, `1 `, `1[]`,
			// The wrong shape.
			`0[]`, `0null`, `0"text"`, `0true`, `0/a,[]`, `4[]`, `41`, `4null`, `2{}`, `2"a"`, `2null`, `3{}`, `3"a"`, `3null`,
			`2[]`, `2[true]`, `2[null]`, `2[{}]`, `2[["a"]]`, `2[[]]`, `51-[{"_placeholder":true,"num":0}]`, `2[1e400]`, `50-[]`,
			// Reserved names.
			`2["connect"]`, `2["connect_error"]`, `2["disconnect",1]`, `2["disconnecting"]`, `2["newListener"]`, `2["removeListener"]`,
			`51-["disconnect"]`, `2["\u0063onnect"]`,
			// No JSON.
			`2["a"`, `2["a",]`, `2["a"]x`, `2["a"]]`, `2["a"],`, `2[`, `2["a" "b"]`, `2[,]`, `2["a\x"]`, `2["a\u12g4"]`, `2["a\u123"]`, `2["a\`,
			"2[\"a\nb\"]", "2[\"a\x00\"]", `2["a",01]`, `2["a",-]`, `2["a",1.]`, `2["a",.5]`, `2["a",1e]`, `2["a",+1]`, `2["a",nul]`, `2["a",True]`,
			`2["a",{"b"}]`, `2["a",{"b":}]`, `2["a",{b:1}]`, `2["a",{"b":1,}]`, `2["a",{,}]`, `2["a",{"b":1`, `2["a",{"b`, `2["a",NaN]`,
			`0{`, `0{}{}`, `0{"a":1}x`, `4"text`, `4"text"x`, `2abc["a"]`,
			// Looser in the reference implementation.
			`2 ["a"]`, "2\t5[\"a\"]", `2/a12["x"]`, `0 {}`, `2 `,
			// Too deep.
			`2["a",` + deep(512) + `]`, `0{"a":` + deep(512) + `}`, `2` + strings.Repeat("[", 1_000_000), `0` + strings.Repeat(`{"":`, 1_000_000),
		},
	} {
		for _, in := range inputs {
			_, err := feed(codec.JSONOptions{}, text(in))
			if err == nil || err.Error() != reason {
				t.Errorf("%.60q: error %v, want %s", in, err, reason)
			}
			if e, ok := errors.AsType[*codec.DecodeError](err); !ok || e.Offset < 0 || e.Offset > len(in) {
				t.Errorf("%.60q: error %#v, want a *DecodeError within the text", in, err)
			}
		}
	}
	if _, err := feed(codec.JSONOptions{}, text(`2["a",`+deep(511)+`]`)); err != nil {
		t.Errorf("512 levels: %v", err)
	}
}

func TestJSONErrorsMatchSentinels(t *testing.T) {
	for _, tt := range []struct {
		frames []codec.Frame
		want   error
	}{
		{[]codec.Frame{text("x")}, codec.ErrUnknownType},
		{[]codec.Frame{text("2")}, codec.ErrInvalidPayload},
		{[]codec.Frame{text(`5["a"]`)}, codec.ErrAttachmentCount},
		{[]codec.Frame{text(`511-["a"]`)}, codec.ErrTooManyAttachments},
		{[]codec.Frame{text(`51-["a",{"_placeholder":true}]`)}, codec.ErrAttachmentIndex},
		{[]codec.Frame{binary("x")}, codec.ErrUnexpectedBinary},
		{[]codec.Frame{text(`51-["a"]`), text(`2["a"]`)}, codec.ErrUnexpectedText},
	} {
		if _, err := feed(codec.JSONOptions{}, tt.frames...); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.frames[0].Data, err, tt.want)
		}
	}
	_, err := feed(codec.JSONOptions{}, text(`2/x,3["a",tru]`))
	if e, ok := errors.AsType[*codec.DecodeError](err); !ok || e.Offset != 10 {
		t.Errorf("the offset of the error is %+v, want 10", e)
	}
}

// Placeholders as they may come: section 3.2.
func TestJSONAttachments(t *testing.T) {
	for name, tt := range map[string]struct {
		frames []codec.Frame
		want   []any
	}{
		"alone":     {[]codec.Frame{text(`51-["a",{"_placeholder":true,"num":0}]`), binary("x")}, []any{[]byte("x")}},
		"empty":     {[]codec.Frame{text(`51-["a",{"_placeholder":true,"num":0}]`), binary("")}, []any{[]byte{}}},
		"ack":       {[]codec.Frame{text(`61-15["bar",{"_placeholder":true,"num":0}]`), binary("x")}, []any{"bar", []byte("x")}},
		"namespace": {[]codec.Frame{text(`51-/admin,7["a",{"_placeholder":true,"num":0}]`), binary("x")}, []any{[]byte("x")}},
		"swapped": {
			[]codec.Frame{text(`52-["a",{"num":1,"_placeholder":true},[{"_placeholder":true,"num":0}]]`), binary("x"), binary("y")},
			[]any{[]byte("y"), []any{[]byte("x")}},
		},
		"twice": {
			[]codec.Frame{text(`51-["a",[{"_placeholder":true,"num":0}],{"_placeholder":true,"num":0}]`), binary("x")},
			[]any{[]any{[]byte("x")}, []byte("x")},
		},
		"not referred to": {[]codec.Frame{text(`51-["a",1]`), binary("x")}, []any{1.0}},
		"more keys": {
			[]codec.Frame{text(`51-["a",{"x":{"_placeholder":true,"num":7},"_placeholder":true,"y":[1],"num":0}]`), binary("x")},
			[]any{[]byte("x")},
		},
		"escaped keys": {[]codec.Frame{text(`51-["a",{"\u005fplaceholder":true,"n\u0075m":0}]`), binary("x")}, []any{[]byte("x")}},
		"odd number":   {[]codec.Frame{text(`51-["a",{"_placeholder":true,"num":0.0e1}]`), binary("x")}, []any{[]byte("x")}},
		"last of two": {
			[]codec.Frame{text(`51-["a",{"_placeholder":false,"num":"x","_placeholder":true,"num":0}]`), binary("x")},
			[]any{[]byte("x")},
		},
		"not true": {
			[]codec.Frame{text(`51-["a",{"_placeholder":1,"num":0},{"_placeholder":"true"}]`), binary("x")},
			[]any{map[string]any{"_placeholder": 1.0, "num": 0.0}, map[string]any{"_placeholder": "true"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, tt.frames...)
			got := make([]any, 0, r.Args.Len())
			for i := range r.Args.Len() {
				var v any
				if err := r.Args.Raw(i).Bind(&v); err != nil {
					t.Fatal(err)
				}
				got = append(got, v)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// B37: num is an index of an attachment, or the packet is refused.
func TestJSONAttachmentIndex(t *testing.T) {
	for _, num := range []string{
		`"0"`, `"splice"`, `-1`, `1`, `0.5`, `1e9`, `1e400`, `null`, `true`, `[]`, `{}`, `99999999999999999999`, `-1e-9`, `4294967296`,
	} {
		_, err := feed(codec.JSONOptions{}, text(`51-["a",[{"_placeholder":true,"num":`+num+`}]]`), binary("x"))
		if err == nil || err.Error() != "illegal attachments" {
			t.Errorf("num %s: error %v, want illegal attachments", num, err)
		}
	}
	if _, err := feed(codec.JSONOptions{}, text(`61-1[{"_placeholder":true}]`), binary("x")); !errors.Is(err, codec.ErrAttachmentIndex) {
		t.Errorf("no num: error %v, want illegal attachments", err)
	}
}

// C11: text while attachments are due, attachments when none are.
func TestJSONWrongTurn(t *testing.T) {
	header := text(`51-["a",{"_placeholder":true,"num":0}]`)
	for want, frames := range map[string][]codec.Frame{
		"got plaintext data when reconstructing a packet":  {header, header},
		"got binary data when not reconstructing a packet": {header, binary("x"), binary("y")},
	} {
		_, err := feed(codec.JSONOptions{}, frames...)
		if e, ok := errors.AsType[*codec.DecodeError](err); !ok || e.Reason != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	// A client of another codec sends bytes first thing, and the log says so.
	_, err := feed(codec.JSONOptions{}, binary("\x83"))
	want := "got binary data when not reconstructing a packet: the client may use another codec"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// C9, B38: the limits.
func TestJSONLimits(t *testing.T) {
	ten := append([]codec.Frame{text(`510-["a"]`)}, slices.Repeat([]codec.Frame{binary("x")}, 10)...)
	header := `52-["a",{"_placeholder":true,"num":0}]`
	for name, tt := range map[string]struct {
		options codec.JSONOptions
		frames  []codec.Frame
		want    error
	}{
		"ten attachments":       {codec.JSONOptions{}, ten, nil},
		"three for two":         {codec.JSONOptions{MaxAttachments: 2}, []codec.Frame{text(`53-["a"]`)}, codec.ErrTooManyAttachments},
		"two for two":           {codec.JSONOptions{MaxAttachments: 2}, []codec.Frame{text(`52-["a"]`), binary(""), binary("")}, nil},
		"one for none":          {codec.JSONOptions{MaxAttachments: -1}, []codec.Frame{text(`51-["a"]`)}, codec.ErrTooManyAttachments},
		"none for none":         {codec.JSONOptions{MaxAttachments: -1}, []codec.Frame{text(`50-["a"]`)}, nil},
		"depth 3 of 3":          {codec.JSONOptions{MaxDepth: 3}, []codec.Frame{text(`2["a",[{}]]`)}, nil},
		"depth 4 of 3":          {codec.JSONOptions{MaxDepth: 3}, []codec.Frame{text(`2["a",[{"b":[]}]]`)}, codec.ErrInvalidPayload},
		"pending bytes":         {codec.JSONOptions{MaxPendingBytes: 50}, []codec.Frame{text(header), binary("123456"), binary("123456")}, nil},
		"too many of them":      {codec.JSONOptions{MaxPendingBytes: 50}, []codec.Frame{text(header), binary("123456"), binary("1234567")}, codec.ErrPendingTooLarge},
		"too many in the text":  {codec.JSONOptions{MaxPendingBytes: 20}, []codec.Frame{text(header)}, codec.ErrPendingTooLarge},
		"text without anything": {codec.JSONOptions{MaxPendingBytes: 20}, []codec.Frame{text(`2["a","` + strings.Repeat("x", 100) + `"]`)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			packets, err := feed(tt.options, tt.frames...)
			if !errors.Is(err, tt.want) || (len(packets) == 1) != (err == nil) {
				t.Errorf("%d packets, %v, want %v", len(packets), err, tt.want)
			}
		})
	}
	// The largest depth is one that encoding/json can still decode.
	deep := text(`2["a",` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `]`)
	packets, err := feed(codec.JSONOptions{MaxDepth: 1 << 30}, deep)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := packets[0].Args.Bind(&v); err != nil {
		t.Error(err)
	}
	if _, err := feed(codec.JSONOptions{MaxDepth: 1 << 30}, text(`2[`+string(deep.Data[1:])+`]`)); err == nil {
		t.Error("10001 levels were taken")
	}
}

// The errors of Bind say which argument and what was wrong with it.
func TestArgsBindErrors(t *testing.T) {
	r := one(t, text(`2["a","text",{"n":"x"}]`))
	var (
		s string
		v struct {
			N int `json:"n"`
		}
	)
	err := r.Args.Bind(&s, &v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok || e.Field != "n" || !strings.HasPrefix(err.Error(), "argument 1: ") {
		t.Errorf("error %v", err)
	}
	for _, dst := range []any{nil, s, (*string)(nil), (*json.RawMessage)(nil), (*codec.Raw)(nil)} {
		if err := r.Args.Raw(0).Bind(dst); err == nil {
			t.Errorf("bound to a %T", dst)
		}
	}
}
