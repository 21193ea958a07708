package core

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"

	"github.com/upshift-go/upshift/codec"
)

// An Adapter connects a server with the others of its cluster: what is sent to
// a Target reaches the sockets of the others too, and servers can send each
// other events. A server without one is alone. Package adapters/cluster has one
// that asks of a broker only that it carries messages, and adaptertest tests
// any.
//
// Methods are called from any goroutine, and must not keep what they are passed
// after they have returned. A message of one server reaches another in the
// order in which it was sent, or not at all. Nothing that is sent comes back to
// the server itself.
type Adapter interface {
	// Attach is called once, by New, before anything else. The adapter passes
	// what the other servers send to node. An error makes New fail.
	Attach(node Node) error
	// Broadcast sends an event on to the other servers. It does not wait for
	// them. The sockets of this server get it whether or not there is an
	// error.
	Broadcast(ctx context.Context, b *Broadcast) error
	// CallAll sends an event on to the other servers and yields what their
	// clients answer, until all have or ctx ends; ctx has a deadline. If then an
	// answer is missing, of a client or a server, the last that is yielded is a
	// *PartialError.
	CallAll(ctx context.Context, b *Broadcast) iter.Seq2[Args, error]
	// Update has the other servers change something about their sockets. It
	// does not wait for them.
	Update(ctx context.Context, u *Update) error
	// Fetch returns the sockets of the other servers that are in one of the
	// rooms in, or all if there are none, but in none of except. If a server does
	// not answer, those of the others come with a *PartialError. If ctx has no
	// deadline the adapter sets one.
	Fetch(ctx context.Context, namespace string, in, except []string) ([]SocketInfo, error)
	// Emit sends an event to the other servers themselves. It does not wait
	// for them.
	Emit(ctx context.Context, e *ServerEvent) error
	// Call sends an event to the other servers and yields what each of them
	// answers, or why there is no answer. It ends when all have answered, or
	// with a *PartialError. If ctx has no deadline the adapter sets one.
	Call(ctx context.Context, e *ServerEvent) iter.Seq2[Args, error]
	// Changed says that a namespace, or rooms of it, may have come to be or may
	// be gone on this server; Node.Has tells. It must return at once and must
	// not call the node, since locks are held. What Has says after the last
	// call is what counts. Rooms named after sockets are not reported.
	Changed(namespace string, rooms ...string)
	// Close is called once, when the server has shut down. ctx limits how
	// long it may take.
	Close(ctx context.Context) error
}

// A Node is a server as its Adapter sees it. Its methods are safe for
// concurrent use.
type Node interface {
	// Deliver sends what another server has broadcast to the sockets of this
	// one. It does not wait for them.
	Deliver(ctx context.Context, b *Broadcast) error
	// CallAll does so for an event that is to be answered, says how many sockets
	// are asked, and yields their answers as Target.CallAll does. ctx has a
	// deadline.
	CallAll(ctx context.Context, b *Broadcast, asked func(n int)) iter.Seq2[Reply, error]
	// Update changes something about the sockets of this server.
	Update(ctx context.Context, u *Update) error
	// Describe returns those of this server's sockets that Adapter.Fetch is
	// about.
	Describe(namespace string, in, except []string) []SocketInfo
	// HandleServerEvent runs the handler of an event of another server. It
	// blocks for as long as the handler takes. ok is false if there is no
	// handler.
	HandleServerEvent(ctx context.Context, e *ServerEvent) (answer []any, ok bool, err error)
	// Has reports whether the server has a namespace and, if room is not empty,
	// somebody in that room of it.
	Has(namespace, room string) bool
	// Namespaces and Rooms are what there is now, in no order. Rooms named after
	// sockets are not among them.
	Namespaces() []string
	Rooms(namespace string) []string
	// Logger is that of the server.
	Logger() *slog.Logger
}

// A Broadcast is an event on its way to a target on other servers.
type Broadcast struct {
	Namespace  string
	In, Except []string // rooms; no In means everybody
	Event      string
	Args       []any // a single value of type Args stands for all of them
	Volatile   bool
	NoCompress bool
	Overflow   Overflow // as it was passed to Target.Overflow, or what Latest has set
	Key        string   // of Target.Latest

	// Offset is set by a Recoverer when the event is delivered.
	Offset Offset
}

// An Update is what one server has the others do with their sockets of a target.
type Update struct {
	Namespace    string
	In, Except   []string // as in Broadcast
	Join, Leave  []string // rooms
	Disconnect   bool     // from the namespace
	CloseSession bool     // with the whole session
}

// A ServerEvent is an event that one server sends the others. It does not reach
// clients.
type ServerEvent struct {
	Namespace string
	Event     string
	Args      []any
}

// Errors of events between servers.
var (
	// ErrNoAdapter: there is no Options.Adapter, so there are no other
	// servers that could be reached.
	ErrNoAdapter = errors.New("core: no adapter to other servers")
	// ErrPartial: not all servers of the cluster, or not all of their clients,
	// have answered in time. What did arrive is there. Errors that wrap it are
	// of type *PartialError.
	ErrPartial = errors.New("core: answers are missing")
	// ErrReservedEvent: the name is reserved by the protocol.
	ErrReservedEvent = codec.ErrReservedEvent
)

