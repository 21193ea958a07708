// Package health answers those who look after a server: whether it lives, whether it
// takes clients, and who is on it.
//
//	mux.Handle("/livez", health.Live())
//	mux.Handle("/readyz", health.Ready(srv, health.ReadyOptions{}))
//	mux.Handle("/debug/upshift", health.Snapshot(srv, health.SnapshotOptions{Allow: onlyOperators}))
//
// Each Handler serves net/http and fasthttp.
package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
)

// A Handler answers GET and HEAD. It is safe for concurrent use.
type Handler struct {
	answer func(ex transports.Exchange) (status int, body any)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(exchange.HTTP(w, r)) }

// ServeFastHTTP is a fasthttp.RequestHandler.
func (h *Handler) ServeFastHTTP(ctx *fasthttp.RequestCtx) { h.serve(exchange.FastHTTP(ctx, false)) }

func (h *Handler) serve(ex transports.Exchange) {
	ex.SetHeader("Cache-Control", "no-store")
	ex.SetHeader("Content-Type", "application/json")
	if m := ex.Method(); m != http.MethodGet && m != http.MethodHead {
		ex.SetHeader("Allow", "GET, HEAD")
		respond(ex, http.StatusMethodNotAllowed, status{"method not allowed", nil})
		return
	}
	code, body := h.answer(ex)
	respond(ex, code, body)
}

// respond sends an answer. Who does not wait for it needs none.
func respond(ex transports.Exchange, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"status":"error"}`)
	}
	if ex.Method() == http.MethodHead {
		text = nil
	}
	_ = ex.Respond(code, text)
}

type status struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

// Live answers 200 for as long as the process can: a server that does not answer is
// to be started anew.
func Live() *Handler {
	return &Handler{func(transports.Exchange) (int, any) { return http.StatusOK, status{"ok", nil} }}
}

// ReadyOptions say what else a server needs. The zero value asks for nothing.
type ReadyOptions struct {
	// Checks are asked at once, for each request: a database, an adapter. One that
	// returns an error makes the server not ready; the answer has its name and
	// text. They must heed their context.
	Checks map[string]func(ctx context.Context) error
	// Timeout is how long the checks may take. Default 2 s.
	Timeout time.Duration
}

// Ready answers 200 if new clients are welcome, and 503 if not: once Shutdown has
// begun, or if a check fails. A load balancer sends them elsewhere then; those that
// are connected may stay.
func Ready(srv *core.Server, o ReadyOptions) *Handler {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	return &Handler{func(ex transports.Exchange) (int, any) {
		if srv.Draining() {
			return http.StatusServiceUnavailable, status{"draining", nil}
		}
		if failed := o.check(ex.Context()); len(failed) > 0 {
			return http.StatusServiceUnavailable, status{"failing", failed}
		}
		return http.StatusOK, status{"ok", nil}
	}}
}

// check runs the checks and returns what is wrong.
func (o *ReadyOptions) check(ctx context.Context) map[string]string {
	if len(o.Checks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var (
		mu     sync.Mutex // guards failed
		failed = make(map[string]string)
		all    sync.WaitGroup
	)
	for name, check := range o.Checks {
		all.Go(func() {
			if err := guard(ctx, check); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[name] = err.Error()
			}
		})
	}
	all.Wait()
	return failed
}

// guard turns a panic into an error.
func guard(ctx context.Context, check func(ctx context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return check(ctx)
}
