package timeout_test

import (
	"context"
	"fmt"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/timeout"
)

func ExampleNew() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	quick := srv.Of("/").Group(timeout.New(5 * time.Second))
	core.On(quick, "search", func(ctx context.Context, _ *core.Socket, query string) ([]string, error) {
		deadline, ok := ctx.Deadline()
		fmt.Println(query, deadline, ok) // what it asks a database with
		return nil, nil
	})
	// Output:
}
