package codec_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
)

const placeholder0 = `{"_placeholder":true,"num":0}`

// attached returns the arguments of an event with the attachment "bytes".
func attached(t testing.TB, args string) codec.Args {
	t.Helper()
	return one(t, text(`51-["a",`+args+`]`), binary("bytes")).Args
}

type (
	named     []byte
	letter    byte
	letters   []letter
	inner     struct{ Deep []byte }
	recursive struct {
		Data []byte
		Next *recursive
		List []recursive
	}
)

// optional unmarshals itself and keeps what it got where it can be seen.
type optional struct {
	Value []byte
	Set   bool
}

func (o *optional) UnmarshalJSON(data []byte) error {
	o.Set = true
	return json.Unmarshal(data, &o.Value)
}

// bound returns what an argument binds to.
func bound[T any](t testing.TB, args codec.Args) T {
	t.Helper()
	var v T
	if err := args.Bind(&v); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	return v
}

func TestJSONBindsAttachments(t *testing.T) {
	data := []byte("bytes")
	alone := attached(t, placeholder0)
	equal := func(name string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	equal("[]byte", bound[[]byte](t, alone), data)
	equal("named", bound[named](t, alone), named(data))
	equal("named elements", bound[letters](t, alone), letters{'b', 'y', 't', 'e', 's'})
	equal("pointer", bound[*[]byte](t, alone), &data)
	equal("any", bound[any](t, alone), any(data))
	equal("RawMessage", string(bound[json.RawMessage](t, alone)), placeholder0)
	equal("own method", bound[optional](t, alone), optional{Value: data, Set: true})

	inList := attached(t, `[`+placeholder0+`,null,"text",["x",`+placeholder0+`]]`)
	equal("[]any", bound[[]any](t, inList), []any{data, nil, "text", []any{"x", data}})
	equal("array", bound[[1]named](t, inList), [1]named{named(data)})
	equal("[]RawMessage", bound[[]json.RawMessage](t, attached(t, `[ 1 ,[ `+placeholder0+`]]`)),
		[]json.RawMessage{json.RawMessage(`1`), json.RawMessage(`[ ` + placeholder0 + `]`)})

	inObject := attached(t, `{"a":`+placeholder0+`,"b":`+placeholder0+`}`)
	equal("map", bound[map[string]named](t, inObject), map[string]named{"a": named(data), "b": named(data)})
	equal("map of any", bound[map[string]any](t, inObject), map[string]any{"a": data, "b": data})
	equal("map of optional", bound[map[string]optional](t, inObject), map[string]optional{"a": {data, true}, "b": {data, true}})

	nested := attached(t, `{"Data":`+placeholder0+`,"Next":{"List":[{},{"Data":`+placeholder0+`}]}}`)
	equal("recursive", bound[recursive](t, nested), recursive{Data: data, Next: &recursive{List: []recursive{{}, {Data: data}}}})

	type outer struct {
		*inner
		Skipped []byte `json:"-"`
		Float   []float64
	}
	embedded := outer{inner: &inner{}} // encoding/json cannot make this one
	if err := attached(t, `{"Deep":`+placeholder0+`,"Float":[1]}`).Bind(&embedded); err != nil {
		t.Fatal(err)
	}
	equal("embedded", embedded.Deep, data)

	// What an interface holds already is decoded into, as by encoding/json.
	target := inner{}
	var held any = &target
	if err := attached(t, `{"Deep":`+placeholder0+`}`).Bind(&held); err != nil {
		t.Fatal(err)
	}
	equal("pointer in any", target.Deep, data)
}

// A Raw inside a larger value keeps its attachments.
func TestJSONBindsRawInside(t *testing.T) {
	v := bound[struct{ A, B codec.Raw }](t, attached(t, `{"A":[`+placeholder0+`],"B":9007199254740993}`))
	var list [][]byte
	if err := v.A.Bind(&list); err != nil || len(list) != 1 || string(list[0]) != "bytes" {
		t.Errorf("bound %q, %v", list, err)
	}
	if string(v.B.Bytes()) != "9007199254740993" {
		t.Errorf("text is %s", v.B.Bytes())
	}
	out, err := json.Marshal(v)
	if want := `{"A":["Ynl0ZXM="],"B":9007199254740993}`; err != nil || string(out) != want {
		t.Errorf("marshalled to %s, %v, want %s", out, err, want)
	}
}

// Bytes do not become text, and no trace of how they are passed through
// encoding/json is left, not even beside an error.
func TestJSONRefusesBytesAsText(t *testing.T) {
	type words struct {
		First, Second string
		Number        int
	}
	for name, args := range map[string]string{
		"alone": `{"First":` + placeholder0 + `}`,
		"after": `{"Number":"x","First":` + placeholder0 + `,"Second":"fine"}`,
	} {
		var w words
		err := attached(t, args).Bind(&w)
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			t.Errorf("%s: error %v", name, err)
		}
		if w.First != "" {
			t.Errorf("%s: bound to %q", name, w.First)
		}
	}
	var s string
	if err := attached(t, placeholder0).Bind(&s); err == nil || s != "" {
		t.Errorf("bound to %q, %v", s, err)
	}
	for _, dst := range []any{nil, s, (*[]byte)(nil), (*any)(nil), (*json.RawMessage)(nil)} {
		if err := attached(t, placeholder0).Raw(0).Bind(dst); err == nil {
			t.Errorf("bound to a %T", dst)
		}
	}
}

