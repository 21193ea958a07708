package codectest

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

func testName(t *testing.T, c codec.Codec) {
	if c.Name() == "" || c.Name() != c.Name() { //nolint:staticcheck // the second call is the point
		t.Errorf("Name() = %q, want a name that stays", c.Name())
	}
}

// C7, B4: every type, with and without namespace and id, 0 being an id.
func testRoundTrip(t *testing.T, c codec.Codec) {
	object := map[string]string{"token": "123"}
	for _, tt := range []struct {
		name   string
		packet codec.Packet
	}{
		{"CONNECT", codec.Packet{Type: codec.Connect, Namespace: "/"}},
		{"CONNECT with object", codec.Packet{Type: codec.Connect, Namespace: "/woot", Data: object}},
		{"DISCONNECT", codec.Packet{Type: codec.Disconnect, Namespace: "/woot"}},
		{"CONNECT_ERROR with object", codec.Packet{Type: codec.ConnectError, Namespace: "/", Data: object}},
		{"CONNECT_ERROR with string", codec.Packet{Type: codec.ConnectError, Namespace: "/x", Data: "Unauthorized"}},
		{"EVENT", codec.Packet{Type: codec.Event, Namespace: "/", Event: "a", Args: []any{"1", "two", "3"}}},
		{"EVENT without arguments", codec.Packet{Type: codec.Event, Namespace: "/", Event: "a"}},
		{"EVENT with many arguments", codec.Packet{Type: codec.Event, Namespace: "/", Event: "a", Args: []any{"1", "2", "3", "4", "5", "6"}}},
		{"EVENT with id", codec.Packet{Type: codec.Event, Namespace: "/test", Event: "a", ID: 1, HasID: true, Args: []any{"x"}}},
		{"EVENT with id 0", codec.Packet{Type: codec.Event, Namespace: "/", Event: "a", HasID: true}},
		{"EVENT with largest id", codec.Packet{Type: codec.Event, Namespace: "/", Event: "a", ID: codec.MaxID, HasID: true}},
		{"ACK", codec.Packet{Type: codec.Ack, Namespace: "/", ID: 123, HasID: true, Args: []any{"a", "b"}}},
		{"ACK with id 0", codec.Packet{Type: codec.Ack, Namespace: "/test", HasID: true, Args: []any{"a"}}},
		{"ACK without arguments", codec.Packet{Type: codec.Ack, Namespace: "/", ID: 7, HasID: true}},
		{"ACK with a reserved word", codec.Packet{Type: codec.Ack, Namespace: "/", ID: 7, HasID: true, Args: []any{"connect"}}},
		{"namespace with odd bytes", codec.Packet{Type: codec.Event, Namespace: `/a?b=["1-é]`, Event: "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.packet
			r := transfer(t, c, &p)
			if r.Type != p.Type || r.Namespace != p.Namespace || r.ID != p.ID || r.HasID != p.HasID || r.Event != p.Event {
				t.Errorf("got %s %q id %d %v event %q, want %s %q id %d %v event %q",
					r.Type, r.Namespace, r.ID, r.HasID, r.Event, p.Type, p.Namespace, p.ID, p.HasID, p.Event)
			}
			if r.Args.Len() != len(p.Args) {
				t.Fatalf("got %d arguments, want %d", r.Args.Len(), len(p.Args))
			}
			for i, want := range p.Args {
				var got string
				if err := r.Args.Raw(i).Bind(&got); err != nil || got != want {
					t.Errorf("argument %d = %q, %v, want %q", i, got, err, want)
				}
			}
			checkData(t, r, p.Data)
		})
	}
	if r := transfer(t, c, &codec.Packet{Type: codec.Event, Event: "a"}); r.Namespace != "/" {
		t.Errorf("an empty namespace arrived as %q, want /", r.Namespace)
	}
}

