package codectest

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/upshift-go/upshift/codec"
)

// blob is a byte slice of a named type.
type blob []byte

// A file holds byte slices in every way there is.
type file struct {
	Name    string            `json:"name"`
	Data    []byte            `json:"data"`
	Named   blob              `json:"named"`
	Pointer *[]byte           `json:"pointer"`
	Any     any               `json:"any"`
	Parts   [][]byte          `json:"parts"`
	ByName  map[string][]byte `json:"byName"`
	Inner   *file             `json:"inner"`
	Nil     []byte            `json:"nil"`
	Omitted []byte            `json:"omitted,omitempty"`
}

func newFile() file {
	pointed := []byte("pointed to")
	return file{
		Name: "name", Data: []byte{0, 1, 0xfe, 0xff}, Named: blob("named"), Pointer: &pointed,
		Any: []byte("any"), Parts: [][]byte{[]byte("first"), {}}, ByName: map[string][]byte{"k": []byte("by name")},
		Inner: &file{Data: []byte("inner")},
	}
}

// fileFor returns a file that arrives as it was sent.
func fileFor(c codec.Codec) file {
	f := newFile()
	if lacks(c, UntypedBinary) {
		f.Any = nil
	}
	return f
}

// C10, B34: binary values as arguments, among others, empty and nil.
func testBinary(t *testing.T, c codec.Codec) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	var (
		first, empty, second []byte
		none                 = []byte("before")
		named                blob
		text                 string
		untyped              any
	)
	bind(t, transfer(t, c, event([]byte{1, 2, 3}, "between", []byte{}, []byte(nil), blob("named"), large, []byte("any"))),
		&first, &text, &empty, &none, &named, &second, &untyped)
	switch {
	case !bytes.Equal(first, []byte{1, 2, 3}), text != "between", string(named) != "named", !bytes.Equal(second, large):
		t.Errorf("got %v %q %q and %d bytes", first, text, named, len(second))
	case empty == nil || len(empty) != 0:
		t.Errorf("an empty slice arrived as %v", empty)
	case none != nil:
		t.Errorf("a nil slice arrived as %v", none)
	}
	if got, ok := untyped.([]byte); !lacks(c, UntypedBinary) && (!ok || string(got) != "any") {
		t.Errorf("a byte slice arrived in an any as %T %v", untyped, untyped)
	}

	want := fileFor(c)
	var got file
	bind(t, transfer(t, c, event(fileFor(c))), &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("file = %+v, want %+v", got, want)
	}
}

// C10: binary values at several depths.
func testBinaryAtDepth(t *testing.T, c codec.Codec) {
	if lacks(c, UntypedBinary) {
		t.Skip("the values of this test have no types")
	}
	for depth := range 12 {
		t.Run(strconv.Itoa(depth), func(t *testing.T) {
			var value any = []byte("deep")
			for i := range depth {
				if i%2 == 0 {
					value = map[string]any{"k": value, "null": nil, "text": "beside"}
				} else {
					value = []any{nil, value, []byte("beside")}
				}
			}
			var got any
			bind(t, transfer(t, c, event(value)), &got)
			if !reflect.DeepEqual(got, value) {
				t.Errorf("got %v, want %v", got, value)
			}
		})
	}
}

// C10: binary acks, id 0 among them; and an ack of text after one of bytes.
func testBinaryAcks(t *testing.T, c codec.Codec) {
	d := c.NewDecoder()
	for _, id := range []uint64{0, 23, 127, 600, 999} {
		p := &codec.Packet{Type: codec.Ack, Namespace: "/back", ID: id, HasID: true, Args: []any{[]byte("abc"), nil, "x"}}
		r := decode(t, d, encode(t, c, p))
		var got []byte
		bind(t, r, &got)
		if r.Type != codec.Ack || !r.HasID || r.ID != id || r.Namespace != "/back" || string(got) != "abc" || r.Args.Len() != 3 {
			t.Errorf("ack %d arrived as %s %v %d in %q with %q", id, r.Type, r.HasID, r.ID, r.Namespace, got)
		}
		p.Args = []any{"text"}
		if r := decode(t, d, encode(t, c, p)); r.Type != codec.Ack || r.Args.Len() != 1 {
			t.Errorf("ack %d of text arrived as %s with %d arguments", id, r.Type, r.Args.Len())
		}
	}
}

