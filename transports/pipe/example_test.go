package pipe_test

import (
	"context"
	"fmt"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// A server, and a client that speaks the wire by hand.
func Example() {
	ctx := context.Background()
	tr := pipe.New()
	srv, err := core.New(core.Options{Transports: []transports.Transport{tr}})
	if err != nil {
		fmt.Println(err)
		return
	}
	core.On(srv.Of("/"), "greet", func(_ context.Context, _ *core.Socket, name string) (string, error) {
		return "hello " + name, nil
	})

	client, err := tr.Dial(srv, transports.Handshake{})
	if err != nil {
		fmt.Println(err)
		return
	}
	open, _ := client.Receive(ctx)
	fmt.Println(open.Type)
	_ = client.Send(message("0")) // connect to the main namespace
	_, _ = client.Receive(ctx)    // the answer has the id of the socket in it
	_ = client.Send(message(`21["greet","Ann"]`))
	answer, _ := client.Receive(ctx)
	fmt.Println(string(answer.Data))
	fmt.Println(srv.Shutdown(ctx))
	// Output:
	// open
	// 31["hello Ann"]
	// <nil>
}

func message(text string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(text)}
}
