package core

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/codec"
)

// A Handler handles a Request: an event that a client has sent, or its wish
// to connect to a namespace. An error answers the event, or refuses the
// connection; see Error for what the client learns of it.
//
// Requests of one socket are handled one after the other, in the order they
// were sent. A Handler may block, and may wait for an answer of its own
// client: only later events of the same socket wait for it.
//
// ctx ends when the socket leaves. Events that had arrived by then are still
// handled, with a ctx that has ended already: use context.WithoutCancel for
// work that must be finished for a client that has gone.
type Handler func(ctx context.Context, r *Request) error

// Middleware wraps a Handler. It runs for connects and for events alike; the
// Request says which. Middleware that is added first runs outermost. A chain
// is composed when it is first needed after something was registered, not for
// each event: what it does while it wraps next must not register anything.
type Middleware func(next Handler) Handler

// A Request is one event, or one connect, on its way to its handler. It is
// valid until the handler returns and belongs to the goroutine that runs it: then
// it becomes another one. Its Socket, Event and Args may be kept.
type Request struct {
	// Socket is the client. During a connect it has an id and may join
	// rooms, but is not connected yet and no broadcast reaches it.
	Socket *Socket
	// Event is the event's name, and empty for a connect.
	Event string
	// Args are the arguments of the event, not decoded yet. They are empty
	// for a connect: Socket.Auth has what the client sent.
	Args codec.Args

	connect bool
	acked   bool   // the client waits for an answer
	id      uint64 // of the event, if acked
	answer  []any
	single  [1]any // what answer refers to when it is one argument

	next *Request // in the queue of its socket
}

// requests are used again: of all that an event leaves behind they would be most.
var requests = sync.Pool{New: func() any { return new(Request) }}

// newRequest returns the request of an event.
func newRequest(s *Socket, e *codec.Received) *Request {
	r := requests.Get().(*Request) //nolint:forcetypeassert // the pool holds nothing else
	r.Socket, r.Event, r.Args = s, e.Event, e.Args
	r.acked, r.id = e.HasID, e.ID
	return r
}

// free is called when the request of an event has been handled.
func (r *Request) free() {
	*r = Request{}
	requests.Put(r)
}

// Connect reports whether the client wants to connect, rather than having
// sent an event.
func (r *Request) Connect() bool { return r.connect }

// WantsAnswer reports whether the client waits for an acknowledgement.
func (r *Request) WantsAnswer() bool { return r.acked }

// Bind decodes the arguments into pointers, in order. Arguments that the
// client did not send leave theirs alone.
func (r *Request) Bind(pointers ...any) error { return r.Args.Bind(pointers...) }

// Answer is what the handler answered: the arguments of the acknowledgement.
// Middleware sees it after next has returned nil. The slice is valid as long as r
// is.
func (r *Request) Answer() []any { return r.answer }

// SetAnswer replaces the answer. It is sent when the outermost middleware has
// returned nil, if the client waits for one.
func (r *Request) SetAnswer(args ...any) { r.answer = args }

// checkMiddleware panics if there is none behind a Middleware: at registration,
// rather than when the first client comes.
func checkMiddleware(middleware []Middleware) {
	for _, m := range middleware {
		if m == nil {
			panic("core: a Middleware is nil") //nolint:forbidigo // a programmer's error, at registration
		}
	}
}

// chain wraps h in the given middleware, the first outermost.
func chain(h Handler, middleware ...[]Middleware) Handler {
	for _, layer := range slices.Backward(middleware) {
		for _, m := range slices.Backward(layer) {
			h = m.wrap(h)
		}
	}
	return h
}

// wrap calls m. Should it panic, or return nothing, each request fails with it.
func (m Middleware) wrap(next Handler) (h Handler) {
	if err := guard(func() error { h = m(next); return nil }); err != nil {
		return func(context.Context, *Request) error { return err }
	}
	if h == nil {
		return func(context.Context, *Request) error { return errNoHandler }
	}
	return h
}

var errNoHandler = errors.New("a Middleware returned no Handler")

// A panicError is a panic of user code, turned into an error.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// guard calls user code and turns its panic into an error.
func guard(f func() error) (err error) {
	defer rescue(&err)
	return f()
}

// run is guard for a Handler, where a function of its own for each event would
// cost an allocation.
func (r *Request) run(ctx context.Context, h Handler) (err error) {
	defer rescue(&err)
	return h(ctx, r)
}

// rescue is deferred around user code.
func rescue(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{value: v, stack: debug.Stack()}
	}
}
