package event

import (
	"context"
	"iter"
	"sync"
)

// Arguments are those of an event that has arrived, not decoded yet.
type Arguments interface {
	// Bind decodes them into pointers, in order. Missing ones leave their
	// pointers alone.
	Bind(pointers ...any) error
}

// A Listener hears events: a Go client's socket.
type Listener interface {
	// Listen has fn called with every event of that name, one at a time and
	// in order, until stop is called. What it returns is the answer, if the
	// other side wants one. See the Listener about errors.
	Listen(event string, fn func(ctx context.Context, args Arguments) (answer []any, err error)) (stop func())

	// Watch has fn called with every event of that name like Listen, but
	// fn answers nothing, and with nil arguments and the reason when no
	// further event can come, which is the last call.
	Watch(event string, fn func(args Arguments, err error)) (stop func())
}

// On has fn called with every event of this kind, until stop is called. What
// fn returns is the answer. Arguments that do not fit In do not reach fn: the
// error of decoding them is what the Listener gets instead, as a
// *PayloadError.
func (e Event[In, Out]) On(from Listener, fn func(ctx context.Context, in In) (Out, error)) (stop func()) {
	return from.Listen(e.name, func(ctx context.Context, args Arguments) ([]any, error) {
		var in In
		if err := args.Bind(Pointers(&in)...); err != nil {
			return nil, &PayloadError{Event: e.name, Err: err}
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return Values(out), nil
	})
}

// maxAhead is how many events an iterator takes before the loop asks for them.
const maxAhead = 64

// All yields the events of this kind that arrive from when the loop begins, in
// order. One whose arguments do not fit In is yielded as a *PayloadError, and
// the loop goes on. It ends, with an error that says why, when ctx ends or when
// no further event can come. Events are not answered.
//
// A loop that does not keep up holds up the other handlers of the Listener: a
// few events are kept for it, and then it is waited for.
func (e Event[In, Out]) All(ctx context.Context, from Listener) iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		type arrival struct {
			args Arguments
			err  error
		}
		arrivals := make(chan arrival, maxAhead)
		left := make(chan struct{})
		stop := from.Watch(e.name, func(args Arguments, err error) {
			select {
			case arrivals <- arrival{args, err}:
			case <-left:
			case <-ctx.Done():
			}
		})
		leave := sync.OnceFunc(func() { close(left) })
		defer stop()
		defer leave()
		for {
			var in In
			select {
			case a := <-arrivals:
				if a.args == nil {
					yield(in, a.err)
					return
				}
				err := a.args.Bind(Pointers(&in)...)
				if err != nil {
					in, err = *new(In), &PayloadError{Event: e.name, Err: err}
				}
				if !yield(in, err) {
					return
				}
			case <-ctx.Done():
				yield(in, context.Cause(ctx))
				return
			}
		}
	}
}

// A PayloadError is an event whose arguments do not fit.
type PayloadError struct {
	// Event is its name.
	Event string
	// Err is what did not fit.
	Err error
}

// Error names the event and what did not fit.
func (e *PayloadError) Error() string {
	return "payload of " + e.Event + " does not fit: " + e.Err.Error()
}

// Unwrap returns what did not fit.
func (e *PayloadError) Unwrap() error { return e.Err }
