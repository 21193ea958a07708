package codec_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
)

// feedPacked decodes messages with a new decoder, up to the first error.
func feedPacked(o codec.MsgPackOptions, messages ...string) (packets []codec.Received, err error) {
	d := codec.MsgPack(o).NewDecoder()
	for _, m := range messages {
		r, ok, err := d.Decode(codec.Frame{Binary: true, Data: []byte(m)})
		if err != nil {
			return packets, err
		}
		if ok {
			packets = append(packets, r)
		}
	}
	return packets, nil
}

// unpacked decodes one message.
func unpacked(t testing.TB, message string) codec.Received {
	t.Helper()
	packets, err := feedPacked(codec.MsgPackOptions{}, message)
	if err != nil || len(packets) != 1 {
		t.Fatalf("%q: %d packets, %v", message, len(packets), err)
	}
	return packets[0]
}

// packedEvent is an event named "a" with arguments, fewer than 15.
func packedEvent(args ...string) string {
	return "\x83\xa4type\x02\xa4data" + string([]byte{0x91 + byte(len(args))}) + "\xa1a" + strings.Join(args, "") + "\xa3nsp\xa1/"
}

// unpackedArgs returns the arguments of an event.
func unpackedArgs(t testing.TB, args ...string) codec.Args {
	t.Helper()
	return unpacked(t, packedEvent(args...)).Args
}

// C15: the vectors of section 4.1, and what may vary about them.
func TestMsgPackDecodes(t *testing.T) {
	type received struct {
		Type      codec.Type
		Namespace string
		ID        string // empty for none
		Event     string
		Args      []string
		Data      string
	}
	const sid = "\x82\xa3sid\xb4oSO0OpakMV_3jnilAAAA\xa3pid\xd4\x00\x00"
	for in, want := range map[string]received{
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa5hello\xa3you": {Type: codec.Event, Namespace: "/", Event: "hello", Args: []string{"\xa3you"}},
		"\x83\xa4type\x02\xa4data\x92\xa5hello\xa3you\xa3nsp\xa1/": {Type: codec.Event, Namespace: "/", Event: "hello", Args: []string{"\xa3you"}},
		"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/":         {Type: codec.Connect, Namespace: "/"},
		"\x82\xa4type\x00\xa3nsp\xa6/admin":                        {Type: codec.Connect, Namespace: "/admin"},
		"\x83\xa4type\x00\xa4data" + sid + "\xa3nsp\xa1/":          {Type: codec.Connect, Namespace: "/", Data: sid},
		"\x83\xa4type\x04\xa4data\x82\xa7message\xa3bad\xa4data\xd4\x00\x00\xa3nsp\xa3/no": {
			Type: codec.ConnectError, Namespace: "/no", Data: "\x82\xa7message\xa3bad\xa4data\xd4\x00\x00",
		},
		"\x83\xa4type\x04\xa4data\xa3bad\xa3nsp\xa1/":            {Type: codec.ConnectError, Namespace: "/", Data: "\xa3bad"},
		"\x82\xa4type\x01\xa3nsp\xa1/":                           {Type: codec.Disconnect, Namespace: "/"},
		"\x83\xa4type\x01\xa4data\xd4\x00\x00\xa3nsp\xa1/":       {Type: codec.Disconnect, Namespace: "/"},
		"\x84\xa2id\x05\xa4type\x03\xa4data\x91\x01\xa3nsp\xa1/": {Type: codec.Ack, Namespace: "/", ID: "5", Args: []string{"\x01"}},
		"\x84\xa2id\x00\xa4type\x03\xa4data\x90\xa3nsp\xa1/":     {Type: codec.Ack, Namespace: "/", ID: "0"},
		"\x84\xa2id\x00\xa4data\x92\xa1x\x02\xa4type\x03\xa3nsp\xa1/": {
			Type: codec.Ack, Namespace: "/", ID: "0", Args: []string{"\xa1x", "\x02"}, // the type last
		},
		"\x83\xa4data\x92\xa1x\x02\xa4type\x02\xa3nsp\xa1/": {Type: codec.Event, Namespace: "/", Event: "x", Args: []string{"\x02"}},
		"\x85\xa4type\x02\xa4data\x96\xa1x\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x02\x01\x02\xc7\x01\x00\x09\xd4\x00\x00\xc0" +
			"\xa7options\x81\xa8compress\xc3\xa2id\x00\xa3nsp\xa1/": {
			Type: codec.Event, Namespace: "/", ID: "0", Event: "x",
			Args: []string{"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "\xc4\x02\x01\x02", "\xc7\x01\x00\x09", "\xd4\x00\x00", "\xc0"},
		},
		// Lengths and numbers in longer forms than need be.
		"\xdf\x00\x00\x00\x04\xd9\x04type\xcd\x00\x02\xda\x00\x04data\xdc\x00\x01\xdb\x00\x00\x00\x01a\xa2id\xcb\x40\x14\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/": {
			Type: codec.Event, Namespace: "/", ID: "5", Event: "a",
		},
		"\x84\xa4type\x02\xa4data\x91\xa1a\xa2id\xcf\x00\x1f\xff\xff\xff\xff\xff\xff\xa3nsp\xa1/": {Type: codec.Event, Namespace: "/", ID: "9007199254740991", Event: "a"},
		"\x84\xa4type\x02\xa4data\x91\xa1a\xa2id\xd3\x00\x00\x00\x00\x00\x00\x00\x07\xa3nsp\xa1/": {Type: codec.Event, Namespace: "/", ID: "7", Event: "a"},
		"\x84\xa4type\x02\xa4data\x91\xa1a\xa2id\xd4\x00\x00\xa3nsp\xa1/":                         {Type: codec.Event, Namespace: "/", Event: "a"},
		"\x84\xa4type\x00\xa4data\x80\xa2id\x05\xa3nsp\xa1/":                                      {Type: codec.Connect, Namespace: "/", Data: "\x80"}, // ids of others are ignored
		"\x83\xa4type\x02\xa4data\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/":            {Type: codec.Event, Namespace: "/", Event: "1.5"},   // C7
		"\x83\xa4type\x02\xa4data\x91\xd0\xff\xa3nsp\xa1/":                                        {Type: codec.Event, Namespace: "/", Event: "-1"},
		"\x83\xa4type\x02\xa4data\x91\xcd\x03\xe8\xa3nsp\xa1/":                                    {Type: codec.Event, Namespace: "/", Event: "1000"},
		"\x83\xa4type\x02\xa4data\x92\xa0\xd6\x2a1234\xa3nsp\xa1/":                                {Type: codec.Event, Namespace: "/", Args: []string{"\xd6\x2a1234"}}, // an ext
		"\x83\xa4type\x03\xa4data\x91\xa7connect\xa3nsp\xa1/":                                     {Type: codec.Ack, Namespace: "/", Args: []string{"\xa7connect"}},
	} {
		packets, err := feedPacked(codec.MsgPackOptions{}, in, in)
		if err != nil || len(packets) != 2 {
			t.Errorf("%q: %d packets, %v", in, len(packets), err)
			continue
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
				t.Errorf("%q: %s", in, diff)
			}
		}
	}
}

