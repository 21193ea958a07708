package tracing_test

import (
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/tracing"
)

func ExampleAttach() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	// With a TracerProvider set by otel.SetTracerProvider. Clients continue their
	// traces with socket.emit("say", "hello", {traceparent}).
	stop := tracing.Attach(srv, tracing.Options{Carrier: tracing.LastArgument})
	defer stop()
	// Output:
}
