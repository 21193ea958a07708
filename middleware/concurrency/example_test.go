package concurrency_test

import (
	"context"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/concurrency"
)

func ExampleNew() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	// Four reports at once, whoever asks; who has waited for five seconds is told
	// that it is busy.
	reports := srv.Of("/").Group(concurrency.New(concurrency.Options{Limit: 4, Wait: 5 * time.Second}))
	core.On(reports, "report", func(context.Context, *core.Socket, string) (string, error) { return "a report", nil })
	// Output:
}
