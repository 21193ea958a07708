package event_test

import (
	"context"
	"fmt"

	"github.com/upshift-go/upshift/event"
)

// An Order is what clients send and servers take.
type Order struct {
	Item  string
	Count int
}

// Events that server and client share, in a package of their own.
var (
	place   = event.New[Order, int]("order:place")                             // answered with a number
	shipped = event.New[event.Args2[int, string], event.None]("order:shipped") // two arguments, no answer
)

// wire stands for a socket, or for a client.
type wire struct{}

func (wire) Emit(_ context.Context, name string, args ...any) error {
	fmt.Println(name, args)
	return nil
}

func (wire) Call(_ context.Context, name string, args []any, answer ...any) error {
	fmt.Println(name, args)
	*answer[0].(*int) = 42
	return nil
}

// What does not have the right type does not compile.
func ExampleEvent() {
	ctx := context.Background()
	number, err := place.Call(ctx, wire{}, Order{"tea", 2})
	fmt.Println(number, err)
	_ = shipped.Emit(ctx, wire{}, event.Args2[int, string]{A: number, B: "by post"})
	// Output:
	// order:place [{tea 2}]
	// 42 <nil>
	// order:shipped [42 by post]
}

// Several arguments on the wire are one value here; their types stay apart.
func ExampleArgs2() {
	fmt.Println(event.Values(event.Args2[int, string]{A: 1, B: "one"}))
	fmt.Println(event.Values(event.None{}))
	// Output:
	// [1 one]
	// []
}
