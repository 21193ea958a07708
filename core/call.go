package core

import (
	"context"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
)

// A call waits for a client's answer to one event.
type call struct {
	socket *Socket
	done   chan<- *call // takes the call when it is over; it has room
	answer codec.Args
	err    error
}

// Call sends an event to the client, waits for its answer and decodes it into
// answer, one pointer for each argument of the ack; what the client does not
// send leaves its pointer alone. It ends with context.Cause(ctx) when ctx ends
// first, and with an error that wraps ErrDisconnected when the socket leaves
// first; without a deadline it waits for one of these. Other errors are those
// of Emit, and of decoding the answer. The event is not kept for recovery.
//
// A handler may call its own client: the answer does not queue behind it.
func (s *Socket) Call(ctx context.Context, event string, args []any, answer ...any) error {
	started := since(s.namespace.server.watchers().called)
	err := s.call(ctx, event, args, answer)
	s.namespace.server.called(s, event, started, err)
	return err
}

func (s *Socket) call(ctx context.Context, event string, args, answer []any) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	n := s.namespace
	id := n.acks.Add(1) - 1
	done := make(chan *call, 1)
	c := &call{socket: s, done: done}
	if !s.await(id, c) {
		return c.err
	}
	defer s.forget(id)
	s.tellOutgoing(event, args)
	err := s.deliver(session.Delivery{}, false, codec.Packet{
		Type: codec.Event, Namespace: n.name, ID: id, HasID: true, Event: event, Args: args,
	})
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done: // it came at the same time
		default:
			return context.Cause(ctx)
		}
	}
	if c.err != nil {
		return c.err
	}
	return c.answer.Bind(answer...)
}

// await registers a call. If the socket has left, the call is over at once, and
// await reports false.
func (s *Socket) await(id uint64, c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cause := s.queue.cause; cause != nil {
		c.err = &disconnectedError{cause}
		c.done <- c
		return false
	}
	if s.calls == nil {
		s.calls = make(map[uint64]*call, 1)
	}
	s.calls[id] = c
	return true
}

// resolve takes an answer, on the reader's goroutine. One that nobody waits
// for is ignored: it is late, or a repetition.
func (s *Socket) resolve(r *codec.Received) {
	if c := s.forget(r.ID); c != nil {
		c.answer = r.Args
		c.done <- c
	}
}

// fail ends a call, if it is not over yet.
func (s *Socket) fail(id uint64, err error) {
	if c := s.forget(id); c != nil {
		c.err = err
		c.done <- c
	}
}

// abandon ends all calls when the socket has left.
func (s *Socket) abandon(cause *CloseError) {
	s.mu.Lock()
	calls := s.calls
	s.calls = nil
	s.mu.Unlock()
	for _, c := range calls {
		c.err = &disconnectedError{cause}
		c.done <- c
	}
}

// forget removes a call and returns it, or nil if it is over.
func (s *Socket) forget(id uint64) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	delete(s.calls, id)
	if len(s.calls) == 0 {
		s.calls = nil
	}
	return c
}

// A disconnectedError is ErrDisconnected with its cause.
type disconnectedError struct{ cause error }

func (e *disconnectedError) Error() string { return ErrDisconnected.Error() + ": " + e.cause.Error() }

func (e *disconnectedError) Unwrap() []error { return []error{ErrDisconnected, e.cause} }
