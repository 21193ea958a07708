package validate_test

import (
	"context"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/validate"
)

func ExampleOn() {
	type Message struct {
		Room string `json:"room" validate:"required,max=64"`
		Text string `json:"text" validate:"required,max=2000"`
	}
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	validate.On(srv.Of("/chat"), "message", func(ctx context.Context, s *core.Socket, m Message) (core.None, error) {
		return core.None{}, s.To(m.Room).Emit(ctx, "message", m)
	})
	// Output:
}
