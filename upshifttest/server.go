package upshifttest

import (
	"context"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// memory carries every connection of this package. It has no state.
var memory = pipe.New()

// Transport returns the transport in memory, for the options of a server that
// the test does not make with NewServer. It may stand beside others.
func Transport() transports.Transport { return memory }

// NewServer makes a server that can be dialled with Dial. Transport is added
// to o.Transports, so that a server without others has no HTTP. The server is
// shut down, and waited for, when the test ends. An error of core.New, or of
// the shutdown, fails the test.
func NewServer(tb testing.TB, o core.Options) *core.Server {
	tb.Helper()
	o.Transports = append([]transports.Transport{memory}, o.Transports...)
	srv, err := core.New(o)
	if err != nil {
		tb.Fatalf("upshifttest: %v", err)
	}
	tb.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			tb.Errorf("upshifttest: Shutdown: %v", err)
		}
	})
	return srv
}
