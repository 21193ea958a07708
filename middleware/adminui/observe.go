package adminui

import (
	"context"
	"slices"
	"time"

	"github.com/upshift-go/upshift/core"
)

// greet tells a page that has connected what it needs to begin. The id to come
// back with goes after the answer to its connect: events that come before it
// reach nobody in the UI.
func (a *Admin) greet(ctx context.Context, page *core.Socket) error {
	if a.ctx.Err() != nil || !a.isAdmitted(page) { // Stop, or Instrument, may have come between
		return errStopped
	}
	if id, ok := newSession.Get(page); ok && !page.Recovered() {
		if err := page.Emit(ctx, "session", id); err != nil {
			return err
		}
	}
	if err := page.Emit(ctx, "config", map[string]any{"supportedFeatures": a.features}); err != nil {
		return err
	}
	if err := page.Emit(ctx, "server_stats", a.stats(nil)); err != nil {
		return err
	}
	if !a.options.Development {
		a.queue.mu.Lock()
		defer a.queue.mu.Unlock()
		a.queue.pages[page] = struct{}{}
		return nil
	}
	others := a.stateOfOthers(ctx)
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	a.queue.pages[page] = struct{}{}
	a.watchLocked()
	// Never dropped: there is one for each page.
	a.queue.entries = append(a.queue.entries, func() { a.sendState(page, others) })
	a.wakeUp()
	return nil
}

// leave forgets a page that has gone.
func (a *Admin) leave(page *core.Socket) {
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	delete(a.queue.pages, page)
	a.unwatchLocked()
}

// watchLocked begins to collect what happens, if nobody has watched so far. The
// lock of the queue is held.
func (a *Admin) watchLocked() {
	if a.queue.watched {
		return
	}
	a.queue.watched, a.queue.lost = true, false
	a.watched.Store(true)
	all := a.queue.allLocked()
	a.queue.entries = append(a.queue.entries, func() { a.begin(all) })
	a.wakeUp()
}

// unwatchLocked ends that when the last page, of this server or another, has
// gone. The lock of the queue is held.
func (a *Admin) unwatchLocked() {
	if !a.queue.watched || len(a.queue.pages) > 0 || time.Now().Before(a.queue.watchedUntil) {
		return
	}
	a.queue.watched = false
	a.watched.Store(false)
	a.queue.bytes = 0
	a.queue.entries = []func(){func() { a.model = nil }}
	a.wakeUp()
}

// observe installs the hooks.
func (a *Admin) observe() {
	hooks := core.Hooks{
		SessionClosed: func(_ *core.Session, cause *core.CloseError) { a.tally.ended(cause.Reason) },
		Connected:     a.onConnected,
	}
	if a.options.Development {
		hooks.Upgraded = a.onUpgraded
		hooks.Disconnected = a.onDisconnected
		hooks.RoomJoined = func(s *core.Socket, room string) { a.onRoom(s, room, a.tellJoined) }
		hooks.RoomLeft = func(s *core.Socket, room string) { a.onRoom(s, room, a.tellLeft) }
		hooks.EventReceived = a.onReceived
		hooks.EventSentTo = a.onSent
	}
	a.unhook = a.server.Observe(hooks)
}

// addEarlier adds the sockets that may have connected before there were hooks.
func (a *Admin) addEarlier() {
	for _, n := range a.server.Namespaces() {
		for _, s := range n.Sockets() {
			a.onConnected(s)
		}
	}
}

// onConnected is called once for a socket, or twice while Instrument runs.
func (a *Admin) onConnected(s *core.Socket) {
	if s.Namespace() == a.namespace && !a.isAdmitted(s) {
		s.Disconnect()
		return
	}
	if !a.options.Development {
		return
	}
	a.mark(s)
	at := time.Now()
	q := &a.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	// If it has left by now, that may have been said already.
	if slices.Contains(q.sessions[s.Session()], s) || s.Context().Err() != nil {
		return
	}
	q.sessions[s.Session()] = append(q.sessions[s.Session()], s)
	if !q.watched {
		return
	}
	rooms := s.Rooms() // with the lock held: a room that it joins from now on comes later in the queue
	size := 0
	for _, room := range rooms {
		size += len(room)
	}
	a.changeLocked(size, func() { a.tellConnected(s, rooms, at) })
}

