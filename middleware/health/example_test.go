package health_test

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"os"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/health"
)

func Example() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	token := []byte("Bearer " + os.Getenv("OPERATOR_TOKEN"))
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/livez", health.Live())
	mux.Handle("/readyz", health.Ready(srv, health.ReadyOptions{}))
	mux.Handle("/debug/upshift", health.Snapshot(srv, health.SnapshotOptions{
		Allow: func(_ context.Context, h *core.Handshake) error {
			if subtle.ConstantTimeCompare([]byte(h.Header.Get("Authorization")), token) == 0 {
				return errors.New("not an operator")
			}
			return nil
		},
	}))
	// Output:
}
