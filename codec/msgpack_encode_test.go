package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/upshift-go/upshift/codec"
)

// packed encodes a packet and returns the one message that it makes.
func packed(t testing.TB, p *codec.Packet) string {
	t.Helper()
	frames, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, p)
	if err != nil {
		t.Fatalf("Encode(%+v): %v", p, err)
	}
	if len(frames) != 1 || !frames[0].Binary {
		t.Fatalf("Encode(%+v) made %d frames", p, len(frames))
	}
	return string(frames[0].Data)
}

// packedArg returns the MessagePack of an argument.
func packedArg(t testing.TB, arg any) string {
	t.Helper()
	message := packed(t, event("a", arg))
	inner, ok := strings.CutPrefix(message, "\x83\xa4type\x02\xa4data\x92\xa1a")
	inner, rest := strings.CutSuffix(inner, "\xa3nsp\xa1/")
	if !ok || !rest {
		t.Fatalf("%v makes %q", arg, message)
	}
	return inner
}

// C15: packets to the byte, as the reference server writes them (section 4.1),
// but that undefined members are not written.
func TestMsgPackEncodesPackets(t *testing.T) {
	type object map[string]string
	for _, tt := range []struct {
		want   string
		packet codec.Packet
	}{
		{"\x83\xa4type\x02\xa4data\x92\xa5hello\xa3you\xa3nsp\xa1/", codec.Packet{Type: codec.Event, Event: "hello", Args: []any{"you"}}},
		{"\x84\xa4type\x02\xa4data\x91\xa1x\xa2id\x00\xa3nsp\xa2/n", codec.Packet{Type: codec.Event, Namespace: "/n", Event: "x", HasID: true}}, // B4
		{"\x83\xa4type\x02\xa4data\x91\xa1x\xa3nsp\xa1/", codec.Packet{Type: codec.Event, Namespace: "/", Event: "x", ID: 5}},
		{"\x84\xa2id\xcd\x01\x00\xa4type\x03\xa4data\x91\xa1y\xa3nsp\xa1/", codec.Packet{Type: codec.Ack, ID: 256, HasID: true, Args: []any{"y"}}},
		{"\x84\xa2id\x00\xa4type\x03\xa4data\x90\xa3nsp\xa1/", codec.Packet{Type: codec.Ack, HasID: true}},
		{"\x84\xa4type\x02\xa4data\x91\xa1x\xa2id\xcf\x00\x1f\xff\xff\xff\xff\xff\xff\xa3nsp\xa1/", codec.Packet{Type: codec.Event, Event: "x", ID: codec.MaxID, HasID: true}},
		{"\x83\xa4type\x00\xa4data\x81\xa3sid\xa4oSO0\xa3nsp\xa6/admin", codec.Packet{Type: codec.Connect, Namespace: "/admin", Data: object{"sid": "oSO0"}}},
		{"\x82\xa4type\x00\xa3nsp\xa1/", codec.Packet{Type: codec.Connect}}, // B40: no nil
		{"\x82\xa4type\x00\xa3nsp\xa1/", codec.Packet{Type: codec.Connect, Data: object(nil), ID: 1, HasID: true}},
		{"\x82\xa4type\x00\xa3nsp\xa1/", codec.Packet{Type: codec.Connect, Data: (*inner)(nil)}},
		{"\x82\xa4type\x01\xa3nsp\xa1/", codec.Packet{Type: codec.Disconnect}},
		{"\x83\xa4type\x04\xa4data\x81\xa7message\xa3bad\xa3nsp\xa3/no", codec.Packet{Type: codec.ConnectError, Namespace: "/no", Data: object{"message": "bad"}}},
		{"\x83\xa4type\x04\xa4data\xa3bad\xa3nsp\xa1/", codec.Packet{Type: codec.ConnectError, Data: "bad"}},
		{"\x83\xa4type\x00\xa4data\x81\xa4Deep\xc4\x02xy\xa3nsp\xa1/", codec.Packet{Type: codec.Connect, Data: inner{Deep: []byte("xy")}}},
		{"\x83\xa4type\x00\xa4data\x81\xa1k\x01\xa3nsp\xa1/", codec.Packet{Type: codec.Connect, Data: json.RawMessage(`{"k":1}`)}},
	} {
		if got := packed(t, &tt.packet); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.packet, got, tt.want)
		}
	}
	for _, data := range []any{json.RawMessage(`[]`), json.RawMessage(`1`), viaValue{}, json.RawMessage(`"x"`)} {
		if _, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, &codec.Packet{Type: codec.Connect, Data: data}); !errors.Is(err, codec.ErrInvalidPayload) {
			t.Errorf("CONNECT with %s: %v", data, err)
		}
	}
}

