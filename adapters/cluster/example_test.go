package cluster_test

import (
	"fmt"
	"testing"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/upshifttest"
)

// What one server sends to a room reaches its members on all. In production the
// engine is that of a broker: redis.New(…) is cluster.New(redis.NewEngine(…), …).
func ExampleNew() {
	exampletest.Run(func(t testing.TB) {
		bus := new(adaptertest.Bus)
		options := cluster.Options{
			OnGap: func(reason error) { fmt.Println("events of other servers may be missing:", reason) },
		}
		one := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), options)})
		two := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), options)})

		client := upshifttest.Dial(t, two, "/", upshifttest.Options{})
		if err := two.Of("/").Socket(client.ID()).Join(t.Context(), "news"); err != nil {
			t.Fatal(err)
		}
		fmt.Println(one.Of("/").To("news").Emit(t.Context(), "headline", "It works"))
		fmt.Println(client.Next())
	})
	// Output:
	// <nil>
	// "headline" ["It works"]
}
