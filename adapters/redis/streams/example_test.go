package streams_test

import (
	"net/http"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
)

// A client that has lost its connection comes back to any server of the cluster,
// and gets what it has missed.
func ExampleNew() {
	srv, err := core.New(core.Options{
		Adapter: streams.New(streams.Options{
			Client: rueidis.ClientOption{InitAddress: []string{"redis:6379"}},
			MaxLen: 100_000, // about what all servers send in Window
		}),
		Recovery: &core.Recovery{Window: 2 * time.Minute},
	})
	if err != nil { // not that Redis cannot be reached, which it need not be yet
		panic(err)
	}
	http.Handle("/socket.io/", srv)
}
