// Command metrics serves something to look at with Prometheus and Grafana.
//
//	make run EXAMPLE=metrics      # installs the client and prints the addresses
//	go run ./examples/metrics     # the page loads the client from a CDN
//
// Open the page in a few windows and press its buttons; /metrics has what Prometheus
// reads, and /dashboard.json is the dashboard to import into Grafana. For all three at
// once, with Docker:
//
//	docker compose -f examples/metrics/compose.yaml up
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/health"
	"github.com/upshift-go/upshift/middleware/metrics"
)

//go:embed web
var web embed.FS

// newSite makes a server with something to measure, and the addresses it is measured
// at.
func newSite(o core.Options) (*core.Server, http.Handler, error) {
	srv, err := core.New(o)
	if err != nil {
		return nil, nil, err
	}
	registry := prometheus.NewRegistry()
	if _, err := metrics.Attach(srv, metrics.Options{Registerer: registry}); err != nil {
		return nil, nil, err
	}
	ns := srv.Of("/")
	core.On(ns, "work", func(ctx context.Context, _ *core.Socket, most int) (string, error) { // milliseconds
		select {
		case <-time.After(time.Duration(rand.N(max(1, min(most, 5000)))) * time.Millisecond):
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	core.On(ns, "fail", func(context.Context, *core.Socket, core.None) (core.None, error) {
		return core.None{}, errors.New("as it was asked to")
	})
	core.On(ns, "tell", func(ctx context.Context, s *core.Socket, text string) (core.None, error) {
		return core.None{}, ns.Emit(ctx, "told", s.ID(), text)
	})

	page, _ := fs.Sub(web, "web") // the path is valid
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/livez", health.Live())
	mux.Handle("/readyz", health.Ready(srv, health.ReadyOptions{}))
	mux.HandleFunc("/dashboard.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(metrics.Dashboard) // who has left needs none
	})
	mux.Handle("/", http.FileServerFS(page))
	return srv, mux, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`host:port` to listen on; port 0 takes a free one")
	client := flag.String("client", "examples/chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	flag.Parse()

	_, site, err := newSite(core.Options{ClientDir: *client})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The page is at http://%s, what it does at http://%[1]s/metrics\n", listener.Addr())
	log.Fatal(http.Serve(listener, site))
}
