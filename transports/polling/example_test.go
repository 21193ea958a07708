package polling_test

import (
	"fmt"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
)

// A server for clients that cannot have WebSocket, or need not.
func ExampleNew() {
	srv, err := core.New(core.Options{
		Transports: []transports.Transport{polling.New(polling.Options{CompressFrom: 4096})},
	})
	fmt.Println(srv != nil, err)
	// Output: true <nil>
}

// A payload holds several packets.
func ExampleAppendPayload() {
	payload := polling.AppendPayload(nil, []transports.Packet{
		{Type: transports.Message, Data: []byte("hello")},
		{Type: transports.Message, Binary: true, Data: []byte{1, 2, 3}},
	})
	fmt.Printf("%q\n", payload)
	for p, err := range polling.Split(payload) {
		fmt.Printf("%s %t %q %v\n", p.Type, p.Binary, p.Data, err)
	}
	// Output:
	// "4hello\x1ebAQID"
	// message false "hello" <nil>
	// message true "\x01\x02\x03" <nil>
}
