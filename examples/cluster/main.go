// Command cluster is a chat on several servers: three of ours behind a balancer that
// sends each request to the next of them, sticky or not, and one of Node.js, which share
// one Redis.
//
//	make run EXAMPLE=cluster
//
// starts all of it on this machine: Redis too, if there is none to be found. With -nats
// it is a cluster of a single binary, with a NATS server in the process, and no Node.
// With -serve it is one server, as compose.yaml starts them.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
)

//go:embed web
var web embed.FS

// flags are what the command line says.
type flags struct {
	addr, redis, client, name, advertise, secret string
	serve, nats                                  bool
}

func main() {
	var f flags
	flag.StringVar(&f.addr, "addr", "127.0.0.1:3000", "`host:port` of the balancer, or of the server with -serve")
	flag.StringVar(&f.redis, "redis", "", "`host:port` of Redis (default: one that is started for the purpose)")
	flag.StringVar(&f.client, "client", "examples/chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	flag.BoolVar(&f.nats, "nats", false, "a NATS server in this process instead of Redis, and no Node")
	flag.BoolVar(&f.serve, "serve", false, "be one server, and nothing else")
	flag.StringVar(&f.name, "name", "go", "what the server calls itself")
	flag.StringVar(&f.advertise, "advertise", "", "`URL` at which the other servers reach this one")
	flag.StringVar(&f.secret, "secret", "a secret of this example", "what the servers share; see adapters/relay")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, f, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags, out io.Writer) error {
	if f.serve {
		return serveOne(ctx, f, out)
	}
	return serveAll(ctx, f, out)
}

// onRedis is the adapter of a server.
func onRedis(addr string) core.Adapter {
	return streams.New(streams.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}})
}
