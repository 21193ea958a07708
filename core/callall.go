package core

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

// Reply is one client's answer to a CallAll, not decoded yet.
type Reply = event.RawReply

// CallAll sends an event to the target, on all servers, and yields the answers
// as they arrive: one for each client, with an error for those that did not
// answer. A client that leaves is yielded with ErrDisconnected, one for which the
// event was dropped with ErrDropped, refused with ErrOutboxFull, and one that has
// not answered when ctx ends with context.Cause(ctx). So every client of the
// target on this server is yielded once, and an empty target yields nothing. Of
// clients on other servers the answers are yielded, without the ids of their
// sockets; if some are missing when ctx ends, one *PartialError stands for all
// of them. The event is sent when the loop begins; a loop that stops early waits
// for nobody. The event is not kept for recovery.
//
// ctx needs a deadline, since a client may never answer; without one, all that
// is yielded is ErrNoDeadline. An event that cannot be encoded yields nothing
// but its error, either. Event.CallAll is the typed form.
func (t Target) CallAll(ctx context.Context, event string, args []any) iter.Seq2[Reply, error] {
	return func(yield func(Reply, error) bool) {
		if _, ok := ctx.Deadline(); !ok {
			yield(Reply{}, ErrNoDeadline)
			return
		}
		t.callAll(ctx, event, args, func(int) {}, yield)
	}
}

// callAll also says how many sockets of this server are asked.
func (t Target) callAll(ctx context.Context, event string, args []any, asked func(n int), yield func(Reply, error) bool) {
	q, err := t.ask(event, args)
	defer q.stop()
	if err != nil {
		yield(Reply{}, err)
		return
	}
	asked(len(q.calls))
	far, cancel := t.askOthers(ctx, event, args)
	defer cancel()
	for len(q.calls) > 0 {
		c, reply := q.next(ctx, far)
		if reply != nil {
			if !yield(Reply{Answer: reply.answer}, reply.err) {
				return
			}
			continue
		}
		if c == nil {
			break
		}
		q.over(c, c.err)
		if !yield(Reply{SocketID: c.socket.id, Answer: c.answer}, c.err) {
			return
		}
	}
	for c := range q.calls {
		q.over(c, context.Cause(ctx))
		if !yield(Reply{SocketID: c.socket.id, Answer: codec.Args{}}, context.Cause(ctx)) {
			return
		}
	}
	if far == nil {
		return
	}
	for reply := range far {
		if !yield(Reply{Answer: reply.answer}, reply.err) {
			return
		}
	}
}

// A farReply is what a client of another server has answered.
type farReply struct {
	answer codec.Args
	err    error
}

// askOthers sends the event to the other servers. The channel, which is nil if
// there are none, is closed after the last answer; stop ends it early.
func (t *Target) askOthers(ctx context.Context, event string, args []any) (replies <-chan *farReply, stop func()) {
	var broadcasts []*Broadcast
	for _, n := range t.namespaces() {
		if t.elsewhere(n) {
			broadcasts = append(broadcasts, t.broadcast(n, event, args))
		}
	}
	if len(broadcasts) == 0 {
		return nil, func() {}
	}
	adapter := t.namespaces()[0].server.options.Adapter
	ctx, cancel := context.WithCancel(ctx)
	c, given := make(chan *farReply), make(chan struct{})
	var wg sync.WaitGroup
	for _, b := range broadcasts {
		wg.Go(func() {
			for answer, err := range adapter.CallAll(ctx, b) {
				select {
				case c <- &farReply{answer, err}:
				case <-given:
					return
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(c)
	}()
	return c, func() {
		close(given)
		cancel()
		for range c { // until the goroutines have ended
		}
	}
}

// A question is an event that several clients are to answer.
type question struct {
	done  chan *call
	calls map[*call]uint64 // those that are not over, and their ids

	event   string
	started time.Time // zero if nobody wants to know
}

// over says how one client's part has ended.
func (q *question) over(c *call, err error) {
	c.socket.namespace.server.called(c.socket, q.event, q.started, err)
}

// ask sends the event.
func (t *Target) ask(event string, args []any) (*question, error) {
	sockets := t.Sockets()
	q := &question{event: event, done: make(chan *call, len(sockets)), calls: make(map[*call]uint64, len(sockets))}
	for _, n := range t.namespaces() {
		q.started = since(n.server.watchers().called)
		if err := q.ask(*t, n, sockets, event, args); err != nil {
			return q, err
		}
	}
	return q, nil
}

// ask sends the event to those of the sockets that are in n. The id is the same
// for all, so that it is encoded once.
func (q *question) ask(t Target, n *Namespace, sockets []*Socket, event string, args []any) error {
	t.scope(n, event)
	id := n.acks.Add(1) - 1
	packets, err := n.server.encode(codec.Packet{
		Type: codec.Event, Namespace: n.name, ID: id, HasID: true, Event: event, Args: args,
	})
	if err != nil {
		return err
	}
	defer packets.release()
	packets.share(t.noCompress)
	for i, s := range sockets {
		if s.namespace != n {
			continue
		}
		n.tellOutgoing(sockets[i:i+1], event, args)
		c := &call{socket: s, done: q.done}
		q.calls[c] = id
		if !s.await(id, c) {
			continue
		}
		if err := s.conn.session.DeliverLater(t.delivery, packets.list...); err != nil {
			s.fail(id, sessionError(err))
		}
	}
	return nil
}

// next returns the next call that is over, or nil when ctx has ended. What
// arrives from another server comes first, as a reply; then c is nil. far is
// nil, or set to that, when there is no more of it.
func (q *question) next(ctx context.Context, far <-chan *farReply) (c *call, reply *farReply) {
	for {
		select {
		case c = <-q.done:
		case reply, ok := <-far:
			if !ok {
				far = nil
				continue
			}
			return nil, reply
		case <-ctx.Done():
			select {
			case c = <-q.done: // it came at the same time
			default:
				return nil, nil
			}
		}
		delete(q.calls, c)
		return c, nil
	}
}

// stop gives up the calls that are not over.
func (q *question) stop() {
	for c, id := range q.calls {
		c.socket.forget(id)
	}
}