func (a *Admin) onDisconnected(s *core.Socket, cause *core.CloseError) {
	at := time.Now()
	q := &a.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := slices.DeleteFunc(q.sessions[s.Session()], func(other *core.Socket) bool { return other == s })
	q.sessions[s.Session()] = rest
	if len(rest) == 0 {
		delete(q.sessions, s.Session())
	}
	a.changeLocked(0, func() { a.tellDisconnected(s, cause.Reason, at) })
}

func (a *Admin) onUpgraded(session *core.Session, transport string, err error) {
	if err != nil {
		return
	}
	for _, s := range a.moved(session, transport) {
		a.mark(s)
	}
}

// moved queues what an upgrade changes, and returns the sockets of the session.
func (a *Admin) moved(session *core.Session, transport string) []*core.Socket {
	a.queue.mu.Lock()
	defer a.queue.mu.Unlock()
	for _, s := range a.queue.sessions[session] {
		a.changeLocked(0, func() { a.tellTransport(s, transport) })
	}
	return slices.Clone(a.queue.sessions[session])
}

// mark keeps with a socket what the pages of other servers want to know of it.
func (a *Admin) mark(s *core.Socket) {
	if !a.alone {
		marks.Set(s, mark{ClientID: clientID(s.Session()), Transport: s.Transport()})
	}
}

func (a *Admin) onRoom(s *core.Socket, room string, tell func(s *core.Socket, room string, at time.Time)) {
	if !a.watched.Load() {
		return
	}
	at := time.Now()
	a.change(len(room), func() { tell(s, room, at) })
}

func (a *Admin) onReceived(s *core.Socket, event string, args core.Args) {
	if !a.watched.Load() || s.Namespace() == a.namespace {
		return
	}
	at := time.Now()
	text := a.received(event, args)
	a.mention(len(text), func() { a.tellEvent("event_received", s, text, at) })
}

func (a *Admin) onSent(sockets []*core.Socket, event string, args []any) {
	if !a.watched.Load() || sockets[0].Namespace() == a.namespace {
		return
	}
	at := time.Now()
	text := a.sent(event, args)
	some := slices.Clone(sockets[:min(len(sockets), a.options.MaxRecipients)])
	a.mention(len(text)+entryOverhead*len(some), func() {
		for _, s := range some {
			a.tellEvent("event_sent", s, text, at)
		}
	})
}

// tellEvent is for what a page can do without: one that reads slowly does.
func (a *Admin) tellEvent(kind string, s *core.Socket, text []byte, at time.Time) {
	a.emit(a.namespace.To().Overflow(core.DropNewest), kind, s.Namespace().Name(), s.ID(), raw(text), moment(at))
}

// Refresh shows the pages what Options.Data says of a socket now. Calls in
// quick succession become one. Members that are there no more linger on the
// page until it is reloaded.
func (a *Admin) Refresh(s *core.Socket) {
	if !a.watched.Load() {
		return
	}
	q := &a.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.sessions[s.Session()], s) {
		return
	}
	if q.stale == nil {
		q.stale = make(map[*core.Socket]struct{})
		q.refresh = time.AfterFunc(refreshAfter, a.refresh)
	}
	q.stale[s] = struct{}{}
}

// refreshAfter is how long Refresh waits for more.
const refreshAfter = 250 * time.Millisecond

// refresh queues what Refresh has gathered.
func (a *Admin) refresh() {
	q := &a.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	for s := range q.stale {
		a.changeLocked(0, func() { a.tellData(s) })
	}
	q.stale = nil
}