// coder, marshaller and plain write themselves in the ways of package msgpack.
type (
	coder      struct{ N int }
	marshaller struct{ Data []byte }
)

func (c *coder) EncodeMsgpack(e *msgpack.Encoder) error {
	return e.EncodeMulti([]any{c.N, struct {
		N int64 `json:"n"`
	}{7}})
}

func (c *coder) DecodeMsgpack(d *msgpack.Decoder) error {
	_, err := d.DecodeArrayLen()
	if err == nil {
		c.N, err = d.DecodeInt()
	}
	return err
}

func (m marshaller) MarshalMsgpack() ([]byte, error) { return m.Data, nil }

func (m *marshaller) UnmarshalMsgpack(data []byte) error {
	m.Data = data
	return nil
}

type (
	base struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	mixed struct {
		base
		*inner
		Name    string         `json:"name"`
		Hidden  int            `json:"-"`
		Dash    int            `json:"-,"` //nolint:staticcheck // the name is what is tested
		Empty   map[string]int `json:"empty,omitempty"`
		Zero    time.Time      `json:"zero,omitzero"`
		Quoted  int64          `json:"quoted,string"`
		private int
	}
	left  struct{ Twice, Once int }
	right struct{ Twice int }
	both  struct {
		left
		right
	}
)

// Section 4.2, B34, B35, B40: what values look like on the wire.
func TestMsgPackEncodesValues(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	pointed := &marshaller{Data: []byte("\x81\xa1k\xc0")}
	for _, tt := range []struct {
		want  string
		value any
	}{
		{"\xc0", nil},
		{"\xc3", true},
		{"\xc2", false},
		{"\xa0", ""},
		{"\xbf" + long[:31], long[:31]},
		{"\xd9\x20" + long[:32], long[:32]},
		{"\xd9\xff" + long[:255], long[:255]},
		{"\xda\x01\x00" + long[:256], long[:256]},
		{"\xdb\x00\x01\x11\x70" + long, long},
		{"\xa5\xef\xbf\xbdab", "\xffab"},

		{"\x00", 0},
		{"\x7f", int8(127)},
		{"\xcc\x80", 128},
		{"\xcc\xff", uint8(255)},
		{"\xcd\x01\x00", int64(256)},
		{"\xcd\xff\xff", uint16(65535)},
		{"\xce\x00\x01\x00\x00", 65536},
		{"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", uint64(1 << 32)},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", uint64(math.MaxUint64)},
		{"\xff", -1},
		{"\xe0", int32(-32)},
		{"\xd0\xdf", -33},
		{"\xd1\xff\x7f", -129},
		{"\xd2\xff\xff\x7f\xff", -32769},
		{"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", int64(-2147483649)},

		{"\x01", 1.0},
		{"\x00", math.Copysign(0, -1)},
		{"\xd0\x80", float32(-128)},
		{"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5},
		{"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", float32(1.5)},
		{"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", math.Inf(1)},
		{"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9223372036854775808.0},
		{"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00", 18446744073709551616.0},
		{"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", -9223372036854775808.0},
		{"\x05", json.Number("5")},
		{"\x00", json.Number("")},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json.Number("18446744073709551615")},
		{"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", json.Number("1.5e0")},

		{"\xc0", []byte(nil)},
		{"\xc4\x00", []byte{}},
		{"\xc4\x01x", []byte("x")}, // never an ext: this would be undefined
		{"\xc4\x0812345678", named("12345678")},
		{"\xc5\x01\x00" + long[:256], []byte(long[:256])},
		{"\xc6\x00\x01\x11\x70" + long, []byte(long)},
		{"\x92\x01\x02", [2]byte{1, 2}},

		{"\xd7\x00\x00\x00\x00\xe8\xd4\xa5\x10\x00", time.UnixMilli(1e12)},
		{"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", time.Unix(0, -1)},
		{"\x91\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00", []time.Time{time.Unix(0, 0)}},
		{"\xd7\x00\x00\x00\x00\x00\x00\x00\x00\x00", new(time.Unix(0, 0))},
		{"\xd6\x051234", codec.MsgPackExt{Type: 5, Data: []byte("1234")}},
		{"\x91\xc7\x03\xff123", []codec.MsgPackExt{{Type: -1, Data: []byte("123")}}},

		{"\xc0", []int(nil)},
		{"\xc0", map[string]int(nil)},
		{"\xc0", []any(nil)},
		{"\xc0", map[string]any(nil)},
		{"\xc0", (*int)(nil)},
		{"\x90", []int{}},
		{"\x80", map[string]any{}},
		{"\x92\x01\xc0", []any{1, nil}},
		{"\xdc\x00\x10" + strings.Repeat("\x00", 16), make([]int, 16)},
		{"\xdd\x00\x01\x00\x00" + strings.Repeat("\x00", 65536), make([]int, 65536)},
		{"\x81\xa13\x01", map[int]int{3: 1}},
		{"\x81\xa13\x01", map[uint8]any{3: 1}},
		{"\x81\xa3<a>\x01", map[spelled]int{'a': 1}},
		{"\x81\xa1k\xc4\x01x", map[named2][]byte{"k": []byte("x")}},

		{"\x85\xa2id\x01\xa4Deep\xc4\x01d\xa4name\xa1n\xa1-\x02\xa6quoted\xa239", mixed{
			base: base{ID: 1, Name: "shadowed"}, inner: &inner{Deep: []byte("d")}, Name: "n", Hidden: 5, Dash: 2, Quoted: 39,
		}},
		{"\x84\xa2id\x00\xa4name\xa0\xa1-\x00\xa6quoted\xa10", mixed{private: 1}},
		{"\x81\xa4Once\x01", both{left: left{Twice: 2, Once: 1}}},
		{"\x81\xa2in\x81\xa4Data\xc0", struct {
			outline `json:"in"`
		}{outline{Data: nil}}},

		{"\xa6value ", viaValue{}},
		{"\xa6<text>", asText("text")},
		{"\xa9pointer x", &viaPointer{Data: []byte("x")}},
		{"\x81\xa4Data\xc4\x01x", viaPointer{Data: []byte("x")}},
		{"\x91\xa9pointer x", []viaPointer{{Data: []byte("x")}}},
		// One member in each object: its members have no order on their way.
		{"\x81\xa1a\x93\x01\xc0\x81\xa1b\xcb\x40\x04\x00\x00\x00\x00\x00\x00", json.RawMessage(` {"a": [1, null, {"b": 2.5}]}`)},
		{"\xc0", json.RawMessage("null")},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json.RawMessage("18446744073709551615")},
		{"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", json.RawMessage("1e999")},
		{"\x92\x05\x81\xa1n\x07", &coder{N: 5}},
		{"\x81\xa1k\xc0", marshaller{Data: []byte("\x81\xa1k\xc0")}},
		{"\x81\xa1k\xc0", &pointed},
		{"\xc0", (*coder)(nil)},
		{"\xd4\x00\x00", msgpack.RawMessage("\xd4\x00\x00")},
	} {
		if got := packedArg(t, tt.value); got != tt.want {
			t.Errorf("%T %.60v: got %.80q, want %.80q", tt.value, tt.value, got, tt.want)
		}
	}
}

