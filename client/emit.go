package client

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// A buffered event waits for a connection.
type buffered struct {
	packets []transports.Packet
	size    int
	event   string // for the log
	call    *call  // nil if no answer is wanted
}

// buffered is how much may wait in a connection's outbox.
func (o *Options) buffered() int {
	if o.MaxBufferedBytes < 0 {
		return defaultBuffered
	}
	return o.MaxBufferedBytes
}

// Emit sends an event. Each of args is one argument on the wire; byte slices
// travel as binary, wherever they are. It does not wait for the server, nor for
// a connection: without one, the event is kept until there is, in order with
// the others. With SocketOptions.Retries it is sent until the server has
// acknowledged it.
//
// An error means that it is not going to be sent: it cannot be encoded, which
// can also be because its name is reserved (codec.ErrReservedEvent), too much
// is waiting (ErrBufferFull, ErrDisconnected if nothing may), it is too large
// for the server (ErrTooLarge), the socket is closed (ErrClosed), or ctx has
// ended.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.options.Retries > 0 {
		_, err := s.retry(event, args, nil)
		return err
	}
	return s.send(event, args, nil, false)
}

// Volatile returns an Emitter that sends an event if it can leave at once, and
// drops it otherwise: without a connection, or while others are still to be
// written. It is for news that the next event makes old. What is too large for
// the server is refused all the same, while there is a connection.
func (s *Socket) Volatile() event.Emitter { return volatile{s} }

type volatile struct{ socket *Socket }

// Emit implements event.Emitter.
func (v volatile) Emit(ctx context.Context, event string, args ...any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return v.socket.send(event, args, nil, true)
}

// send encodes an event and passes it on. If it is a call, c has its id, and
// has been registered.
func (s *Socket) send(name string, args []any, c *call, drop bool) error {
	p := codec.Packet{Type: codec.Event, Namespace: s.namespace, Event: name, Args: args}
	if c != nil {
		p.ID, p.HasID = c.id, true
	}
	packets, err := s.manager.encode(&p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	e, err := s.pushLocked(packets, drop)
	if errors.Is(err, errOver) {
		err = s.keepLocked(&buffered{packets: packets, event: name, call: c})
	}
	var outgoing []*listener[outgoing]
	if err == nil && (e != nil || !drop) {
		outgoing = s.outgoing
	}
	s.mu.Unlock()
	if e != nil {
		e.flush()
	}
	s.tell(outgoing, name, args)
	return err
}

// pushLocked passes packets to the connection, which is returned, and has to be
// flushed, if it has taken them. Without one the error is errOver, unless they
// may be dropped.
func (s *Socket) pushLocked(packets []transports.Packet, drop bool) (*engine, error) {
	e := s.engine
	switch {
	case s.closed:
		return nil, ErrClosed
	case e == nil || e.stale():
		if drop {
			return nil, nil
		}
		return nil, errOver
	case drop && !e.writable():
		if e.tooLarge(packets) {
			return nil, ErrTooLarge
		}
		return nil, nil
	}
	err := e.push(packets, s.manager.options.buffered())
	if err == nil {
		return e, nil
	}
	if drop && !errors.Is(err, ErrTooLarge) {
		err = nil
	}
	return nil, err
}

// keepLocked keeps an event until there is a connection.
func (s *Socket) keepLocked(b *buffered) error {
	limit := s.manager.options.MaxBufferedBytes
	if limit < 0 {
		return ErrDisconnected
	}
	b.size = sizeOfPackets(b.packets)
	if s.bufferBytes+s.retryBytes+b.size > limit {
		return ErrBufferFull
	}
	s.bufferBytes += b.size
	s.buffer = append(s.buffer, b)
	if b.call != nil {
		b.call.kept = true
	}
	return nil
}

func sizeOfPackets(packets []transports.Packet) int {
	size := 0
	for i := range packets {
		size += packetOverhead + len(packets[i].Data)
	}
	return size
}

// sendBufferLocked passes what has waited for a connection to e.
func (s *Socket) sendBufferLocked(e *engine) failures {
	var failed failures
	for i, b := range s.buffer {
		switch err := e.push(b.packets, math.MaxInt); {
		case errors.Is(err, errOver):
			s.buffer = slices.Clone(s.buffer[i:])
			return failed // for the next connection
		case err != nil:
			if b.call != nil {
				delete(s.calls, b.call.id)
			}
			failed = append(failed, failure{b.call, b.event, err})
		default:
			if b.call != nil {
				b.call.kept = false
			}
		}
		s.bufferBytes -= b.size
	}
	s.buffer = nil
	return failed
}

// dropBufferLocked drops what waits for a connection, and all calls.
func (s *Socket) dropBufferLocked() failures {
	failed := make(failures, 0, len(s.calls)+len(s.retried))
	for _, c := range s.calls {
		failed = append(failed, failure{call: c, err: ErrClosed})
	}
	for _, r := range s.retried {
		r.stop()
		failed = append(failed, failure{call: &r.call, err: ErrClosed})
	}
	s.buffer, s.bufferBytes, s.calls = nil, 0, nil
	s.retried, s.retryBytes = nil, 0
	return failed
}

// givenUp logs an event of which nobody else is told that it is not sent.
func (s *Socket) givenUp(event string, err error) {
	s.manager.options.Logger.LogAttrs(s.ctx, slog.LevelWarn, "event given up",
		slog.String("namespace", s.namespace), slog.String("event", event), slog.Any("error", err))
}

// An outgoing function is told of events that are emitted.
type outgoing = func(ctx context.Context, event string, args []any)

// tell tells the listeners of an event that was emitted.
func (s *Socket) tell(to []*listener[outgoing], event string, args []any) {
	for _, l := range to {
		if !l.stopped.Load() {
			_ = s.guard(event, func() { l.fn(s.ctx, event, args) })
		}
	}
}
