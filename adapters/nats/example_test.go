package nats_test

import (
	"net/http"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
)

func ExampleNew() {
	srv, err := core.New(core.Options{
		Adapter: nats.New(nats.Options{
			Servers: "nats://nats-1:4222,nats://nats-2:4222",
			Connect: []natsgo.Option{natsgo.UserCredentials("/run/secrets/nats.creds")},
		}),
	})
	if err != nil { // not that NATS cannot be reached, which it need not be yet
		panic(err)
	}
	http.Handle("/socket.io/", srv)
}

// With JetStream a client that has lost its connection comes back to any server of
// the cluster, and gets what it has missed.
func ExampleNewLog() {
	srv, err := core.New(core.Options{
		Adapter: nats.NewLog(nats.LogOptions{
			Options:  nats.Options{Servers: "nats://nats:4222"},
			Replicas: 3, // of a cluster of NATS
		}),
		Recovery: &core.Recovery{Window: 2 * time.Minute},
	})
	if err != nil {
		panic(err)
	}
	http.Handle("/socket.io/", srv)
}