type (
	named2 string
	asText string
)

func (a asText) MarshalText() ([]byte, error) { return []byte("<" + string(a) + ">"), nil }

var errMarshal = errors.New("will not be sent")

type stubborn struct{}

func (stubborn) MarshalMsgpack() ([]byte, error) { return nil, errMarshal }

// B8, B35: what cannot be sent is an error. What writes itself must make one
// value.
func TestMsgPackRefusesToEncode(t *testing.T) {
	ring := []any{nil}
	ring[0] = ring
	type loop *loop
	var endless loop
	endless = &endless
	for name, value := range map[string]any{
		"channel": make(chan int), "complex": 1i, "in a list": []any{func() {}}, "keys": map[float64]int{1: 1},
		"ring": ring, "endless pointer": endless, "ext 0": codec.MsgPackExt{Data: []byte("x")},
		"two values": msgpack.RawMessage("\x01\x02"), "half a value": msgpack.RawMessage("\x92\x01"),
		"no value": msgpack.RawMessage(""), "bad text": msgpack.RawMessage("\xa1\xff"),
		"own error": stubborn{}, "no JSON": json.RawMessage(`{"a"`), "two of JSON": json.RawMessage(`1 2`),
		"no number": json.Number("NaN"), "deep JSON": json.RawMessage(strings.Repeat("[", 600) + strings.Repeat("]", 600)),
		"deep": msgpack.RawMessage(strings.Repeat("\x91", 600) + "\x00"),
	} {
		frames, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, event("a", "fine", value))
		if err == nil || len(frames) != 0 {
			t.Errorf("%s: %v, %d frames", name, err, len(frames))
		}
		if err != nil && !strings.HasPrefix(err.Error(), "codec: argument 1: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, event("a", stubborn{})); !errors.Is(err, errMarshal) {
		t.Errorf("error %v, want %v", err, errMarshal)
	}
}
