package codec_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
)

// A plain struct is read and written without encoding/json, in all but odd
// cases.
type plain struct {
	Text  string `json:"text"`
	Small int8
	Big   uint64  `json:"big"`
	Ratio float64 `json:"ratio"`
	On    bool    `json:"on"`
	Inner struct {
		Text string
		Int  int `json:"int"`
	} `json:"inner"`
	Skipped string `json:"-"`
	hidden  int    //nolint:unused // it is not to be written
}

// FuzzPlain: what a plain struct is bound to, and whether that is an error, is
// what encoding/json says; and it is written so that it can be read.
func FuzzPlain(f *testing.F) {
	for _, text := range []string{
		`{"text":"a","Small":-128,"big":18446744073709551615,"ratio":-1.5e3,"on":true,"inner":{"Text":"☃","int":-1}}`,
		` { "inner" : { } , "on" : false , "text" : "\"\\\u2603\ud83d\ude42" } `,
		`{"TEXT":"another case","text":"again","text":"and again"}`, `{"unknown":[1,{"a":null}],"big":1}`,
		`{"text":null,"Small":null,"inner":null,"on":null,"ratio":null}`, `{"Small":128}`, `{"Small":1.0}`, `{"big":-1}`, `{"Small":1e1}`,
		`{"text":1}`, `{"on":"true"}`, `{"ratio":"1"}`, `{"inner":[]}`, `{"ratio":1e999}`, `[]`, `null`, `"text"`, `{}`, `{"te\u0078t":"x"}`,
		`{"ratio":-0,"big":0,"Small":-0}`, `{"Skipped":"x","-":"y","hidden":3}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok, err := codec.JSON(codec.JSONOptions{}).NewDecoder().Decode(codec.Frame{Data: []byte(`2["e",` + text + `]`)})
		if err != nil || !ok || r.Args.Len() != 1 {
			return // no JSON, or several values
		}
		var got, want plain
		errGot, errWant := r.Args.Bind(&got), json.Unmarshal([]byte(text), &want)
		if (errGot == nil) != (errWant == nil) || got != want {
			t.Fatalf("%s is bound to %+v (%v), want %+v (%v)", text, got, errGot, want, errWant)
		}
		if again := plainAgain(t, got); again != got {
			t.Fatalf("%+v was written and read as %+v", got, again)
		}
	})
}

// plainAgain writes a plain struct and reads it with encoding/json.
func plainAgain(t *testing.T, v plain) (again plain) {
	t.Helper()
	frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, &codec.Packet{Type: codec.Event, Event: "e", Args: []any{v, &v}})
	if err != nil {
		t.Fatal(err)
	}
	event := []any{nil, &again, new(plain)}
	if err := json.Unmarshal(frames[0].Data[1:], &event); err != nil {
		t.Fatalf("%s: %v", frames[0].Data, err)
	}
	if pointed, ok := event[2].(*plain); !ok || *pointed != again {
		t.Fatalf("%s: a pointer is not what it points to", frames[0].Data)
	}
	return again
}

// Structs that are not plain, or hold what JSON has no word for, are left to
// encoding/json, and fare no worse.
func TestAlmostPlain(t *testing.T) {
	type (
		omits struct {
			A int `json:",omitempty"`
		}
		quotes struct {
			A int `json:",string"`
		}
		embeds   struct{ omits }
		points   struct{ A *int }
		numbered struct{ N json.Number }
		odd      struct {
			A int `json:"a b"`
		}
		twice struct {
			A int `json:"x"`
			B int `json:"X"`
		}
	)
	number := 1
	for _, v := range []any{
		omits{},
		omits{1},
		quotes{2},
		embeds{omits{3}},
		points{},
		points{&number},
		numbered{"1.50"},
		odd{4},
		twice{5, 6},
		optional{Value: []byte("x")},
		struct{}{},
		struct{ a int }{7},
	} {
		frames, err := codec.JSON(codec.JSONOptions{}).Encode(nil, &codec.Packet{Type: codec.Event, Event: "e", Args: []any{v}})
		if err != nil {
			t.Errorf("%#v: %v", v, err)
			continue
		}
		if _, ok := v.(optional); ok {
			continue // has bytes, which are not JSON here
		}
		plainText, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(frames[0].Data), `2["e",`+string(plainText)+`]`; got != want {
			t.Errorf("%#v is written as %s, want %s", v, got, want)
		}
		got := reflect.New(reflect.TypeOf(v))
		if err := one(t, frames...).Args.Bind(got.Interface()); err != nil || !cmp.Equal(got.Elem().Interface(), v, cmp.Exporter(func(reflect.Type) bool { return true })) {
			if v != any(struct{ a int }{7}) { // which JSON does not keep
				t.Errorf("%s is bound to %#v, %v", plainText, got.Elem(), err)
			}
		}
	}
	_, err := codec.JSON(codec.JSONOptions{}).Encode(nil, &codec.Packet{Type: codec.Event, Event: "e", Args: []any{plain{Ratio: math.NaN()}}})
	if err == nil {
		t.Error("NaN was written")
	}
	var nothing *plain
	if err := one(t, text(`2["e",{}]`)).Args.Bind(nothing); err == nil {
		t.Error("bound to nil")
	}
}
