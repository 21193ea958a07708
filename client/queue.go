package client

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// A queue holds what a socket has still to handle, in order. A goroutine does
// it, which the socket has only while there is something to do.
type queue struct {
	first, last *task // a list
	bytes       int   // of the events
	running     bool  // the goroutine is there
	ended       bool  // events are not taken any more
	space       chan struct{}
}

// A task is an event that has arrived, or a change of state.
type task struct {
	next   *task
	event  *codec.Received
	visit  *visit // that the event belongs to
	change *StateChange
}

// eventOverhead is what a queued event costs besides its payload.
const eventOverhead = 192

func sizeOf(r *codec.Received) int { return r.Args.Size() + eventOverhead }

// drop removes what has not been begun, but for changes of state.
func (q *queue) drop() {
	var kept queue
	for t := q.first; t != nil; {
		next := t.next
		t.next = nil
		if t.change != nil {
			kept.push(t)
		}
		t = next
	}
	q.first, q.last, q.bytes = kept.first, kept.last, 0
	q.release()
}

// end is drop for good.
func (q *queue) end() {
	q.ended = true
	q.drop()
}

// release lets who waits for room go on.
func (q *queue) release() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

func (q *queue) push(t *task) {
	if q.first == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

func (q *queue) pop() *task {
	t := q.first
	if t == nil {
		return nil
	}
	q.first, t.next = t.next, nil
	if q.first == nil {
		q.last = nil
	}
	if t.event != nil {
		q.bytes -= sizeOf(t.event)
		q.release()
	}
	return t
}

// queueLocked queues a task and sees to it that it is done.
func (s *Socket) queueLocked(t *task) {
	s.queue.push(t)
	if !s.queue.running {
		s.queue.running = true
		go s.work()
	}
}

// arrived queues an event. It blocks while there is no room, and the connection
// lives: what comes over one that has ended is not taken, so that it can be
// recovered over the next.
func (s *Socket) arrived(e *engine, r *codec.Received) {
	size, limit := sizeOf(r), s.manager.options.MaxQueuedBytes
	s.mu.Lock()
	for s.engine == e && s.queue.bytes > 0 && s.queue.bytes+size > limit {
		if s.queue.space == nil {
			s.queue.space = make(chan struct{})
		}
		space := s.queue.space
		s.mu.Unlock()
		select {
		case <-space:
		case <-e.over:
		}
		s.mu.Lock()
	}
	flood := false
	switch {
	case s.engine == e:
		s.eventLocked(r)
	case s.joining.over(e) && s.joining.asked:
		// It is one that was missed, which comes before the answer.
		s.early = append(s.early, r)
		s.earlyBytes += size
		flood = s.earlyBytes > limit
	}
	s.mu.Unlock()
	if flood {
		e.end(&CloseError{Reason: ParseError, Err: fmt.Errorf("client: more than %d bytes of events before the namespace was joined: %w", limit, transports.ErrMalformed)})
	}
}

// eventLocked queues an event, and remembers it as the last.
func (s *Socket) eventLocked(r *codec.Received) {
	if s.queue.ended {
		return
	}
	// The offset is the last argument of an event that can be recovered. Any
	// other text there only makes a recovery fail.
	if n := r.Args.Len(); s.pid != "" && !r.HasID && n > 0 {
		var offset string
		if r.Args.Raw(n-1).Bind(&offset) == nil && offset != "" {
			s.offset = offset
		}
	}
	if !s.heardLocked() {
		return
	}
	s.queue.bytes += sizeOf(r)
	s.queueLocked(&task{event: r, visit: s.joined})
}

// work does what there is to do and returns when nothing is left.
func (s *Socket) work() {
	done := false
	defer func() {
		if !done {
			go s.work() // a handler has ended this goroutine
		}
	}()
	for {
		s.mu.Lock()
		t := s.queue.pop()
		if t == nil {
			s.queue.running = false
			done = true
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		switch {
		case t.event != nil:
			s.handle(t.visit, t.event)
		case t.change != nil:
			s.changed(t.change)
		}
	}
}

// guard calls f, which is somebody else's, and makes an error of a panic.
func (s *Socket) guard(what string, f func()) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover() // nil if f has ended the goroutine
		err = fmt.Errorf("client: panic in a handler of %s: %v", what, v)
		s.manager.options.Logger.LogAttrs(s.ctx, slog.LevelError, "handler has panicked",
			slog.String("namespace", s.namespace), slog.String("handler", what),
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	}()
	f()
	returned = true
	return nil
}
