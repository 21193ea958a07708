package codec_test

import (
	"fmt"
	"slices"

	"github.com/upshift-go/upshift/codec"
)

// What an event looks like on the wire. Byte slices leave the text and follow
// it as attachments.
func ExampleJSON() {
	c := codec.JSON(codec.JSONOptions{})
	frames, err := c.Encode(nil, &codec.Packet{
		Type: codec.Event, Namespace: "/files", ID: 7, HasID: true,
		Event: "save", Args: []any{"notes.txt", []byte("hello")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range frames {
		fmt.Println(f.Binary, string(f.Data))
	}
	// Output:
	// false 51-/files,7["save","notes.txt",{"_placeholder":true,"num":0}]
	// true hello
}

// Limits of the codec. What is over them ends the session of who has sent it.
func ExampleJSONOptions() {
	c := codec.JSON(codec.JSONOptions{MaxDepth: 3})
	_, _, err := c.NewDecoder().Decode(codec.Frame{Data: []byte(`2["deep",[[[]]]]`)})
	fmt.Println(err)
	// Output: invalid payload
}

// A decoder belongs to one connection, because a packet with attachments comes
// in several frames. The arguments wait to be bound to Go values.
func ExampleDecoder() {
	d := codec.JSON(codec.JSONOptions{}).NewDecoder()
	for _, f := range []codec.Frame{
		{Data: []byte(`51-["save",{"name":"notes.txt","content":{"_placeholder":true,"num":0}}]`)},
		{Binary: true, Data: []byte("hello")},
	} {
		r, complete, err := d.Decode(f)
		if err != nil || !complete {
			fmt.Println("complete:", complete, "error:", err)
			continue
		}
		var file struct {
			Name    string
			Content []byte
		}
		fmt.Println(r.Event, r.Args.Bind(&file), file.Name, string(file.Content))
	}
	// Output:
	// complete: false error: <nil>
	// save <nil> notes.txt hello
}

// A codec of one's own may wrap another: this one refuses what it does not want
// to see on the wire. A codec with a wire of its own is in examples/customcodec;
// package codectest tests either.
func ExampleCodec() {
	c := onlyEvents{Codec: codec.JSON(codec.JSONOptions{}), names: []string{"tick"}}
	_, err := c.Encode(nil, &codec.Packet{Type: codec.Event, Event: "tick"})
	fmt.Println(err)
	_, err = c.Encode(nil, &codec.Packet{Type: codec.Event, Event: "secret"})
	fmt.Println(err)
	// Output:
	// <nil>
	// event "secret" is not to be sent
}

// onlyEvents sends no events but those with a name on its list.
type onlyEvents struct {
	codec.Codec
	names []string
}

func (c onlyEvents) Encode(dst []codec.Frame, p *codec.Packet) ([]codec.Frame, error) {
	if p.Type == codec.Event && !slices.Contains(c.names, p.Event) {
		return dst, fmt.Errorf("event %q is not to be sent", p.Event)
	}
	return c.Codec.Encode(dst, p)
}
