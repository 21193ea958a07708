package codec_test

import (
	"fmt"
	"time"

	"github.com/upshift-go/upshift/codec"
)

// With MessagePack a packet is one binary message, binary values and dates
// included. Clients need the official socket.io-msgpack-parser for it.
func ExampleMsgPack() {
	c := codec.MsgPack(codec.MsgPackOptions{})
	frames, err := c.Encode(nil, &codec.Packet{
		Type: codec.Event, Event: "save",
		Args: []any{[]byte("hello"), time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(frames), frames[0].Binary)

	r, _, err := c.NewDecoder().Decode(frames[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	var (
		content []byte
		at      time.Time
	)
	fmt.Println(r.Event, r.Args.Bind(&content, &at), string(content), at)
	// Output:
	// 1 true
	// save <nil> hello 2026-03-14 00:00:00 +0000 UTC
}
