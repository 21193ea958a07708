package codec_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/upshift-go/upshift/codec"
)

const (
	packedDate   = "\xd7\x00\x00\x00\x00\xe8\xd4\xa5\x10\x00"
	packedBytes  = "\xc4\x05bytes"
	packedBuffer = "\xc7\x05\x00bytes"
)

// What JavaScript sends arrives in an any as the documented type.
func TestMsgPackBindsAny(t *testing.T) {
	for in, want := range map[string]any{
		"\xc0": nil, "\xd4\x00\x00": nil, "\xd4\x00\x01": nil, "\xc2": false, "\xc3": true,
		"\x05": int64(5), "\xff": int64(-1), "\xcc\xff": int64(255), "\xd0\x05": int64(5), "\xd1\xff\x00": int64(-256),
		"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff": int64(math.MaxInt64), "\xcf\x80\x00\x00\x00\x00\x00\x00\x00": uint64(1 << 63),
		"\xd3\x80\x00\x00\x00\x00\x00\x00\x00": int64(math.MinInt64), "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00": 1.0, "\xca\x3f\xc0\x00\x00": 1.5,
		"\xa1x": "x", packedBytes: []byte("bytes"), packedBuffer: []byte("bytes"), "\xc4\x00": []byte{}, "\xc7\x00\x00": []byte{},
		"\xc8\x00\x01\x00x": []byte("x"), "\xc9\x00\x00\x00\x01\x00x": []byte("x"), "\xc7\x01\x00\x00": []byte{0}, "\xc7\x08\x0012345678": []byte("12345678"),
		"\xd8\x001234567812345678": []byte("1234567812345678"),
		packedDate:                 time.UnixMilli(1e12).UTC(), "\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff": time.UnixMilli(-1).UTC(),
		"\xd4\x01x": codec.MsgPackExt{Type: 1, Data: []byte("x")}, "\xc7\x00\xff": codec.MsgPackExt{Type: -1, Data: []byte{}},
		"\x90": []any{}, "\x80": map[string]any{}, "\x92\xc0\xd4\x00\x00": []any{nil, nil},
		"\x82\xa1a\xd4\x00\x00\xa1a\x91\x81\xa0" + packedDate: map[string]any{"a": []any{map[string]any{"": time.UnixMilli(1e12).UTC()}}},
	} {
		if diff := cmp.Diff(want, bound[any](t, unpackedArgs(t, in))); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

// tiny is a byte by another name.
type tiny byte

// holder has a field for much that can be bound.
type holder struct {
	Text    string
	Small   int8
	Count   uint16
	Ratio   float32
	At      time.Time
	When    *time.Time
	Data    []byte
	Four    [4]byte
	Tiny    [2]tiny
	List    []int
	Pair    [2]string
	ByName  map[string]named
	ByNum   map[int]bool
	ByText  map[netip.Addr]int
	Any     any
	Inner   *holder
	Raw     codec.Raw
	JSON    json.RawMessage
	Packed  msgpack.RawMessage
	Addr    netip.Addr
	Own     optional
	Coder   *coder
	Msg     marshaller
	Number  json.Number
	Ext     codec.MsgPackExt
	Quoted  int64  `json:",string"`
	Renamed string `json:"new_name"`
	base
	*inner2
	Shown fmt.Stringer
}

type inner2 struct{ Deep2 []byte }

func TestMsgPackBinds(t *testing.T) {
	at := time.UnixMilli(1e12).UTC()
	for _, tt := range []struct {
		in   string
		want holder
	}{
		{"\xa4Text\xa1x", holder{Text: "x"}},
		{"\xa4tEXT\xa1x", holder{Text: "x"}}, // as in encoding/json
		{"\xa4Text" + packedDate, holder{Text: "2001-09-09T01:46:40.000Z"}},
		{"\xa5Small\xd0\x80", holder{Small: -128}},
		{"\xa5Small\xcb\x40\x14\x00\x00\x00\x00\x00\x00", holder{Small: 5}},
		{"\xa5Count\xcd\xff\xff", holder{Count: 65535}},
		{"\xa5Count\xd1\x7f\xff", holder{Count: 32767}},
		{"\xa5Ratio\x03", holder{Ratio: 3}},
		{"\xa5Ratio\xff", holder{Ratio: -1}},
		{"\xa5Ratio\xca\x3f\xc0\x00\x00", holder{Ratio: 1.5}},
		{"\xa2At" + packedDate, holder{At: at}},
		{"\xa2At\xb42001-09-09T01:46:40Z", holder{At: at}},
		{"\xa2At\xc0", holder{}},
		{"\xa4When" + packedDate, holder{When: &at}},
		{"\xa4When\xd4\x00\x00", holder{}},
		{"\xa4Data" + packedBytes, holder{Data: []byte("bytes")}},
		{"\xa4Data" + packedBuffer, holder{Data: []byte("bytes")}},
		{"\xa4Data\xa8Ynl0ZXM=", holder{Data: []byte("bytes")}},
		{"\xa4Data\xc0", holder{}},
		{"\xa4Four\xc4\x0212", holder{Four: [4]byte{'1', '2'}}},
		{"\xa4Four\xc4\x05\x01\x02\x03\x04\x05", holder{Four: [4]byte{1, 2, 3, 4}}},
		{"\xa4Four\x91\x07", holder{Four: [4]byte{7}}},
		{"\xa4Tiny\xc4\x0212", holder{Tiny: [2]tiny{'1', '2'}}},
		{"\xa4List\x93\x01\xc0\x03", holder{List: []int{1, 0, 3}}},
		{"\xa4List\x90", holder{List: []int{}}},
		{"\xa4Pair\x93\xa1a\xa1b\x81\xa1c\xc0", holder{Pair: [2]string{"a", "b"}}},
		{"\xa6ByName\x82\xa1k" + packedBytes + "\xa1n\xc0", holder{ByName: map[string]named{"k": named("bytes"), "n": nil}}},
		{"\xa5ByNum\x81\xa2-5\xc3", holder{ByNum: map[int]bool{-5: true}}},
		{"\xa6ByText\x81\xa3::1\x05", holder{ByText: map[netip.Addr]int{netip.IPv6Loopback(): 5}}},
		{"\xa3Any\x92\x01\xd4\x00\x00", holder{Any: []any{int64(1), nil}}},
		{"\xa5Inner\x82\xa1?\x81\xa1?\xc0\xa4Text\xa1x", holder{Inner: &holder{Text: "x"}}},
		{"\xa4JSON\x82\xa1a" + packedBytes + "\xa1b\x94" + packedDate + "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xd4\x05x", holder{
			JSON: json.RawMessage(`{"a":"Ynl0ZXM=","b":["2001-09-09T01:46:40.000Z",null,1.5,{"type":5,"data":"eA=="}]}`),
		}},
		{"\xa6Packed\x92\xd4\x00\x00\xca\x3f\xc0\x00\x00", holder{Packed: msgpack.RawMessage("\x92\xd4\x00\x00\xca\x3f\xc0\x00\x00")}},
		{"\xa4Addr\xa3::1", holder{Addr: netip.IPv6Loopback()}},
		{"\xa4Addr\xc0", holder{}},
		{"\xa3Own" + packedBytes, holder{Own: optional{Value: []byte("bytes"), Set: true}}},
		{"\xa3Own\xd4\x00\x00", holder{Own: optional{Set: true}}}, // as in encoding/json
		{"\xa5Coder\x92\x05\xd4\x00\x00", holder{Coder: &coder{N: 5}}},
		{"\xa5Coder\xc0", holder{}},
		{"\xa3Msg\x91\x01", holder{Msg: marshaller{Data: []byte("\x91\x01")}}},
		{"\xa3Msg\xc0", holder{}},
		{"\xa6Number\xcf\xff\xff\xff\xff\xff\xff\xff\xff", holder{Number: "18446744073709551615"}},
		{"\xa6Number\xa11", holder{Number: "1"}},
		{"\xa3Ext\xd4\x05x", holder{Ext: codec.MsgPackExt{Type: 5, Data: []byte("x")}}},
		{"\xa6Quoted\xa2-7", holder{Quoted: -7}},
		{"\xa6Quoted\x07", holder{Quoted: 7}},
		{"\xa8new_name\xa1x", holder{Renamed: "x"}},
		{"\xa2id\x07", holder{base: base{ID: 7}}},
		{"\xd9\x20" + strings.Repeat("x", 32) + "\x92\x01\x02", holder{}},
	} {
		got := bound[holder](t, unpackedArgs(t, "\x81"+tt.in))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(holder{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b codec.Raw) bool { return string(a.Bytes()) == string(b.Bytes()) })); diff != "" {
			t.Errorf("%q: %s", tt.in, diff)
		}
	}

	raw := bound[holder](t, unpackedArgs(t, "\x81\xa3Raw\x91"+packedDate)).Raw
	var list []time.Time
	if err := raw.Bind(&list); err != nil || !list[0].Equal(at) {
		t.Errorf("bound %v, %v", list, err)
	}
	if text, err := json.Marshal(raw); err != nil || string(text) != `["2001-09-09T01:46:40.000Z"]` {
		t.Errorf("marshalled to %s, %v", text, err)
	}
	// What is there already is kept, or decoded into.
	v := holder{Text: "kept", ByName: map[string]named{"kept": nil}, Inner: &holder{Text: "kept"}, inner2: &inner2{}, List: []int{1, 2}}
	target := base{Name: "kept"}
	v.Any = &target
	inside := v.Inner
	if err := unpackedArgs(t, "\x85\xa5Deep2"+packedBytes+"\xa6ByName\x81\xa1k\xc0\xa5Inner\x81\xa5Small\x05\xa3Any\x81\xa2id\x05\xa4List\x91\x09").Bind(&v); err != nil {
		t.Fatal(err)
	}
	if v.Text != "kept" || len(v.ByName) != 2 || inside.Small != 5 || inside.Text != "kept" || string(v.Deep2) != "bytes" ||
		target != (base{ID: 5, Name: "kept"}) || len(v.List) != 1 {
		t.Errorf("bound %+v", v)
	}
}

// What does not fit is an error that says where, and no panic.
func TestMsgPackRefusesToBind(t *testing.T) {
	for in, where := range map[string]string{
		"\xa4Text\x05": "Text", "\xa4Text" + packedBytes: "Text", "\xa4Text\xc3": "Text",
		"\xa5Small\xcc\x80": "Small", "\xa5Small\xd1\xff\x00": "Small", "\xa5Small\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00": "Small",
		"\xa5Small\xa15": "Small", "\xa5Small\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00": "Small",
		"\xa5Count\xff": "Count", "\xa5Count\xce\x00\x01\x00\x00": "Count", "\xa5Count\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00": "Count",
		"\xa5Ratio\xcb\x7f\xef\xff\xff\xff\xff\xff\xff": "Ratio", "\xa5Ratio\xa0": "Ratio",
		"\xa2At\x05": "At", "\xa2At\xa1x": "At", "\xa2At\x80": "At", "\xa2At\xd4\x05x": "At",
		"\xa4Data\x05": "Data", "\xa4Data\xa1-": "Data", "\xa4Data\x80": "Data", "\xa4List" + packedBytes: "List", "\xa4List\x92\x01\xa0": "List: element 1",
		"\xa4Pair\x80": "Pair", "\xa6ByName\x90": "ByName", "\xa6ByName\x81\xa1k\x05": "ByName: element \"k\"", "\xa5ByNum\x81\xa1k\xc3": "ByNum", "\xa6ByText\x81\xa1k\x01": "ByText",
		"\xa5Inner\x90": "Inner", "\xa5Inner\x81\xa5Inner\x81\xa4Text\x80": "Inner: Inner: Text", "\xa4Addr\x05": "Addr", "\xa4Addr\xa1x": "Addr",
		"\xa3Own\x80": "Own", "\xa5Coder\xa1x": "Coder", "\xa3Ext\x05": "Ext", "\xa6Quoted\xa1x": "Quoted", "\xa6Number\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00": "Number",
		"\xa5Shown\xa1x": "Shown", "\xa5Shown\x80": "Shown", "\xa5Deep2\xa1x": "Deep2",
	} {
		var v holder
		err := unpackedArgs(t, "\x81"+in).Bind(&v)
		if want := "argument 0: codec: " + where; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s…", in, err, want)
		}
	}
	// What a peer has written is not quoted at length, nor how deep it nests.
	type tree []tree
	long := "\xda\x40\x00" + strings.Repeat("x", 1<<14)
	for in, dst := range map[string]any{
		"\x81" + long + "\x80": &map[string]int{}, "\x81" + long + "\x01": &map[int]int{}, long: &time.Time{},
		strings.Repeat("\x91", 500) + "\x05": &tree{},
		"\xff":                               new(uint64),
	} {
		err := unpackedArgs(t, in).Bind(dst)
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("%T: %.1000v", dst, err)
		}
	}
	args := unpackedArgs(t, "\xa1x", packedBytes)
	for _, dst := range []any{nil, "", (*string)(nil), (*[]byte)(nil), (*any)(nil), holder{}} {
		for i := range args.Len() {
			if err := args.Raw(i).Bind(dst); err == nil {
				t.Errorf("argument %d was bound to a %T", i, dst)
			}
		}
	}
	// What contains itself does not make Bind run for ever.
	type loop *loop
	var endless loop
	if err := args.Bind(&endless); err == nil {
		t.Error("bound to a pointer without end")
	}
	var self any
	self = &self
	if err := args.Bind(self); err == nil {
		t.Error("bound to a pointer to itself")
	}
}

// What is bound is memory of its own.
func TestMsgPackBindsCopies(t *testing.T) {
	args := unpackedArgs(t, packedBytes)
	first := bound[[]byte](t, args)
	clear(first)
	if again := bound[[]byte](t, args); string(again) != "bytes" {
		t.Errorf("bound again to %q", again)
	}
	clear(bound[any](t, args).([]byte))
	clear(bound[msgpack.RawMessage](t, args))
	clear(bound[marshaller](t, args).Data)
	if again := bound[any](t, args).([]byte); string(again) != "bytes" {
		t.Errorf("bound again to %q", again)
	}
}
