package cluster

import (
	"context"
	"errors"
	"log/slog"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// An inbox is the adapter as its engine sees it.
type inbox struct{ adapter *Adapter }

// ID implements Inbox.
func (in *inbox) ID() string { return in.adapter.id }

// Has implements Inbox.
func (in *inbox) Has(namespace, room string) bool { return in.adapter.node.Has(namespace, room) }

// Namespaces implements Inbox.
func (in *inbox) Namespaces() []string { return in.adapter.node.Namespaces() }

// Rooms implements Inbox.
func (in *inbox) Rooms(namespace string) []string { return in.adapter.node.Rooms(namespace) }

// Logger implements Inbox.
func (in *inbox) Logger() *slog.Logger { return in.adapter.log }

// Malformed implements Inbox.
func (in *inbox) Malformed(channel string, err error) {
	if in.adapter.stats.malformed.Add(1) == 1 {
		in.adapter.log.ErrorContext(in.adapter.ctx, "something else than messages arrives; is the channel shared with another program, or another adapter?",
			slog.String("channel", channel), slog.Any("error", err))
	}
}

// Gap implements Inbox.
func (in *inbox) Gap(reason error) {
	a := in.adapter
	a.stats.gaps.Add(1)
	if a.kept != nil {
		a.kept.recent.clear()
	}
	a.log.WarnContext(a.ctx, "messages of other servers may have been missed", slog.Any("error", reason))
	if a.options.OnGap != nil {
		a.options.OnGap(reason)
	}
}

// Receive implements Inbox.
func (in *inbox) Receive(m *Message) {
	a := in.adapter
	if a.kept != nil && m.Type == Broadcast && !m.Offset.IsZero() {
		a.kept.recent.add(m)
		if m.Sender == a.id {
			a.kept.back(m)
			return
		}
	}
	if m.Sender == a.id || m.To != "" && m.To != a.id {
		return
	}
	a.stats.received.Add(1)
	if a.counter == nil {
		a.members.heard(m)
	}
	if m.Type.isAnswer() {
		if q := a.pending.get(m.RequestID); q != nil {
			q.take(m)
		}
		return
	}
	if a.counter != nil && !a.node.Has(m.Namespace, "") {
		return // those who ask do not count this server
	}
	switch m.Type {
	case Broadcast:
		a.deliver(m)
	case SocketsJoin, SocketsLeave, DisconnectSockets:
		a.update(m)
	case FetchSockets:
		a.lanes.run("", func() { a.describe(m) })
	case ServerSideEmit:
		a.lanes.run(m.Sender, func() { a.serve(m) })
	default: // of a newer version
	}
}

// logged is for what concerns a single message of another server.
func (a *Adapter) logged(m *Message, what string, err error) {
	if err != nil {
		a.log.ErrorContext(a.ctx, what, slog.String("namespace", m.Namespace), slog.String("event", m.Event),
			slog.String("from", m.Sender), slog.Any("error", err))
	}
}

func (a *Adapter) deliver(m *Message) {
	b := &core.Broadcast{
		Namespace: m.Namespace, In: m.In, Except: m.Except, Event: m.Event, Args: m.Args,
		Volatile: m.Flags.Volatile, NoCompress: m.Flags.NoCompress, Overflow: m.Flags.Overflow, Key: m.Flags.Key,
		Offset: m.Offset,
	}
	if m.RequestID == "" {
		// A client that is too slow is no news of this kind.
		if err := a.node.Deliver(a.ctx, b); !errors.Is(err, core.ErrOutboxFull) {
			a.logged(m, "an event of another server cannot be delivered", err)
		}
		return
	}
	// What follows must not overtake the event, so it is waited for until it has
	// been sent to the clients; their answers are not waited for.
	asked := make(chan struct{})
	if !a.lanes.run("", func() { a.callAll(m, b, asked) }) {
		return
	}
	select {
	case <-asked:
	case <-a.ctx.Done():
	}
}

// callAll asks the clients of this server a question of another one.
func (a *Adapter) callAll(m *Message, b *core.Broadcast, asked chan<- struct{}) {
	timeout := m.Flags.Timeout
	if timeout <= 0 {
		timeout = a.options.RequestTimeout
	}
	ctx, cancel := context.WithTimeout(a.ctx, timeout)
	defer cancel()
	told := false
	tell := func(n int) {
		if told {
			return
		}
		told = true
		a.answer(m, &Message{Type: BroadcastClientCount, Count: n})
		close(asked)
	}
	defer tell(0) // the event cannot be encoded
	for reply, err := range a.node.CallAll(ctx, b, tell) {
		if err != nil {
			continue // who has asked finds out
		}
		args, _ := reply.Answer.(codec.Args)
		a.answer(m, &Message{Type: BroadcastAck, Answer: args.Raw(0)})
	}
}

func (a *Adapter) answer(request, m *Message) {
	m.Namespace, m.RequestID, m.To, m.Form = request.Namespace, request.RequestID, request.Sender, request.Form
	a.logged(request, "an answer cannot be sent", a.send(m))
}

func (a *Adapter) update(m *Message) {
	u := &core.Update{Namespace: m.Namespace, In: m.In, Except: m.Except}
	switch m.Type {
	case SocketsJoin:
		u.Join = m.Rooms
	case SocketsLeave:
		u.Leave = m.Rooms
	default:
		u.Disconnect, u.CloseSession = true, m.CloseSession
	}
	a.logged(m, "what another server wants cannot be done", a.node.Update(a.ctx, u))
}

func (a *Adapter) describe(m *Message) {
	a.answer(m, &Message{Type: FetchSocketsResponse, Sockets: a.node.Describe(m.Namespace, m.In, m.Except)})
}

// serve runs the handler of an event of another server.
func (a *Adapter) serve(m *Message) {
	answer, ok, err := a.node.HandleServerEvent(a.ctx, &core.ServerEvent{Namespace: m.Namespace, Event: m.Event, Args: m.Args})
	a.logged(m, "an event of another server has failed", err)
	if m.RequestID == "" {
		return
	}
	// Who has asked waits for an answer of every server; the wire has no other
	// form for one that has none.
	response := &Message{Type: ServerSideEmitResponse}
	if ok && err == nil && len(answer) > 0 {
		response.Answer = answer[0]
	}
	a.answer(m, response)
}
