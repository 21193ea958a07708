package dedupe_test

import (
	"context"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/dedupe"
)

func ExampleNew() {
	type Order struct{ ID, Item string }
	type Receipt struct{ Number int }
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	// In the client: io({retries: 5, ackTimeout: 5000}), and
	// socket.emit("order", {ID: crypto.randomUUID(), Item: "tea"}, …)
	orders := srv.Of("/").Group(dedupe.New(dedupe.Options{
		Key:  dedupe.Field("ID"),
		User: func(s *core.Socket) string { return s.Handshake().Query.Get("user") }, // better: what has been verified
	}))
	core.On(orders, "order", func(context.Context, *core.Socket, Order) (Receipt, error) {
		return Receipt{Number: 1}, nil // once for each ID
	})
	// Output:
}
