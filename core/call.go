package core

import (
	"context"

	"github.com/upshift-go/upshift/codec"
)

// A call waits for the client's answer to one event.
type call struct {
	done   chan struct{} // closed when answer is set
	answer codec.Args
}

// Call sends an event to the client, waits for its answer and decodes it into
// answer, one pointer for each argument of the ack; what the client does not
// send leaves its pointer alone. It ends with context.Cause(ctx) when ctx ends
// first, and with an error that wraps ErrDisconnected when the socket leaves
// first; without a deadline it waits for one of these. Other errors are those
// of Emit, and of decoding the answer.
//
// A handler may call its own client: the answer does not queue behind it.
func (s *Socket) Call(ctx context.Context, event string, args []any, answer ...any) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	id := s.namespace.acks.Add(1) - 1
	c := &call{done: make(chan struct{})}
	s.mu.Lock()
	if s.calls == nil {
		s.calls = make(map[uint64]*call, 1)
	}
	s.calls[id] = c
	s.mu.Unlock()
	defer s.forget(id)

	err := s.send(codec.Packet{
		Type: codec.Event, Namespace: s.namespace.name, ID: id, HasID: true, Event: event, Args: args,
	})
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.answer.Bind(answer...)
	default:
	}
	select {
	case <-c.done:
		return c.answer.Bind(answer...)
	case <-s.ctx.Done():
		return &disconnectedError{cause: context.Cause(s.ctx)}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// resolve takes an answer, on the reader's goroutine. One that nobody waits
// for is ignored: it is late, or a repetition.
func (s *Socket) resolve(r *codec.Received) {
	s.mu.Lock()
	c := s.calls[r.ID]
	delete(s.calls, r.ID)
	s.mu.Unlock()
	if c != nil {
		c.answer = r.Args
		close(c.done)
	}
}

func (s *Socket) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, id)
	if len(s.calls) == 0 {
		s.calls = nil
	}
}

// A disconnectedError is ErrDisconnected with its cause.
type disconnectedError struct{ cause error }

func (e *disconnectedError) Error() string { return ErrDisconnected.Error() + ": " + e.cause.Error() }

func (e *disconnectedError) Unwrap() []error { return []error{ErrDisconnected, e.cause} }
