package client

import (
	"context"
	"slices"

	"github.com/upshift-go/upshift/codec"
)

// A call waits for the server's answer to one event.
type call struct {
	id   uint64
	kept bool                    // its event is in the buffer; guarded by Socket.mu
	done func(codec.Args, error) // is called once, with no lock held; nil if nobody waits
}

// A failure is a call that is not going to be answered, or an event that is not
// going to be sent.
type failure struct {
	call  *call  // nil if no answer is wanted
	event string // for the log, if nobody waits
	err   error
}

type failures []failure

// tellFailed ends calls, and logs what nobody waits for. No lock is held.
func (s *Socket) tellFailed(f failures) {
	for _, failed := range f {
		switch {
		case failed.call != nil && failed.call.done != nil:
			failed.call.done(codec.Args{}, failed.err)
		case failed.event != "":
			s.givenUp(failed.event, failed.err)
		}
	}
}

// Call sends an event, waits for the answer and decodes it into answer, one
// pointer for each argument; what the server does not send leaves its pointer
// alone. An event that has to wait for a connection is waited for, too.
//
// It ends with context.Cause(ctx) when ctx ends first, and an event that still
// waits is not sent then; with ErrAckTimeout after SocketOptions.AckTimeout;
// with an error that wraps ErrDisconnected when the connection is lost before
// the answer, unless there are SocketOptions.Retries; with an *Error if that is
// the answer, see Options.AnswerError. Other errors are those of Emit, and of
// decoding the answer.
//
// A handler may call: the answer does not queue behind it.
func (s *Socket) Call(ctx context.Context, event string, args []any, answer ...any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	type outcome struct {
		args codec.Args
		err  error
	}
	outcomes := make(chan outcome, 1)
	done := func(args codec.Args, err error) { outcomes <- outcome{args, err} }
	cancel, err := s.ask(event, args, done)
	if err != nil {
		return err
	}
	if s.options.AckTimeout > 0 && s.options.Retries == 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, s.options.AckTimeout, ErrAckTimeout)
		defer stop()
	}
	var o outcome
	select {
	case o = <-outcomes:
	case <-ctx.Done():
		cancel()
		select {
		case o = <-outcomes: // it came at the same time
		default:
			return context.Cause(ctx)
		}
	}
	if o.err != nil {
		return o.err
	}
	if err := s.manager.options.AnswerError(o.args); err != nil {
		return err
	}
	return o.args.Bind(answer...)
}

// ask sends an event that wants an answer. done is not called any more once
// cancel has returned, but may just have been.
func (s *Socket) ask(event string, args []any, done func(codec.Args, error)) (cancel func(), err error) {
	if s.options.Retries > 0 {
		r, err := s.retry(event, args, done)
		return func() { s.abandonRetry(r) }, err
	}
	c := &call{done: done}
	s.mu.Lock()
	c.id = s.nextIDLocked()
	if s.calls == nil {
		s.calls = make(map[uint64]*call, 1)
	}
	s.calls[c.id] = c
	s.mu.Unlock()
	if err := s.send(event, args, c, false); err != nil {
		s.forget(c)
		return nil, err
	}
	return func() { s.forget(c) }, nil
}

func (s *Socket) nextIDLocked() uint64 {
	id := s.asked
	s.asked++
	return id
}

// forget removes a call, and its event if that has not been sent.
func (s *Socket) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] != c {
		return
	}
	delete(s.calls, c.id)
	if !c.kept {
		return
	}
	s.buffer = slices.DeleteFunc(s.buffer, func(b *buffered) bool {
		if b.call == c {
			s.bufferBytes -= b.size
		}
		return b.call == c
	})
}

// answered takes an answer. One that nobody waits for is ignored: it is late,
// or a repetition.
func (s *Socket) answered(e *engine, r *codec.Received) {
	s.mu.Lock()
	if s.engine != e {
		s.mu.Unlock()
		return
	}
	if len(s.retried) > 0 && s.retried[0].tries > 0 && s.retried[0].call.id == r.ID {
		head := s.shiftRetryLocked()
		s.mu.Unlock()
		if head.call.done != nil {
			head.call.done(r.Args, nil)
		}
		s.drain()
		return
	}
	c := s.calls[r.ID]
	if c != nil && c.kept {
		c = nil // it was not asked yet
	} else {
		delete(s.calls, r.ID)
	}
	s.mu.Unlock()
	if c != nil {
		c.done(r.Args, nil)
	}
}

// failCallsLocked removes the calls whose events have been sent.
func (s *Socket) failCallsLocked(cause *CloseError) failures {
	var failed failures
	for id, c := range s.calls {
		if !c.kept {
			delete(s.calls, id)
			failed = append(failed, failure{call: c, err: &disconnectedError{cause}})
		}
	}
	return failed
}