// A destination that contains itself does not make Bind run for ever.
func TestJSONBindsIntoRing(t *testing.T) {
	ring := &recursive{}
	ring.Next = ring
	if err := attached(t, `{"Data":`+placeholder0+`}`).Bind(ring); err == nil {
		t.Error("no error")
	}
}

// Args are written as JSON for logs.
func TestArgsMarshalJSON(t *testing.T) {
	for _, tt := range []struct {
		args codec.Args
		want string
	}{
		{codec.Args{}, `[]`},
		{one(t, text(`2["a",1,{"b" : "c"},null]`)).Args, `[1,{"b":"c"},null]`},
		{attached(t, `{"k":`+placeholder0+`},2`), `[{"k":"Ynl0ZXM="},2]`},
	} {
		if out, err := json.Marshal(tt.args); err != nil || string(out) != tt.want {
			t.Errorf("got %s, %v, want %s", out, err, tt.want)
		}
	}
}

// Size counts what a queue has to count: text, attachments that nothing refers
// to as well, and what many arguments cost.
func TestArgsSize(t *testing.T) {
	if got := one(t, text(`2["a"]`)).Args.Size(); got != 0 {
		t.Errorf("no arguments: %d bytes", got)
	}
	if got := one(t, text(`2["a","1234"]`)).Args.Size(); got != 6 {
		t.Errorf("six bytes of text: %d bytes", got)
	}
	large := strings.Repeat("x", 1000)
	if got := one(t, text(`52-["a",1]`), binary(large), binary(large)).Args.Size(); got != 2001 {
		t.Errorf("2000 bytes attached to 1: %d bytes", got)
	}
	if got := one(t, text(`2["a"`+strings.Repeat(",1", 100)+`]`)).Args.Size(); got < 500 {
		t.Errorf("100 arguments: %d bytes", got)
	}
}

// shout is a codec's Unmarshaler from elsewhere: values are text in capitals,
// or bytes after a "#".
type shout struct{}

func (shout) Unmarshal(data []byte, dst any) error {
	switch d := dst.(type) {
	case *string:
		*d = strings.ToLower(string(data))
	case *any:
		*d = strings.ToLower(string(data))
		if data[0] == '#' {
			*d = map[string]any{"bytes": append([]byte(nil), data[1:]...)}
		}
	default:
		return errors.New("only strings")
	}
	return nil
}

// A codec elsewhere can make Args and Raws; ours sends them on.
func TestArgsOfAnotherCodec(t *testing.T) {
	source := []byte("ONE")
	args := codec.NewArgs(shout{}, source, nil, []byte("TWO"), []byte("#x"), []byte("LAST"))
	raw := codec.NewRaw(shout{}, source)
	copy(source, "XXX")
	var first, second, last string
	if err := args.Bind(&first, nil, &second, nil, &last); err != nil || first != "one" || second != "two" || last != "last" {
		t.Errorf("bound %q %q %q, %v", first, second, last, err)
	}
	if err := raw.Bind(&first); err != nil || first != "one" {
		t.Errorf("bound %q, %v", first, err)
	}
	if out, err := json.Marshal(raw); err != nil || string(out) != `"one"` {
		t.Errorf("marshalled to %s, %v", out, err)
	}
	bytes := args.Raw(3)
	frames := mustEncode(t, codec.JSONOptions{}, event("a", raw, bytes, []codec.Raw{raw, bytes}))
	if want := `52-["a","one",{"bytes":` + placeholder0 + `},["one",{"bytes":{"_placeholder":true,"num":1}}]]`; string(frames[0].Data) != want {
		t.Errorf("sent on as %s, want %s", frames[0].Data, want)
	}
}
