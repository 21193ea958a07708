package core_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/upshift-go/upshift/core"
)

// The payload is decoded into the handler's type, and what the handler returns
// is the answer to a client that asked for one.
func ExampleOn() {
	srv := newDemo(core.Options{})
	defer srv.close()

	type Order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	type Receipt struct {
		Total int `json:"total"`
	}
	core.On(srv.Of("/"), "order", func(_ context.Context, _ *core.Socket, o Order) (Receipt, error) {
		return Receipt{Total: 3 * o.Count}, nil
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("order", Order{"tea", 2}))
	fmt.Println(client.ask("order", "tea")) // does not fit
	// Output:
	// {"total":6}
	// {"error":{"code":"bad_payload","message":"payload does not fit"}}
}

// An Event is the name and the types of an event in one place, for whoever
// handles or sends it.
func ExampleOnEvent() {
	var (
		say   = core.NewEvent[string, int]("say")         // client to server, answered
		heard = core.NewEvent[string, core.None]("heard") // server to client
	)
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")

	core.OnEvent(ns, say, func(ctx context.Context, _ *core.Socket, text string) (int, error) {
		return len(text), heard.Emit(ctx, ns, text)
	})

	client := srv.join("/", nil)
	client.emit("say", "hello")
	fmt.Println(client.next())
	// Output: heard "hello"
}

// Several arguments on the wire, both ways. Node programs often send so.
func ExampleOn_severalArguments() {
	srv := newDemo(core.Options{})
	defer srv.close()

	core.On(srv.Of("/"), "divide", func(_ context.Context, _ *core.Socket, in core.Args2[int, int]) (core.Args2[int, int], error) {
		return core.Args2[int, int]{A: in.A / in.B, B: in.A % in.B}, nil
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("divide", 17, 5))
	// Output: 3,2
}

// An Error is meant for the client. Of any other the client learns nothing but
// that there was one; the log has the rest.
func ExampleError() {
	srv := newDemo(core.Options{})
	defer srv.close()

	core.On(srv.Of("/"), "withdraw", func(_ context.Context, _ *core.Socket, amount int) (core.None, error) {
		switch {
		case amount > 100:
			return core.None{}, &core.Error{Code: "too_much", Message: "not that much", Data: map[string]int{"limit": 100}}
		case amount < 0:
			return core.None{}, core.Errorf("bad_amount", "%d is negative", amount)
		}
		return core.None{}, errors.New("connect 10.0.0.7:5432: refused")
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("withdraw", 500))
	fmt.Println(client.ask("withdraw", -1))
	fmt.Println(client.ask("withdraw", 1))
	// Output:
	// {"error":{"code":"too_much","message":"not that much","data":{"limit":100}}}
	// {"error":{"code":"bad_amount","message":"-1 is negative"}}
	// {"error":{"code":"internal","message":"internal error"}}
}

// Clients that expect another shape of errors, such as (error, value), get it.
func ExampleOptions_errorAnswer() {
	srv := newDemo(core.Options{
		ErrorAnswer: func(e *core.Error) any { return e.Message },
	})
	defer srv.close()
	core.On(srv.Of("/"), "save", func(context.Context, *core.Socket, core.None) (core.None, error) {
		return core.None{}, core.Errorf("read_only", "nothing can be saved today")
	})
	fmt.Println(srv.join("/", nil).ask("save"))
	// Output: "nothing can be saved today"
}

// A Handler sees an event as it came. What is not decoded costs nothing.
func ExampleHandler() {
	srv := newDemo(core.Options{})
	defer srv.close()

	srv.Of("/").Handle("sum", func(_ context.Context, r *core.Request) error {
		sum := 0
		for i := range r.Args.Len() {
			var n int
			if err := r.Args.Raw(i).Bind(&n); err != nil {
				return core.Errorf(core.CodeBadPayload, "argument %d is no number", i)
			}
			sum += n
		}
		r.SetAnswer(sum)
		return nil
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("sum", 1, 2, 3, 4))
	fmt.Println(client.ask("sum", 1, "two"))
	// Output:
	// 10
	// {"error":{"code":"bad_payload","message":"argument 1 is no number"}}
}

// OnAny sees every event that arrives, whether or not there is a handler.
func ExampleNamespace_OnAny() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnAny(func(_ context.Context, _ *core.Socket, event string, args core.Args) {
		fmt.Println(event, "with", args.Len(), "arguments")
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("ping", 1, 2))
	// Output:
	// ping with 2 arguments
	// {"error":{"code":"unknown_event","message":"no handler for this event"}}
}

// OnAnyOutgoing sees every event that is sent, once for each client.
func ExampleNamespace_OnAnyOutgoing() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnAnyOutgoing(func(_ *core.Socket, event string, args []any) { fmt.Println("sent:", event, args) })

	srv.join("/", nil)
	srv.join("/", nil)
	_ = ns.Emit(context.Background(), "tick", 7)
	// Output:
	// sent: tick [7]
	// sent: tick [7]
}

// What has no handler goes to the one of HandleUnknown. An error message may
// help who has mistyped a name.
func ExampleNamespace_HandleUnknown() {
	srv := newDemo(core.Options{})
	defer srv.close()
	srv.Of("/").HandleUnknown(func(_ context.Context, r *core.Request) error {
		return core.Errorf(core.CodeUnknownEvent, "there is no event %q", r.Event)
	})
	fmt.Println(srv.join("/", nil).ask("mesage"))
	// Output: {"error":{"code":"unknown_event","message":"there is no event \"mesage\""}}
}
