package cluster

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// requests are the own questions that wait for answers, by their ids.
type requests struct {
	mu   sync.Mutex // guards what follows
	open map[string]*request
}

// A request is a question to the other servers. It is over when all of them have
// answered, and all of their clients, if it is for those.
type request struct {
	id   string
	news chan struct{} // has one element if something has changed

	mu       sync.Mutex // guards what follows
	answers  []*Message // those that nobody has taken yet
	want     int        // how many servers are to answer; of a Counter
	missing  map[string]struct{}
	answered map[string]struct{} // servers
	clients  int                 // of the servers that have answered
	acks     int                 // of those clients
	unnamed  int                 // of answered: those that do not say who they are
}

func (r *requests) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

func (r *requests) get(id string) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

func (r *requests) add(q *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[q.id] = q
}

func (r *requests) remove(q *request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, q.id)
}

// gone tells all questions that a server will not answer any more.
func (r *requests) gone(server string) {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.open))
	r.mu.Unlock()
	for _, q := range all {
		q.mu.Lock()
		delete(q.missing, server)
		q.mu.Unlock()
		q.changed()
	}
}

// expect has q wait for the members there are. It is open by now: who goes from here on
// is taken out of it.
func (q *request) expect(s *members) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.missing = s.all()
	q.want = len(q.missing)
}

func (q *request) changed() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// take notes an answer.
func (q *request) take(m *Message) {
	q.mu.Lock()
	switch m.Type {
	case BroadcastAck:
		q.acks++
		q.answers = append(q.answers, m)
	default:
		sender := m.Sender
		if sender == "" { // the wire of the engine may not tell
			q.unnamed++
			sender = fmt.Sprint("#", q.unnamed)
		}
		if _, twice := q.answered[sender]; twice {
			break
		}
		q.answered[sender] = struct{}{}
		delete(q.missing, m.Sender)
		q.clients += m.Count
		if m.Type != BroadcastClientCount {
			q.answers = append(q.answers, m)
		}
	}
	q.mu.Unlock()
	q.changed()
}

// next returns the answers that have come, and whether there will be more.
func (q *request) next() (answers []*Message, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	answers, q.answers = q.answers, nil
	if q.missing != nil {
		return answers, len(q.missing) > 0 || q.acks < q.clients
	}
	return answers, len(q.answered) < q.want || q.acks < q.clients
}

// ask sends a question to the other servers and yields their answers, and the
// error that ends it if some are missing. ctx has a deadline.
func (a *Adapter) ask(ctx context.Context, m *Message) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		q := &request{id: newID(), news: make(chan struct{}, 1), answered: make(map[string]struct{})}
		m.RequestID = q.id
		if a.counter != nil {
			n, err := a.counter.Others(ctx, m.Namespace)
			if err != nil {
				a.stats.partial.Add(1)
				yield(nil, &core.PartialError{Err: err})
				return
			}
			q.want = n
		}
		a.pending.add(q)
		defer a.pending.remove(q)
		if a.counter == nil {
			q.expect(&a.members)
		}
		if q.want == 0 && m.Type != Broadcast {
			return
		}
		if err := a.send(m); err != nil {
			yield(nil, err)
			return
		}
		a.await(ctx, q, m.Namespace, yield)
	}
}

// await yields the answers to q.
func (a *Adapter) await(ctx context.Context, q *request, namespace string, yield func(*Message, error) bool) {
	// A server that has gone since it was counted is not waited for to the end.
	var recount <-chan time.Time
	if deadline, ok := ctx.Deadline(); ok && a.counter != nil {
		timer := time.NewTimer(time.Until(deadline) / 2)
		defer timer.Stop()
		recount = timer.C
	}
	for {
		answers, more := q.next()
		for _, m := range answers {
			if !yield(m, nil) {
				return
			}
		}
		if !more {
			return
		}
		select {
		case <-q.news:
		case <-recount:
			a.recount(ctx, q, namespace)
		case <-ctx.Done():
			yield(nil, a.partial(context.Cause(ctx), q, namespace))
			return
		case <-a.ctx.Done():
			yield(nil, a.partial(ErrClosed, q, namespace))
			return
		}
	}
}

func (a *Adapter) recount(ctx context.Context, q *request, namespace string) {
	n, err := a.counter.Others(ctx, namespace)
	if err != nil {
		return
	}
	q.mu.Lock()
	q.want = min(q.want, n)
	q.mu.Unlock()
}

// partial says who has not answered.
func (a *Adapter) partial(cause error, q *request, namespace string) error {
	a.stats.partial.Add(1)
	var silent []string
	if a.counter != nil {
		ctx, cancel := context.WithTimeout(a.ctx, time.Second) // the broker may be what is silent
		defer cancel()
		silent, _ = a.counter.Names(ctx, namespace)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if a.counter == nil {
		silent = slices.Collect(maps.Keys(q.missing))
	}
	if q.unnamed > 0 {
		silent = nil // one of them may have answered
	}
	silent = slices.DeleteFunc(silent, func(name string) bool {
		_, answered := q.answered[name]
		return answered || name == a.id
	})
	slices.Sort(silent)
	return &core.PartialError{
		Servers: q.want, Answered: len(q.answered), Silent: silent, Clients: q.clients - q.acks, Err: cause,
	}
}

// limited is ctx with a deadline.
func (a *Adapter) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, a.options.RequestTimeout)
}

// CallAll implements core.Adapter.
func (a *Adapter) CallAll(ctx context.Context, b *core.Broadcast) iter.Seq2[core.Args, error] {
	return func(yield func(core.Args, error) bool) {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		m := broadcast(b)
		if deadline, ok := ctx.Deadline(); ok {
			m.Flags.Timeout = max(time.Until(deadline), time.Millisecond)
		}
		a.ask(ctx, m)(answers(yield))
	}
}

// Call implements core.Adapter.
func (a *Adapter) Call(ctx context.Context, e *core.ServerEvent) iter.Seq2[core.Args, error] {
	return func(yield func(core.Args, error) bool) {
		ctx, cancel := a.limited(ctx)
		defer cancel()
		m := &Message{Type: ServerSideEmit, Namespace: e.Namespace, Event: e.Event, Args: e.Args}
		a.ask(ctx, m)(answers(yield))
	}
}

// answers makes of a loop over answers one over messages. There is one argument in
// each.
func answers(yield func(core.Args, error) bool) func(*Message, error) bool {
	return func(m *Message, err error) bool {
		if err != nil {
			return yield(core.Args{}, err)
		}
		raw, _ := m.Answer.(codec.Raw)
		return yield(raw.Args(), nil)
	}
}

// Fetch implements core.Adapter.
func (a *Adapter) Fetch(ctx context.Context, namespace string, in, except []string) ([]core.SocketInfo, error) {
	ctx, cancel := a.limited(ctx)
	defer cancel()
	var all []core.SocketInfo
	m := &Message{Type: FetchSockets, Namespace: namespace, In: in, Except: except}
	for m, err := range a.ask(ctx, m) {
		if err != nil {
			return all, err
		}
		all = append(all, m.Sockets...)
	}
	return all, nil
}