// B36: the caller's values are what they were.
func testInputUntouched(t *testing.T, c codec.Codec) {
	make1 := func() *codec.Packet {
		f := newFile()
		return &codec.Packet{
			Type: codec.Event, Namespace: "/n", Event: "event", ID: 3, HasID: true,
			Args: []any{&f, []any{[]byte("x")}, map[string]any{"k": []byte("y")}},
		}
	}
	p := make1()
	first := encode(t, c, p)
	if want := make1(); !reflect.DeepEqual(p, want) {
		t.Errorf("after Encode the packet is %+v, want %+v", p, want)
	}
	if second := encode(t, c, p); len(second) != len(first) {
		t.Errorf("encoded again it makes %d frames, not %d", len(second), len(first))
	}
}

// B36: frames are memory of their own, and dst keeps what it had.
func testFramesOwned(t *testing.T, c codec.Codec) {
	data := []byte("original")
	frames, err := c.Encode([]codec.Frame{{Data: []byte("earlier")}}, event(data, map[string]any{"k": data}))
	if err != nil {
		t.Fatal(err)
	}
	if string(frames[0].Data) != "earlier" {
		t.Errorf("the frame in dst is %q now", frames[0].Data)
	}
	copy(data, "modified")
	encode(t, c, event([]byte("another packet"), "of some length"))
	var got []byte
	bind(t, decode(t, c.NewDecoder(), frames[1:]), &got)
	if string(got) != "original" {
		t.Errorf("a frame followed its source: %q", got)
	}
}

// Memory that is lent is used for one frame of the next packet, or not at all.
func testFramesLent(t *testing.T, c codec.Codec) {
	frames := encode(t, c, event("packet"))
	lent := slices.Concat(frames, []codec.Frame{{Data: make([]byte, 0, 4<<10)}, {Data: make([]byte, 0, 4<<10)}})
	second := event([]byte("binary"), "another")
	all, err := c.Encode(lent[:len(frames)], second)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	bind(t, decode(t, c.NewDecoder(), frames), &got)
	if got != "packet" {
		t.Errorf("the frame in dst says %q now", got)
	}
	for i, f := range encode(t, c, second) {
		if got := all[len(frames)+i]; got.Binary != f.Binary || !bytes.Equal(got.Data, f.Data) {
			t.Errorf("frame %d is %q in memory that was lent, and %q otherwise", i, got.Data, f.Data)
		}
	}
}

// What was received can be sent on without being decoded: one argument, all of
// them, or inside something else, with binary values and without.
func testPassOn(t *testing.T, c codec.Codec) {
	f := fileFor(c)
	f.Named, f.Pointer, f.Parts = nil, nil, nil // ten binary values are the limit for a packet
	r := transfer(t, c, event("text", f, 1<<60, []byte("alone")))
	type wrapper struct {
		Raw  codec.Raw  `json:"raw"`
		Args codec.Args `json:"args"`
	}
	check := func(t *testing.T, text string, got file, number int64, alone []byte) {
		t.Helper()
		if text != "text" || number != 1<<60 || string(alone) != "alone" || !reflect.DeepEqual(got, f) {
			t.Errorf("got %q %d %q %+v, want %+v", text, number, alone, got, f)
		}
	}
	var (
		text   string
		got    file
		number int64
		alone  []byte
	)
	t.Run("args", func(t *testing.T) {
		var before, after string
		r := transfer(t, c, event("before", r.Args, "after"))
		if r.Args.Len() != 6 {
			t.Fatalf("4 arguments between 2 made %d", r.Args.Len())
		}
		bind(t, r, &before, &text, &got, &number, &alone, &after)
		check(t, text, got, number, alone)
		if before != "before" || after != "after" {
			t.Errorf("they are between %q and %q", before, after)
		}
	})
	t.Run("raw", func(t *testing.T) {
		got, alone = file{}, nil
		bind(t, transfer(t, c, event(r.Args.Raw(3), r.Args.Raw(1), codec.Raw{})), &alone, &got)
		check(t, text, got, number, alone)
	})
	t.Run("inside", func(t *testing.T) {
		got, alone = file{}, nil
		var raw struct {
			Raw  codec.Raw `json:"raw"`
			Args []string  `json:"args"`
		}
		var args struct {
			Raw  *string     `json:"raw"`
			Args []codec.Raw `json:"args"`
		}
		bind(t, transfer(t, c, event(wrapper{Raw: r.Args.Raw(1)}, &wrapper{Args: r.Args})), &raw, &args)
		if args.Raw != nil || len(raw.Args) != 0 || len(args.Args) != 4 {
			t.Fatalf("4 arguments and an absent value arrived as %d and %v", len(args.Args), args.Raw)
		}
		if err := raw.Raw.Bind(&got); err != nil {
			t.Fatal(err)
		}
		if err := args.Args[3].Bind(&alone); err != nil {
			t.Fatal(err)
		}
		check(t, text, got, number, alone)
	})
}
