// Package recoverer says what becomes of a handler that panics. The framework
// survives panics without it: the event is answered with "internal", and the log
// has the stack. This is for programs that want to tell somebody else, such as a
// service that collects crashes, or to answer something else.
//
//	srv.Use(recoverer.New(recoverer.Options{Report: func(ctx context.Context, p *recoverer.PanicError) {
//		crashes.Send(p.Value, p.Stack)
//	}}))
//
// It sees the panics of what it wraps: add it first.
package recoverer

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/upshift-go/upshift/core"
)

// Options say what to do. The zero value turns a panic into an error.
type Options struct {
	// Report is told of each panic, on the goroutine of the handler, which waits
	// for it. Default: nobody is told.
	Report func(ctx context.Context, p *PanicError)
	// Answer makes the error that the request fails with: a *core.Error is told to
	// the client, any other is logged and told as "internal". Default: the PanicError
	// itself, which is logged.
	Answer func(p *PanicError) error
}

// A PanicError is what a handler has panicked with. It is an error; if Value is one, it
// wraps that.
type PanicError struct {
	Value     any
	Stack     []byte // of the goroutine, as debug.Stack returns it
	Namespace string
	Event     string // empty for a connect
	SocketID  string
}

// Error names the event and the value, but not the stack.
func (p *PanicError) Error() string {
	what := "connect"
	if p.Event != "" {
		what = fmt.Sprintf("event %q", p.Event)
	}
	return fmt.Sprintf("recoverer: panic in %s of %s: %v", what, p.Namespace, p.Value)
}

// Unwrap returns Value if it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// New returns the middleware. It may be used in several places.
func New(o Options) core.Middleware {
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = o.recovered(ctx, r, v)
				}
			}()
			return next(ctx, r)
		}
	}
}

func (o *Options) recovered(ctx context.Context, r *core.Request, v any) error {
	p := &PanicError{
		Value: v, Stack: debug.Stack(),
		Namespace: r.Socket.Namespace().Name(), Event: r.Event, SocketID: r.Socket.ID(),
	}
	if o.Report != nil {
		o.Report(ctx, p)
	}
	if o.Answer != nil {
		return o.Answer(p)
	}
	return p
}
