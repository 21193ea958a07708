// Package timeout gives handlers a time to be done in.
//
//	core.On(ns.Group(timeout.New(5*time.Second)), "search", search)
//
// It ends the handler's context. A handler that heeds its context returns then, and
// its client is told "timeout". One that does not goes on, and its client waits:
// the next event of the same socket is not handled while it runs, since events are
// handled in order. Connects are limited by core.Options.ConnectTimeout and are let
// through.
package timeout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/upshift-go/upshift/core"
)

// Code is what a client is told whose event took too long.
const Code = "timeout"

// ErrTimeout is the cause of a context that has ended for taking too long, and is
// wrapped by the error that the event fails with then.
var ErrTimeout = errors.New("timeout: the handler took too long")

// New returns middleware that gives each event the time d, which must be positive.
// A shorter one that wraps it, or is wrapped by it, counts.
func New(d time.Duration) core.Middleware {
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if r.Connect() {
				return next(ctx, r)
			}
			ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
			defer cancel()
			err := next(ctx, r)
			if err == nil || !errors.Is(context.Cause(ctx), ErrTimeout) {
				return err
			}
			if _, told := errors.AsType[*core.Error](err); told {
				return err // the handler has an answer of its own
			}
			return fmt.Errorf("%w: %w: %w", ErrTimeout, core.Errorf(Code, "took too long"), err)
		}
	}
}
