package core

import (
	"errors"

	"github.com/upshift-go/upshift/codec"
)

// A queue holds what a socket has still to do, in order: to connect, to handle
// events, to disconnect. A worker goroutine does it, which the socket has only
// while there is something to do. So events of a socket are handled in the order
// they came, one at a time, and a handler that blocks holds up nothing else:
// acks and heartbeats are taken by the reader and do not pass through here.
type queue struct {
	stage   stage
	running bool // a worker is at it

	first, last *Request // the events, a list
	bytes       int
	space       chan struct{} // closed when there is room again; nil if nobody waits

	cause *CloseError // set when the end has begun
}

// stage is how far the worker has got.
type stage uint8

const (
	locating  stage = iota // there may be no such namespace
	joining                // connect middleware has not consented yet
	connected              // events are handled
	ended                  // OnDisconnect has been called, or was not due
)

// eventOverhead is what a queued event costs besides its payload.
const eventOverhead = 192

func (q *queue) end(cause *CloseError, drop bool) {
	q.cause = cause
	if drop {
		q.first, q.last, q.bytes = nil, nil, 0
	}
	q.release()
}

// release lets a reader that waits for room go on.
func (q *queue) release() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

// startLocked reports whether the caller has to start the worker, with
// workers.run. It is called with mu held, so that whoever ends the socket can
// be sure that the worker is counted.
func (s *Socket) startLocked() bool {
	if s.queue.running || s.queue.stage == ended {
		return false
	}
	s.queue.running = true
	s.conn.server.workers.add()
	return true
}

// enqueue queues an event, after waiting for room if there is none. It returns
// false if the socket does not take events. It is called by the reader only.
func (s *Socket) enqueue(r *codec.Received) bool {
	size := r.Args.Size() + eventOverhead
	limit := s.conn.server.options.MaxQueuedBytes
	waited := false
	s.mu.Lock()
	if s.queue.cause != nil || s.queue.stage <= joining {
		s.mu.Unlock()
		return false
	}
	for s.queue.cause == nil && s.queue.bytes > 0 && s.queue.bytes+size > limit {
		if s.queue.space == nil {
			s.queue.space = make(chan struct{})
		}
		waited = true
		space := s.queue.space
		s.mu.Unlock()
		<-space // closed by the worker, or by the end of the socket
		s.mu.Lock()
	}
	if s.queue.cause != nil {
		s.mu.Unlock()
		return true // the event has come too late
	}
	s.queue.push(newRequest(s, r), size)
	run := s.startLocked()
	s.mu.Unlock()
	if waited {
		s.conn.server.stats.queueFull.Add(1)
	}
	if run {
		s.conn.server.workers.run(s)
	}
	return true
}

// errGoexit is why a socket is disconnected whose handler has ended the goroutine,
// with runtime.Goexit or with what calls it, such as the FailNow of a test.
var errGoexit = errors.New("a handler has ended its goroutine")

// work does what there is to do and returns when nothing is left.
func (s *Socket) work() {
	session := s.conn.session
	corked, through := false, false
	defer func() {
		if !through {
			s.goneAstray(corked)
		}
	}()
	for {
		s.mu.Lock()
		stage, cause := s.queue.stage, s.queue.cause
		switch {
		case stage == locating && cause == nil:
			s.mu.Unlock()
			s.locate()
			continue
		case stage == joining && cause == nil:
			s.mu.Unlock()
			s.connect()
			continue
		case stage == connected && s.queue.first != nil:
			r := s.queue.pop()
			more := s.queue.first != nil
			s.mu.Unlock()
			if more && !corked {
				// Answers to a burst leave in one write.
				session.Cork()
				corked = true
			}
			s.handle(r)
			r.free()
			continue
		case cause != nil && stage != ended:
			s.queue.stage = ended
			s.mu.Unlock()
			s.finish(stage, cause)
			continue
		}
		if !corked {
			s.queue.running = false
			s.mu.Unlock()
			through = true
			return
		}
		s.mu.Unlock()
		session.Uncork()
		corked = false
	}
}

// goneAstray ends a socket whose handler has ended the goroutine: nobody knows how
// far it came. What is left to do is done by another.
func (s *Socket) goneAstray(corked bool) {
	server := s.conn.server
	server.report(s, "handler failed", "", errGoexit)
	if corked {
		s.conn.session.Uncork()
	}
	s.DisconnectCause(errGoexit)
	s.mu.Lock()
	s.queue.running = false
	run := s.startLocked()
	s.mu.Unlock()
	if run {
		server.workers.run(s)
	}
}

// push queues an event of the given size.
func (q *queue) push(r *Request, size int) {
	if q.first == nil {
		q.first = r
	} else {
		q.last.next = r
	}
	q.last = r
	q.bytes += size
}

// pop takes the first event off the queue, which has one.
func (q *queue) pop() *Request {
	r := q.first
	q.first, r.next = r.next, nil
	if q.first == nil {
		q.last = nil // an idle socket holds on to nothing
	}
	q.bytes -= r.Args.Size() + eventOverhead
	q.release()
	return r
}
