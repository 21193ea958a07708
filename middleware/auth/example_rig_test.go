package auth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// memory is the network of the examples, which need no port.
var memory = []transports.Transport{upshifttest.Transport()}

// An example has the part of a test that clients need.
type example struct {
	testing.TB
	cleanup []func()
}

func (*example) Helper()                           {}
func (*example) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (*example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *example) Cleanup(fn func())               { e.cleanup = append(e.cleanup, fn) }

// run runs the clients of an example.
func run(clients func(tb testing.TB)) {
	e := new(example)
	clients(e)
	for _, fn := range e.cleanup {
		fn()
	}
}

func stop(srv *core.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
}

func cookie(value string) upshifttest.Options {
	return upshifttest.Options{Handshake: transports.Handshake{Header: transports.NewHeader("Cookie", value)}}
}
