// Package proflabels tells profiles which event a goroutine has worked for.
//
//	srv.Use(proflabels.New())
//
// A CPU profile, and a goroutine profile, then has the labels namespace and event:
// go tool pprof -tagfocus event=order. What clients make up is "other", as is a
// namespace of OfFunc; one of OfPattern is its pattern.
package proflabels

import (
	"context"
	"runtime/pprof"

	"github.com/upshift-go/upshift/core"
)

// New returns the middleware. It costs a few allocations for each request: use it
// while there is something to find out.
func New() core.Middleware {
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) (err error) {
			pprof.Do(ctx, labels(r), func(ctx context.Context) { err = next(ctx, r) })
			return err
		}
	}
}

func labels(r *core.Request) pprof.LabelSet {
	n := r.Socket.Namespace()
	event := "connect"
	if !r.Connect() {
		event = n.EventLabel(r.Event)
	}
	return pprof.Labels("namespace", n.Label(), "event", event)
}