// checkData compares the payload of a packet that has no arguments.
func checkData(t *testing.T, r codec.Received, want any) {
	t.Helper()
	if r.Data.IsZero() != (want == nil) {
		t.Fatalf("data absent: %v, want %v", r.Data.IsZero(), want)
	}
	if want == nil {
		return
	}
	got := reflect.New(reflect.TypeOf(want))
	if err := r.Data.Bind(got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), want) {
		t.Errorf("data = %v, %v, want %v", got.Elem(), err, want)
	}
}

// A record has a field of each kind that programs send.
type record struct {
	Text   string            `json:"text"`
	Number int               `json:"number"`
	Ratio  float64           `json:"ratio"`
	Yes    bool              `json:"yes"`
	List   []int             `json:"list"`
	Map    map[string]string `json:"map"`
	Next   *record           `json:"next"`
	Hidden string            `json:"-"`
	Spare  string            `json:"spare,omitempty"`
}

func testValues(t *testing.T, c codec.Codec) {
	want := record{
		Text: "<é> & \u2028 \"quoted\" \\ \x01 \x7f 😀", Number: -7, Ratio: 0.25, Yes: true,
		List: []int{1, -2, 1 << 40}, Map: map[string]string{"": "empty", "k": "v"},
		Next: &record{Text: "inner"},
	}
	sent := want
	sent.Hidden = "stays here"
	var got record
	bind(t, transfer(t, c, event(sent)), &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("record = %+v, want %+v", got, want)
	}

	var (
		text   string
		number int64
		big    uint64
		ratio  float64
		yes    bool
		none   any = "before"
	)
	bind(t, transfer(t, c, event("text\n", int64(math.MinInt64), uint64(math.MaxUint64), 1e-9, true, nil)),
		&text, &number, &big, &ratio, &yes, &none)
	if text != "text\n" || number != math.MinInt64 || big != math.MaxUint64 || ratio != 1e-9 || !yes || none != nil {
		t.Errorf("got %q %d %d %g %v %v", text, number, big, ratio, yes, none)
	}
}

var reservedNames = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// B9: reserved names are refused when they are sent, and only those.
func testEventNames(t *testing.T, c codec.Codec) {
	for _, name := range reservedNames {
		frames, err := c.Encode(nil, &codec.Packet{Type: codec.Event, Event: name})
		if want := `"` + name + `" is a reserved event name`; err == nil || err.Error() != want {
			t.Errorf("Encode of event %q: error %v, want %s", name, err, want)
		}
		if !errors.Is(err, codec.ErrReservedEvent) || len(frames) != 0 {
			t.Errorf("Encode of event %q: error %v with %d frames", name, err, len(frames))
		}
	}
	for _, name := range []string{"error", "connection", "message", "", "__proto__", "Connect", "1", "a\"b\\c\n", "é😀"} {
		if r := transfer(t, c, &codec.Packet{Type: codec.Event, Event: name}); r.Event != name {
			t.Errorf("event %q arrived as %q", name, r.Event)
		}
	}
}

// B9, B40: reserved names are refused when they are received. A name of the
// same length is encoded and then changed in the frame.
func testReservedOnTheWire(t *testing.T, c codec.Codec) {
	for _, name := range reservedNames {
		innocent := name[:len(name)-1] + "X"
		frames := encode(t, c, &codec.Packet{Type: codec.Event, Event: innocent})
		changed, ok := substitute(frames, innocent, name)
		if !ok {
			t.Skip("this codec does not write event names as they are")
		}
		_, err := decodeAll(c.NewDecoder(), changed)
		checkRefusal(t, err)
	}
}

