package client

import (
	"errors"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// A retried event is sent until the server has acknowledged it. The first of
// them is under way, the others wait for it.
type retried struct {
	call    call
	event   string
	packets []transports.Packet
	size    int

	// Guarded by Socket.mu.
	tries   int
	pending bool        // it was sent, and neither answered nor given up
	timer   *time.Timer // of this try
}

func (r *retried) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// retry queues an event. Every try of it has the same id, so that an answer
// counts whichever of them it is for.
func (s *Socket) retry(event string, args []any, done func(codec.Args, error)) (*retried, error) {
	s.mu.Lock()
	r := &retried{call: call{id: s.nextIDLocked(), done: done}, event: event}
	s.mu.Unlock()
	packets, err := s.manager.encode(&codec.Packet{
		Type: codec.Event, Namespace: s.namespace, ID: r.call.id, HasID: true, Event: event, Args: args,
	})
	if err != nil {
		return nil, err
	}
	r.packets, r.size = packets, sizeOfPackets(packets)
	s.mu.Lock()
	limit := s.manager.options.MaxBufferedBytes
	switch {
	case s.closed:
		err = ErrClosed
	case s.engine == nil && limit < 0:
		err = ErrDisconnected
	case s.bufferBytes+s.retryBytes+r.size > s.manager.options.buffered():
		err = ErrBufferFull
	default:
		s.retryBytes += r.size
		s.retried = append(s.retried, r)
	}
	outgoing := s.outgoing
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s.drain()
	s.tell(outgoing, event, args)
	return r, nil
}

// drain sends the first event of the queue, unless it is under way.
func (s *Socket) drain() {
	for {
		s.mu.Lock()
		e := s.engine
		if e == nil || len(s.retried) == 0 || s.retried[0].pending {
			s.mu.Unlock()
			return
		}
		head := s.retried[0]
		head.stop()
		head.pending = true
		head.tries++
		err := e.push(head.packets, s.manager.options.buffered())
		if err == nil || errors.Is(err, ErrBufferFull) {
			// What does not fit now counts as lost on the way.
			try := head.tries
			head.timer = time.AfterFunc(s.options.AckTimeout, func() { s.unanswered(head, try) })
		}
		if !errors.Is(err, ErrTooLarge) {
			s.mu.Unlock()
			e.flush()
			return
		}
		s.shiftRetryLocked()
		s.mu.Unlock()
		s.failRetry(head, err)
	}
}

// shiftRetryLocked takes the first event off the queue.
func (s *Socket) shiftRetryLocked() *retried {
	head := s.retried[0]
	head.stop()
	s.retried[0] = nil
	s.retried = s.retried[1:]
	if len(s.retried) == 0 {
		s.retried = nil
	}
	s.retryBytes -= head.size
	return head
}

// unanswered is called when a try has not been answered in time.
func (s *Socket) unanswered(r *retried, try int) {
	s.mu.Lock()
	if len(s.retried) == 0 || s.retried[0] != r || r.tries != try || !r.pending {
		s.mu.Unlock()
		return
	}
	r.pending = false
	last := r.tries > s.options.Retries
	if last {
		s.shiftRetryLocked()
	}
	s.mu.Unlock()
	if last {
		s.failRetry(r, ErrAckTimeout)
	}
	s.drain()
}

// failRetry gives an event up.
func (s *Socket) failRetry(r *retried, err error) {
	s.tellFailed(failures{{&r.call, r.event, err}})
}

// retryLostLocked counts a try that was under way as failed, because the
// connection was lost.
func (s *Socket) retryLostLocked(cause *CloseError) failures {
	if len(s.retried) == 0 || !s.retried[0].pending {
		return nil
	}
	head := s.retried[0]
	head.stop()
	head.pending = false
	if head.tries <= s.options.Retries {
		return nil
	}
	s.shiftRetryLocked()
	return failures{{&head.call, head.event, &disconnectedError{cause}}}
}

// abandonRetry removes an event that nobody waits for any more.
func (s *Socket) abandonRetry(r *retried) {
	s.mu.Lock()
	for i, other := range s.retried {
		if other != r {
			continue
		}
		if i == 0 {
			s.shiftRetryLocked()
			break
		}
		s.retried = append(s.retried[:i:i], s.retried[i+1:]...)
		s.retryBytes -= r.size
		break
	}
	s.mu.Unlock()
	s.drain()
}
