package recoverer_test

import (
	"context"
	"fmt"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/recoverer"
)

func ExampleNew() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	srv.Use(recoverer.New(recoverer.Options{
		Report: func(_ context.Context, p *recoverer.PanicError) { fmt.Println(p) }, // to a service that collects crashes
		Answer: func(*recoverer.PanicError) error { return core.Errorf("crashed", "we have been told") },
	}))
	// Output:
}
