package metrics_test

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/metrics"
)

func ExampleAttach() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	reg := prometheus.NewRegistry()
	stop, err := metrics.Attach(srv, metrics.Options{Registerer: reg})
	if err != nil {
		panic(err)
	}
	defer stop()
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	// Output:
}