// C12: packets that make no sense are refused before they are sent.
func testInvalidPackets(t *testing.T, c codec.Codec) {
	for _, tt := range []struct {
		name   string
		packet codec.Packet
		want   error
	}{
		{"type", codec.Packet{Type: 5}, codec.ErrUnknownType},
		{"namespace without slash", codec.Packet{Type: codec.Event, Event: "a", Namespace: "x"}, codec.ErrInvalidNamespace},
		{"namespace with comma", codec.Packet{Type: codec.Event, Event: "a", Namespace: "/x,y"}, codec.ErrInvalidNamespace},
		{"namespace that is no UTF-8", codec.Packet{Type: codec.Disconnect, Namespace: "/\xff"}, codec.ErrInvalidNamespace},
		{"id too large", codec.Packet{Type: codec.Event, Event: "a", ID: codec.MaxID + 1, HasID: true}, codec.ErrInvalidID},
		{"ack without id", codec.Packet{Type: codec.Ack}, codec.ErrInvalidID},
		{"event with data", codec.Packet{Type: codec.Event, Event: "a", Data: record{}}, codec.ErrInvalidPayload},
		{"CONNECT with string", codec.Packet{Type: codec.Connect, Data: "text"}, codec.ErrInvalidPayload},
		{"CONNECT with array", codec.Packet{Type: codec.Connect, Data: []string{"text"}}, codec.ErrInvalidPayload},
		{"CONNECT with arguments", codec.Packet{Type: codec.Connect, Args: []any{"text"}}, codec.ErrInvalidPayload},
		{"DISCONNECT with data", codec.Packet{Type: codec.Disconnect, Data: record{}}, codec.ErrInvalidPayload},
		{"CONNECT_ERROR without data", codec.Packet{Type: codec.ConnectError}, codec.ErrInvalidPayload},
		{"CONNECT_ERROR with array", codec.Packet{Type: codec.ConnectError, Data: []string{"text"}}, codec.ErrInvalidPayload},
		{"CONNECT_ERROR with number", codec.Packet{Type: codec.ConnectError, Data: 1}, codec.ErrInvalidPayload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, err := c.Encode(nil, &tt.packet)
			if !errors.Is(err, tt.want) || len(frames) != 0 {
				t.Errorf("error %v with %d frames, want %v", err, len(frames), tt.want)
			}
		})
	}
}

// C8: what cannot be encoded is an error, and dst is what it was.
func testUnencodable(t *testing.T, c codec.Codec) {
	object := map[string]any{}
	object["self"] = object
	list := make([]any, 1)
	list[0] = list
	type node struct{ Next *node }
	ring := &node{}
	ring.Next = ring
	var pointer any
	pointer = &pointer

	before := []codec.Frame{{Data: []byte("earlier")}}
	for name, value := range map[string]any{
		"channel": make(chan int), "function": func() {}, "function inside": map[string]any{"f": func() {}},
		"map in itself": object, "slice in itself": list, "struct in itself": ring, "pointer to itself": pointer,
	} {
		t.Run(name, func(t *testing.T) {
			frames, err := c.Encode(before, event("fine", value))
			if err == nil {
				t.Fatal("no error")
			}
			if !reflect.DeepEqual(frames, before) {
				t.Errorf("Encode returned %v besides the error, want dst", frames)
			}
		})
	}
	if r := transfer(t, c, event("fine")); r.Args.Len() != 1 {
		t.Errorf("after errors an event arrives with %d arguments", r.Args.Len())
	}
}

// Missing arguments leave what they bind to as it is, surplus ones are ignored,
// and each may be bound again.
func testBinding(t *testing.T, c codec.Codec) {
	r := transfer(t, c, event("one", 2, "three", "four", "five"))
	first, second, fourth := "", 0, ""
	for range 2 {
		bind(t, r, &first, &second, nil, &fourth)
		if first != "one" || second != 2 || fourth != "four" {
			t.Fatalf("got %q %d %q", first, second, fourth)
		}
	}
	if err := r.Args.Bind(&first, &first); err == nil {
		t.Error("a number was bound to a string without an error")
	}

	r = transfer(t, c, event("one"))
	missing := "before"
	bind(t, r, &first, &missing)
	if missing != "before" {
		t.Errorf("a missing argument changed its destination to %q", missing)
	}
	for _, i := range []int{-1, 1, 100} {
		if raw := r.Args.Raw(i); !raw.IsZero() || raw.Bind(&missing) != nil || missing != "before" {
			t.Errorf("argument %d of 1 is there: %q", i, missing)
		}
	}
	var raw codec.Raw
	bind(t, r, &raw)
	if err := raw.Bind(&missing); err != nil || missing != "one" {
		t.Errorf("a Raw that was bound holds %q, %v", missing, err)
	}
}
