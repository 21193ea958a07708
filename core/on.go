package core

import (
	"context"
	"fmt"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

// Event describes an event with its types. It is event.Event: declare
// descriptors with package event where a Go client shares them.
type Event[In, Out any] = event.Event[In, Out]

// Args are the arguments of an event that are not decoded yet.
type Args = codec.Args

// None is a payload, or an answer, of no arguments.
type None = event.None

// Args2 is a payload, or an answer, of two arguments on the wire.
type Args2[A, B any] = event.Args2[A, B]

// Args3 is a payload, or an answer, of three arguments on the wire.
type Args3[A, B, C any] = event.Args3[A, B, C]

// NewEvent describes the event with the given name.
func NewEvent[In, Out any](name string) Event[In, Out] { return event.New[In, Out](name) }

// A Registry is where handlers are registered: a Namespace, or a Group of
// handlers that share middleware.
type Registry interface {
	// Handle registers the handler of an event. It replaces an earlier one,
	// so an event has one handler. Handlers may be registered while clients
	// are connected. It panics if the name is reserved.
	Handle(event string, h Handler)
}

// On registers a typed handler for the named event. The arguments of the event
// are decoded into In, straight from the bytes received; what the handler
// returns is the answer to a client that wants one. Arguments that do not fit
// are answered with the code "bad_payload" and do not reach the handler;
// surplus arguments are ignored, missing ones leave zero values.
func On[In, Out any](r Registry, name string, fn func(ctx context.Context, s *Socket, in In) (Out, error)) {
	// What is a single argument, as most payloads are, needs no list of them.
	_, severalIn := any(new(In)).(event.TuplePointer)
	_, severalOut := any(*new(Out)).(event.Tuple)
	targets := sync.Pool{New: func() any { return new(In) }}
	r.Handle(name, func(ctx context.Context, req *Request) error {
		target := targets.Get().(*In) //nolint:forcetypeassert // the pool holds nothing else
		var err error
		if severalIn {
			err = req.Args.Bind(event.Pointers(target)...)
		} else {
			err = req.Args.Raw(0).Bind(target)
		}
		var in In
		in, *target = *target, in // fn gets a copy, the next event a zero value
		targets.Put(target)
		if err != nil {
			return &badPayloadError{err}
		}
		out, err := fn(ctx, req.Socket, in)
		switch {
		case err != nil || !req.acked:
		case severalOut:
			req.answer = event.Values(out)
		default:
			req.single[0] = out
			req.answer = req.single[:]
		}
		return err
	})
}

// OnEvent is On with the name and the types of a descriptor.
func OnEvent[In, Out any](r Registry, e Event[In, Out], fn func(ctx context.Context, s *Socket, in In) (Out, error)) {
	On(r, e.Name(), fn)
}

// A badPayloadError is what middleware sees when arguments do not fit; the client is
// told the code and not the decoder's text.
type badPayloadError struct{ err error }

func (e *badPayloadError) Error() string { return fmt.Sprintf("core: payload does not fit: %v", e.err) }

func (e *badPayloadError) Unwrap() []error {
	return []error{e.err, &Error{Code: CodeBadPayload, Message: "payload does not fit"}}
}
