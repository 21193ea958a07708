package auth_test

import (
	"context"
	"fmt"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// memory is the network of the examples, which need no port.
var memory = []transports.Transport{upshifttest.Transport()}

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