// A PartialError says whose answers are missing when a question to the cluster
// has run out of time.
type PartialError struct {
	// Servers is how many other servers were asked, and Answered how many of
	// them have answered.
	Servers, Answered int
	// Silent are the ids of the others, as far as they are known.
	Silent []string
	// Clients is how many clients of the servers that have answered have not.
	Clients int
	// Err is why there was no more waiting, such as context.DeadlineExceeded.
	Err error
}

// Error says how many are missing, and who.
func (e *PartialError) Error() string {
	text := fmt.Sprintf("%v: %d of %d other servers", ErrPartial, e.Answered, e.Servers)
	if len(e.Silent) > 0 {
		text += ", not " + strings.Join(e.Silent, ", ")
	}
	if e.Clients > 0 {
		text += fmt.Sprintf("; %d clients are silent", e.Clients)
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// Unwrap returns ErrPartial and the cause.
func (e *PartialError) Unwrap() []error { return []error{ErrPartial, e.Err} }

// Local keeps to the sockets of this server. Without an adapter there are no
// others.
func (t Target) Local() Target {
	t.local = true
	return t
}

// elsewhere reports whether the target may be on other servers too.
func (t *Target) elsewhere(n *Namespace) bool {
	return n.server.options.Adapter != nil && !t.local && (t.self == nil || len(t.in) > 0 || len(t.except) > 0)
}

// rooms is whom the target is, for other servers.
func (t *Target) rooms() (in, except []string) {
	if t.self != nil {
		return append([]string{t.self.id}, t.in...), t.except
	}
	return t.in, t.except
}

// broadcast is an event as it goes to other servers.
func (t *Target) broadcast(n *Namespace, event string, args []any) *Broadcast {
	b := &Broadcast{
		Namespace: n.name, Event: event, Args: args,
		Volatile: t.delivery.Volatile, NoCompress: t.noCompress,
		Overflow: t.delivery.Overflow, Key: t.delivery.Key,
	}
	b.In, b.Except = t.rooms()
	return b
}

// publish sends an event on to the other servers, if they are meant. There is an
// adapter.
func (t *Target) publish(ctx context.Context, n *Namespace, event string, args []any) error {
	if t.local {
		return nil
	}
	if err := n.server.options.Adapter.Broadcast(ctx, t.broadcast(n, event, args)); err != nil {
		return fmt.Errorf("core: other servers were not reached: %w", err)
	}
	return nil
}

// update has the other servers change something about their sockets of the
// target.
func (t *Target) update(ctx context.Context, change Update) error {
	var failed error
	for _, n := range t.namespaces() {
		if !t.elsewhere(n) {
			continue
		}
		change.Namespace = n.name
		change.In, change.Except = t.rooms()
		if err := n.server.options.Adapter.Update(ctx, &change); err != nil {
			failed = fmt.Errorf("core: other servers were not reached: %w", err)
		}
	}
	return failed
}

// ServerSideEmit sends an event to the other servers of the cluster, where the
// function that was registered for it with OnServerSide gets it. It reaches
// neither this server nor any client. It does not wait, and returns ErrNoAdapter
// if the server is alone.
func (n *Namespace) ServerSideEmit(ctx context.Context, event string, args ...any) error {
	if err := checkServerSide(event); err != nil {
		return err
	}
	if n.server.options.Adapter == nil {
		return ErrNoAdapter
	}
	return n.server.options.Adapter.Emit(ctx, &ServerEvent{Namespace: n.name, Event: event, Args: args})
}

// ServerSideCall sends an event to the other servers of the cluster and yields
// what each of them answers, until ctx ends. It yields nothing if the server is
// alone.
func (n *Namespace) ServerSideCall(ctx context.Context, event string, args ...any) iter.Seq2[Args, error] {
	return func(yield func(Args, error) bool) {
		if err := checkServerSide(event); err != nil {
			yield(Args{}, err)
			return
		}
		if n.server.options.Adapter == nil {
			return
		}
		n.server.options.Adapter.Call(ctx, &ServerEvent{Namespace: n.name, Event: event, Args: args})(yield)
	}
}

// OnServerSide registers the function that is called for an event that another
// server has sent with ServerSideEmit or ServerSideCall. What it returns is the
// answer. It runs on a goroutine of the adapter. It replaces an earlier one.
func (r *router) OnServerSide(event string, fn func(ctx context.Context, args Args) (answer any, err error)) {
	if err := checkServerSide(event); err != nil {
		panic(err.Error()) //nolint:forbidigo // a programmer's error, at registration
	}
	r.change(func() {
		if r.serverSide == nil {
			r.serverSide = make(map[string]func(context.Context, Args) (any, error))
		}
		r.serverSide[event] = fn
	})
}

// checkServerSide refuses the names that the reference uses between servers.
func checkServerSide(event string) error {
	switch event {
	case "connect", "connection", "new_namespace":
		return fmt.Errorf("core: %w: %q", ErrReservedEvent, event)
	}
	return nil
}