// C14: bad input and the words of the reference implementation for it, in the
// order in which that looks; B9, B40: the event name is looked at too.
func TestMsgPackRefuses(t *testing.T) {
	const (
		badType      = "invalid packet type"
		badNamespace = "invalid namespace"
		badPayload   = "invalid payload"
		badID        = "invalid packet id"
		unparsed     = "Could not parse"
	)
	for in, want := range map[string]string{
		"":             unparsed,
		"\xc1":         unparsed,
		"\x81":         unparsed,
		"\x81\xa4typ":  unparsed,
		"\x00":         badType,
		"\xc0":         badType,
		"\x90":         badType,
		"\xa1x":        badType,
		"\x80":         badType,
		"\x80\x00":     "1 trailing bytes",
		"\x80\x00\xc1": "2 trailing bytes",
		"\x83\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/\x00": "1 trailing bytes",

		"\x82\xa3nsp\xa1/\xa4data\x91\xa1a":                                             badType,
		"\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa1a":                                 badType,
		"\x83\xa4type\x07\xa3nsp\x00\xa4data\xc0":                                       badType, // and not the rest
		"\x83\xa4type\xff\xa3nsp\xa1/\xa4data\x91\xa1a":                                 badType,
		"\x83\xa4type\xa12\xa3nsp\xa1/\xa4data\x91\xa1a":                                badType,
		"\x83\xa4type\xc0\xa3nsp\xa1/\xa4data\x91\xa1a":                                 badType,
		"\x83\xa4type\xcb\x40\x04\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1a": badType,
		"\x83\xa4type\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/\xa4data\x91\xa1a": badType,

		"\x82\xa4type\x02\xa4data\x91\xa1a":                                            badNamespace,
		"\x83\xa4type\x02\xa3nsp\x00\xa4data\xc0":                                      badNamespace,
		"\x83\xa4type\x02\xa3nsp\xc0\xa4data\x91\xa1a":                                 badNamespace,
		"\x83\xa4type\x02\xa3nsp\xc4\x01/\xa4data\x91\xa1a":                            badNamespace,
		"\x83\xa4type\x02\xa3nsp\xa0\xa4data\x91\xa1a":                                 badNamespace,
		"\x83\xa4type\x02\xa3nsp\xa1x\xa4data\x91\xa1a":                                badNamespace,
		"\x83\xa4type\x02\xa3nsp\xa4/a,b\xa4data\x91\xa1a":                             badNamespace,
		"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0":                                     badPayload, // nil is not undefined
		"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x90":                                     badPayload,
		"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xa1x":                                    badPayload,
		"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x80":                                     badPayload,
		"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\xc0":                                     badPayload,
		"\x82\xa4type\x02\xa3nsp\xa1/":                                                 badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xd4\x00\x00":                             badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xa1a":                                    badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x80":                                     badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90":                                     badPayload,
		"\x83\xa4data\x90\xa4type\x02\xa3nsp\xa1/":                                     badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xc0":                                 badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\x80":                                 badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xc4\x01a":                            badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xaadisconnect":                       badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00": badPayload,
		"\x82\xa4type\x03\xa3nsp\xa1/":                                                 badPayload,
		"\x83\xa4type\x03\xa3nsp\xa1/\xa4data\x05":                                     badPayload,
		"\x82\xa4type\x04\xa3nsp\xa1/":                                                 badPayload,
		"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x90":                                     badPayload,
		"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\xd4\x00\x00":                             badPayload,
		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x80\xa2id\xa1x":                          badPayload, // before the id

		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xa1x":                                badID,
		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xc0":                                 badID,
		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xff":                                 badID,
		"\x84\xa4type\x00\xa3nsp\xa1/\xa4data\x80\xa2id\xc0":                                 badID,
		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xcf\x00\x20\x00\x00\x00\x00\x00\x00": badID,
		"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00": badID,

		// What the reference implementation takes.
		"\x84\xa4type\x02\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a":             badPayload,
		"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a\xa3nsp\xa2/x":            badPayload,
		"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a\xa4data\x91\xa1b":        badPayload,
		"\x85\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\x01\xa2id\x02":          badPayload,
		"\x84\x01\x02\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a":                 badPayload, // names are strings
		"\x84\xc4\x04type\x02\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a":         badPayload,
		"\x84\xa1\xff\x02\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a":             badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\xa1\xff":                 badPayload, // browsers choke on it
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\x81\xa3\xed\xa0\x80\x01": badPayload,
		"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\x81\x01\x02":             badPayload,
		"\x83\xa4type\x02\xa3nsp\xa2/\xff\xa4data\x91\xa1a":                     badPayload,
	} {
		_, err := feedPacked(codec.MsgPackOptions{}, in)
		if e, ok := errors.AsType[*codec.DecodeError](err); !ok || e.Reason != want || e.Err == nil || e.Offset < 0 || e.Offset > len(in) {
			t.Errorf("%q: %#v, want %s", in, err, want)
		}
	}
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		in := "\x83\xa4type\x02\xa4data\x91" + string([]byte{0xa0 + byte(len(name))}) + name + "\xa3nsp\xa1/"
		if _, err := feedPacked(codec.MsgPackOptions{}, in); !errors.Is(err, codec.ErrInvalidPayload) {
			t.Errorf("event %s: %v", name, err)
		}
	}
}

