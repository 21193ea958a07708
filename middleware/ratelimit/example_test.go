package ratelimit_test

import (
	"context"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/ratelimit"
)

func ExampleNew() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	// Every socket 50 events in a second, and invitations one in five seconds.
	srv.Use(ratelimit.New(ratelimit.Options{Rate: 50, Burst: 100}))
	seldom := srv.Of("/").Group(ratelimit.New(ratelimit.Options{Rate: 0.2, Burst: 3}))
	core.On(seldom, "invite", func(context.Context, *core.Socket, string) (core.None, error) { return core.None{}, nil })
	// Output:
}
