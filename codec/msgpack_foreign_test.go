package codec_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// B34: what was received with the one codec is sent on with the other, bytes,
// times and large numbers included.
func TestJSONArgsToMsgPack(t *testing.T) {
	args := one(t, text(`52-["a","text",{"n":18446744073709551615,"f":1.50,"d":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0},null,1e3]`),
		binary("first"), binary("second")).Args
	plain := one(t, text(`2["a",9007199254740993,"é",{"_placeholder":true,"num":0}]`)).Args
	want := []string{
		"\xa4text", "\xc4\x05first", "\xc0", "\xcd\x03\xe8",
		"\xcf\x00\x20\x00\x00\x00\x00\x00\x01", "\xa2\xc3\xa9",
	}
	got := unpacked(t, packed(t, event("a", args.Raw(0), args.Raw(2), args.Raw(3), args.Raw(4), plain.Raw(0), plain.Raw(1)))).Args
	for i, want := range want {
		if got := string(got.Raw(i).Bytes()); got != want {
			t.Errorf("argument %d is %q, want %q", i, got, want)
		}
	}
	type object struct {
		N uint64
		F float64
		D [][]byte
	}
	check := func(name string, raw codec.Raw) {
		t.Helper()
		var v object
		if err := raw.Bind(&v); err != nil || v.N != 1<<64-1 || v.F != 1.5 || len(v.D) != 1 || string(v.D[0]) != "second" {
			t.Errorf("%s: bound %+v, %v", name, v, err)
		}
	}
	all := unpacked(t, packed(t, event("a", "before", args, plain))).Args
	if all.Len() != 9 {
		t.Fatalf("%d arguments", all.Len())
	}
	check("args", all.Raw(2))
	var fake map[string]any
	if err := all.Raw(8).Bind(&fake); err != nil || fake["_placeholder"] != true {
		t.Errorf("what only looks like a placeholder became %v, %v", fake, err)
	}
	inside := unpacked(t, packed(t, event("a", map[string]any{"raw": args.Raw(1), "args": &args, "none": codec.Raw{}}))).Args
	v := bound[struct {
		Raw  codec.Raw
		Args []codec.Raw
		None any
	}](t, inside)
	check("raw inside", v.Raw)
	check("args inside", v.Args[1])
	if v.None != nil {
		t.Errorf("an absent value became %v", v.None)
	}
}

func TestMsgPackArgsToJSON(t *testing.T) {
	args := unpackedArgs(t, "\xa4text", "\x81\xa1d\x92"+packedBuffer+packedBytes, packedBytes, "\xd4\x00\x00", packedDate,
		"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "\xd4\x05x")
	num := func(n string) string { return `{"_placeholder":true,"num":` + n + `}` }
	for _, tt := range []struct {
		want string
		arg  any
	}{
		{`2["a","text"]`, args.Raw(0)},
		{`52-["a",{"d":[` + num("0") + `,` + num("1") + `]}] + bytes + bytes`, args.Raw(1)},
		{`51-["a",` + num("0") + `] + bytes`, args.Raw(2)},
		{`2["a",null]`, args.Raw(3)},
		{`2["a","2001-09-09T01:46:40Z"]`, args.Raw(4)},
		{`2["a",18446744073709551615]`, args.Raw(5)},
		{`2["a",1]`, args.Raw(6)},
		{`51-["a",{"type":5,"data":` + num("0") + `}] + x`, args.Raw(7)},
		{`51-["a",[{"k":` + num("0") + `},null]] + bytes`, []any{map[string]codec.Raw{"k": args.Raw(2)}, &codec.Raw{}}},
		{
			`54-["a","text",{"d":[` + num("0") + `,` + num("1") + `]},` + num("2") + `,null,"2001-09-09T01:46:40Z",18446744073709551615,1,{"type":5,"data":` + num("3") + `}]` +
				` + bytes + bytes + bytes + x`, args,
		},
		{`51-["a",{"Args":[` + num("0") + `,"text"]}] + bytes`, struct{ Args codec.Args }{unpackedArgs(t, packedBytes, "\xa4text")}},
	} {
		if got := wire(t, event("a", tt.arg)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	// B38: the JSON wire has limits of its own.
	if _, err := codec.JSON(codec.JSONOptions{MaxAttachments: 1}).Encode(nil, event("a", args.Raw(1))); !errors.Is(err, codec.ErrTooManyAttachments) {
		t.Errorf("two attachments: %v", err)
	}
	if out, err := json.Marshal(args); err != nil ||
		string(out) != `["text",{"d":["Ynl0ZXM=","Ynl0ZXM="]},"Ynl0ZXM=",null,"2001-09-09T01:46:40.000Z",18446744073709551615,1,{"type":5,"data":"eA=="}]` {
		t.Errorf("marshalled to %s, %v", out, err)
	}
	// The payload of a CONNECT.
	auth := unpacked(t, "\x83\xa4type\x00\xa4data\x81\xa5token\xa1x\xa3nsp\xa1/").Data
	if got := wire(t, &codec.Packet{Type: codec.Connect, Data: auth}); got != `0{"token":"x"}` {
		t.Errorf("got %s", got)
	}
	auth = one(t, text(`0{"token":"x"}`)).Data
	if got, want := packed(t, &codec.Packet{Type: codec.Connect, Data: auth}), "\x83\xa4type\x00\xa4data\x81\xa5token\xa1x\xa3nsp\xa1/"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Values of a codec elsewhere go through an any.
func TestArgsOfAnotherCodecToMsgPack(t *testing.T) {
	args := codec.NewArgs(shout{}, []byte("ONE"), []byte("#x"))
	const want = "\x83\xa4type\x02\xa4data\x94\xa1a\xa3one\x81\xa5bytes\xc4\x01x\x91\xa3one\xa3nsp\xa1/"
	if got := packed(t, event("a", args, []codec.Raw{args.Raw(0)})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, event("a", codec.NewRaw(unreadable{}, nil))); !errors.Is(err, errMarshal) {
		t.Errorf("error %v, want %v", err, errMarshal)
	}
}

type unreadable struct{}

func (unreadable) Unmarshal([]byte, any) error { return errMarshal }