// Every prefix of a packet is refused, and so is every packet with a byte too
// many.
func TestMsgPackRefusesCuts(t *testing.T) {
	const whole = "\x85\xa4type\x02\xa4data\x97\xa1x\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x02\x01\x02\xc7\x01\x00\x09\xd4\x00\x00\xd7\x00\x00\x00\x00\xe8\xd4\xa5\x10\x00" +
		"\xde\x00\x01\xd9\x01k\xdc\x00\x01\xca\x3f\x80\x00\x00\xa7options\x81\xa8compress\xc3\xa2id\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xa3nsp\xa1/"
	unpacked(t, whole)
	for n := range len(whole) {
		if _, err := feedPacked(codec.MsgPackOptions{}, whole[:n]); err == nil {
			t.Errorf("%q was taken", whole[:n])
		}
	}
	if _, err := feedPacked(codec.MsgPackOptions{}, whole+"\x00"); err == nil {
		t.Error("a byte too many was taken")
	}
}

// C15, B40: lengths beyond the message are refused before anything is
// allocated for them.
func TestMsgPackHostileLengths(t *testing.T) {
	for _, code := range []byte{0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf} {
		width := 1 << ((code - 0xc4) % 3)
		if code >= 0xd9 {
			width = 1 << (code - 0xd9)
		}
		if code >= 0xdc {
			width = 2 << ((code - 0xdc) % 2)
		}
		for _, n := range []uint32{0x7f, 0xff, 0x7fff, 0xffff, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			if width < 4 && n >= 1<<(8*width) {
				continue
			}
			length := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}[4-width:]
			in := "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a" + string(append([]byte{code}, length...)) + strings.Repeat("\x00", 20)
			var err error
			got := testing.AllocsPerRun(1, func() { _, err = feedPacked(codec.MsgPackOptions{}, in) })
			if err == nil {
				t.Errorf("%q was taken", in)
			}
			if got > 20 {
				t.Errorf("%q: %v allocations", in, got)
			}
		}
	}
	// The members of the packet themselves.
	for _, in := range []string{"\xdf\xff\xff\xff\xff", "\xde\xff\xff\xa4type\x02", "\x8f\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a"} {
		if _, err := feedPacked(codec.MsgPackOptions{}, in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

// C15, B40: nesting is bounded both ways; the arguments are the first level.
func TestMsgPackDepth(t *testing.T) {
	nested := func(depth int, open string) string { // an argument; the array of the arguments is one level more
		return strings.Repeat(open, depth) + "\xc0"
	}
	for _, limit := range []int{0, 2, 5, 10_000} {
		most := limit
		if limit == 0 {
			most = 512
		}
		o := codec.MsgPackOptions{MaxDepth: limit}
		for _, open := range []string{"\x91", "\x81\xa1k", "\x92\xc0", "\xdd\x00\x00\x00\x01"} {
			for depth, ok := range map[int]bool{most - 1: true, most: false, most + 1: false, most + 1000: false} {
				packets, err := feedPacked(o, packedEvent(nested(depth, open)))
				if (err == nil) != ok {
					t.Fatalf("limit %d, depth %d: %v", limit, depth+1, err)
				}
				if !ok {
					continue
				}
				if _, err := codec.MsgPack(o).Encode(nil, event("a", packets[0].Args)); err != nil {
					t.Errorf("limit %d, depth %d does not go back: %v", limit, depth+1, err)
				}
				_, err = codec.MsgPack(o).Encode(nil, event("a", []codec.Raw{packets[0].Args.Raw(0)}))
				if !errors.Is(err, codec.ErrTooDeep) {
					t.Errorf("limit %d, depth %d: %v", limit, depth+2, err)
				}
				var v any
				if err := packets[0].Args.Bind(&v); err != nil {
					t.Fatal(err)
				}
				if _, err := codec.MsgPack(o).Encode(nil, event("a", v)); err != nil {
					t.Errorf("limit %d, depth %d does not go back: %v", limit, depth+1, err)
				}
				if _, err := codec.MsgPack(o).Encode(nil, event("a", []any{v})); !errors.Is(err, codec.ErrTooDeep) {
					t.Errorf("limit %d, depth %d: %v", limit, depth+2, err)
				}
			}
		}
	}
	// A member that is of no interest is no way round it, nor is a limit beyond
	// all measure.
	deep := "\x84\xa7options" + nested(1_000_000, "\x91") + "\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a"
	for _, limit := range []int{-1, 0, 1 << 30} {
		if _, err := feedPacked(codec.MsgPackOptions{MaxDepth: limit}, deep); !errors.Is(err, codec.ErrInvalidPayload) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// A client that speaks JSON is refused with its first message, in clear words.
func TestMsgPackRefusesText(t *testing.T) {
	_, _, err := codec.MsgPack(codec.MsgPackOptions{}).NewDecoder().Decode(text("0"))
	const want = "text message on a msgpack connection: the client uses another codec"
	if !errors.Is(err, codec.ErrUnexpectedText) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
