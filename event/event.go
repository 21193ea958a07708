// Package event describes events: a name, the type of what is sent and the
// type of what is answered. Descriptors are values that a server and a Go
// client share, so that neither can send what the other does not take. The
// package depends on nothing, so sharing one links neither side into the
// other. core.Event is an alias of Event.
package event

import (
	"context"
	"iter"
)

// An Event describes an event that carries In and is answered with Out. Use
// None where there is nothing to carry or to answer, Args2 or Args3 for
// several arguments on the wire.
type Event[In, Out any] struct{ name string }

// New describes the event with the given name.
func New[In, Out any](name string) Event[In, Out] { return Event[In, Out]{name: name} }

// Name is the event's name on the wire.
func (e Event[In, Out]) Name() string { return e.name }

// An Emitter sends events: a socket, a namespace, a target, a client.
type Emitter interface {
	Emit(ctx context.Context, event string, args ...any) error
}

// A Caller sends an event and waits for its answer, which it decodes into
// answer, one element per argument of the ack.
type Caller interface {
	Call(ctx context.Context, event string, args []any, answer ...any) error
}

// Emit sends the event to whoever to stands for. Its errors are to's.
func (e Event[In, Out]) Emit(ctx context.Context, to Emitter, in In) error {
	return to.Emit(ctx, e.name, Values(in)...)
}

// Call sends the event and waits for the answer, until ctx ends. Its errors
// are to's.
func (e Event[In, Out]) Call(ctx context.Context, to Caller, in In) (Out, error) {
	var out Out
	err := to.Call(ctx, e.name, Values(in), Pointers(&out)...)
	return out, err
}

// An AllCaller sends an event to many and yields their answers, or why there is
// none, one by one.
type AllCaller interface {
	CallAll(ctx context.Context, event string, args []any) iter.Seq2[RawReply, error]
}

// A RawReply is one answer of many, not decoded yet.
type RawReply struct {
	// SocketID is the socket that has answered, or has not.
	SocketID string
	// Answer decodes the arguments of the answer.
	Answer interface{ Bind(pointers ...any) error }
}

// A Reply is one answer of many.
type Reply[Out any] struct {
	// SocketID is the socket that has answered, or has not.
	SocketID string
	// Value is the answer.
	Value Out
}

// CallAll sends the event to many and yields the answers as they arrive. An
// answer that does not fit Out is an error, as is none; the Reply then says
// whose. See what to says about errors and about how the loop ends.
func (e Event[In, Out]) CallAll(ctx context.Context, to AllCaller, in In) iter.Seq2[Reply[Out], error] {
	return func(yield func(Reply[Out], error) bool) {
		for raw, err := range to.CallAll(ctx, e.name, Values(in)) {
			r := Reply[Out]{SocketID: raw.SocketID}
			if err == nil {
				err = raw.Answer.Bind(Pointers(&r.Value)...)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// None is a payload, or an answer, of no arguments.
type None struct{}

// Args2 is a payload, or an answer, of two arguments.
type Args2[A, B any] struct {
	A A
	B B
}

// Args3 is a payload, or an answer, of three arguments.
type Args3[A, B, C any] struct {
	A A
	B B
	C C
}

// A Tuple is a value that stands for several arguments, or for none. None,
// Args2 and Args3 are tuples; their pointers can be decoded into.
type Tuple interface {
	// Values are the arguments to send.
	Values() []any
}

// A TuplePointer is a pointer to a Tuple.
type TuplePointer interface {
	Tuple
	// Pointers are where to decode the arguments.
	Pointers() []any
}

// Values implements Tuple.
func (None) Values() []any { return nil }

// Pointers implements TuplePointer.
func (*None) Pointers() []any { return nil }

// Values implements Tuple.
func (a Args2[A, B]) Values() []any { return []any{a.A, a.B} }

// Pointers implements TuplePointer.
func (a *Args2[A, B]) Pointers() []any { return []any{&a.A, &a.B} }

// Values implements Tuple.
func (a Args3[A, B, C]) Values() []any { return []any{a.A, a.B, a.C} }

// Pointers implements TuplePointer.
func (a *Args3[A, B, C]) Pointers() []any { return []any{&a.A, &a.B, &a.C} }

// Values returns the wire arguments of a payload: those of a Tuple, or v
// itself as the only one.
func Values[T any](v T) []any {
	boxed := any(v)
	if t, ok := boxed.(Tuple); ok {
		return t.Values()
	}
	return []any{boxed}
}

// Pointers returns where to decode the wire arguments of a payload.
func Pointers[T any](v *T) []any {
	if t, ok := any(v).(TuplePointer); ok {
		return t.Pointers()
	}
	return []any{v}
}
