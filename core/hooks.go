package core

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/upshift-go/upshift/core/session"
)

// A Session is a client's connection below its sockets, whatever transport
// carries it.
type Session = session.Session

// Hooks are told what happens on a server: they are for logs, metrics, traces
// and tools that look at the whole, where middleware and OnConnect are for what
// the program does. What no observer has a hook for costs next to nothing.
//
// A hook runs on the goroutine on which things happen, some of them for each
// client of a broadcast. It must not block and must not change what it is
// passed. A panic is logged.
type Hooks struct {
	// SessionOpened is called when a session has opened, before anything the
	// client sends is read.
	SessionOpened func(s *Session)
	// SessionClosed is called when a session has ended, before its sockets
	// learn of it.
	SessionClosed func(s *Session, cause *CloseError)
	// Upgraded is called when an attempt to move a session to another transport
	// has ended, with a nil error if it has moved.
	Upgraded func(s *Session, transport string, err error)
	// RequestRefused is what Options.OnReject is.
	RequestRefused func(e *RequestError)

	// Connected is called when a socket has connected, before OnConnect.
	Connected func(s *Socket)
	// ConnectRefused is called when a client may not connect to a namespace.
	// The socket is nil if that was clear before there was one: for a
	// namespace that does not exist, or one too many.
	ConnectRefused func(session *Session, namespace string, s *Socket, err error)
	// Disconnected is called when a socket that had connected has left and its
	// last event has been handled, before OnDisconnect. Socket.Rooms are those
	// it was in; RoomLeft is not called for them.
	Disconnected func(s *Socket, cause *CloseError)

	// RoomJoined is called when a socket has joined a room that it was not in.
	// The room of its own id is left out, and so are those that a recovered
	// socket comes back to.
	RoomJoined func(s *Socket, room string)
	// RoomLeft is called when a socket has left a room, other than by
	// disconnecting.
	RoomLeft func(s *Socket, room string)

	// EventReceived is what OnAny is, for all namespaces.
	EventReceived func(s *Socket, event string, args Args)
	// EventSent is what OnAnyOutgoing is, for all namespaces.
	EventSent func(s *Socket, event string, args []any)
	// EventSentTo is EventSent once for all the clients that an emit is for, for
	// who would do the same work for each. The slices are not to be kept.
	EventSentTo func(sockets []*Socket, event string, args []any)
	// Broadcast is called when an event has been sent to a Target of one
	// namespace, other than a client's own (Socket.Self). ctx is what was passed
	// to Emit.
	Broadcast func(ctx context.Context, b *Broadcasted)
	// Called is called when a Call, or one client's part of a CallAll, is over.
	// took is how long the answer, or the error, was in coming.
	Called func(s *Socket, event string, took time.Duration, err error)
}

// Broadcasted is an event that has been sent to a Target.
type Broadcasted struct {
	Namespace  *Namespace
	Event      string
	Recipients int           // sockets of this server
	Started    time.Time     // when Emit was called
	Took       time.Duration // to encode it and to queue it for everybody
	Err        error         // what Emit returns
}

// Observe adds hooks, which count from then on. Hooks of several calls run in
// the order of the calls. stop removes them; one that runs may not have
// returned when stop does.
func (srv *Server) Observe(h Hooks) (stop func()) {
	added := &h
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.setHooks(append(slices.Clone(srv.watchers().all), added))
	return func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		srv.setHooks(slices.DeleteFunc(slices.Clone(srv.watchers().all), func(h *Hooks) bool { return h == added }))
	}
}

// observers are the hooks there are, and which of those that cost something any of
// them has. They are immutable.
type observers struct {
	all                                       []*Hooks
	rooms, received, sent, broadcasts, called bool
}

var nobody observers

func (srv *Server) setHooks(all []*Hooks) {
	o := &observers{all: all}
	for _, h := range all {
		o.rooms = o.rooms || h.RoomJoined != nil || h.RoomLeft != nil
		o.received = o.received || h.EventReceived != nil
		o.sent = o.sent || h.EventSent != nil || h.EventSentTo != nil
		o.broadcasts = o.broadcasts || h.Broadcast != nil
		o.called = o.called || h.Called != nil
	}
	srv.observers.Store(o)
}

func (srv *Server) watchers() *observers {
	if o := srv.observers.Load(); o != nil {
		return o
	}
	return &nobody
}

// tell calls a hook of each of the observers.
func (srv *Server) tell(what string, call func(h *Hooks)) {
	for _, h := range srv.watchers().all {
		err := guard(func() error {
			call(h)
			return nil
		})
		if p, ok := err.(*panicError); ok { //nolint:errorlint // guard returns it bare
			srv.log.LogAttrs(context.Background(), slog.LevelError, "hook failed",
				slog.String("hook", what), slog.Any("error", err), slog.String("stack", string(p.stack)))
		}
	}
}

func (srv *Server) sessionOpened(s *Session) {
	srv.tell("SessionOpened", func(h *Hooks) {
		if h.SessionOpened != nil {
			h.SessionOpened(s)
		}
	})
}

func (srv *Server) sessionClosed(s *Session, cause *CloseError) {
	srv.tell("SessionClosed", func(h *Hooks) {
		if h.SessionClosed != nil {
			h.SessionClosed(s, cause)
		}
	})
}

func (srv *Server) upgraded(s *Session, transport string, err error) {
	srv.tell("Upgraded", func(h *Hooks) {
		if h.Upgraded != nil {
			h.Upgraded(s, transport, err)
		}
	})
}

func (srv *Server) requestRefused(e *RequestError) {
	if srv.options.OnReject != nil {
		srv.options.OnReject(e)
	}
	srv.tell("RequestRefused", func(h *Hooks) {
		if h.RequestRefused != nil {
			h.RequestRefused(e)
		}
	})
}

func (srv *Server) socketConnected(s *Socket) {
	srv.tell("Connected", func(h *Hooks) {
		if h.Connected != nil {
			h.Connected(s)
		}
	})
}

func (srv *Server) connectRefused(session *Session, namespace string, s *Socket, err error) {
	srv.tell("ConnectRefused", func(h *Hooks) {
		if h.ConnectRefused != nil {
			h.ConnectRefused(session, namespace, s, err)
		}
	})
}

func (srv *Server) socketDisconnected(s *Socket, cause *CloseError) {
	srv.tell("Disconnected", func(h *Hooks) {
		if h.Disconnected != nil {
			h.Disconnected(s, cause)
		}
	})
}

// wantsRooms returns where to put the rooms that have changed, which is nil if
// no observer wants to know.
func (srv *Server) wantsRooms(news *[]string) *[]string {
	if !srv.watchers().rooms {
		return nil
	}
	return news
}

func (srv *Server) roomsJoined(s *Socket, rooms []string) {
	if len(rooms) == 0 {
		return
	}
	srv.tell("RoomJoined", func(h *Hooks) {
		if h.RoomJoined == nil {
			return
		}
		for _, room := range rooms {
			h.RoomJoined(s, room)
		}
	})
}

func (srv *Server) roomsLeft(s *Socket, rooms []string) {
	if len(rooms) == 0 {
		return
	}
	srv.tell("RoomLeft", func(h *Hooks) {
		if h.RoomLeft == nil {
			return
		}
		for _, room := range rooms {
			h.RoomLeft(s, room)
		}
	})
}

func (srv *Server) eventReceived(s *Socket, event string, args Args) {
	if !srv.watchers().received {
		return
	}
	srv.tell("EventReceived", func(h *Hooks) {
		if h.EventReceived != nil {
			h.EventReceived(s, event, args)
		}
	})
}

func (srv *Server) eventSent(sockets []*Socket, event string, args []any) {
	if len(sockets) == 0 || !srv.watchers().sent {
		return
	}
	srv.tell("EventSent", func(h *Hooks) {
		if h.EventSentTo != nil {
			h.EventSentTo(sockets, event, args)
		}
		if h.EventSent == nil {
			return
		}
		for _, s := range sockets {
			h.EventSent(s, event, args)
		}
	})
}

// since is now if an observer wants to know how long something takes, and
// otherwise the zero time.
func since(wanted bool) time.Time {
	if !wanted {
		return time.Time{}
	}
	return time.Now()
}

// broadcasted says that an event has been sent to many. It is passed on as a
// copy, so that it is only made when somebody wants it.
func (srv *Server) broadcasted(ctx context.Context, b Broadcasted) {
	if b.Started.IsZero() {
		return
	}
	srv.tellBroadcast(ctx, b)
}

func (srv *Server) tellBroadcast(ctx context.Context, b Broadcasted) {
	b.Took = time.Since(b.Started)
	srv.tell("Broadcast", func(h *Hooks) {
		if h.Broadcast != nil {
			h.Broadcast(ctx, &b)
		}
	})
}

func (srv *Server) called(s *Socket, event string, started time.Time, err error) {
	if started.IsZero() {
		return
	}
	took := time.Since(started)
	srv.tell("Called", func(h *Hooks) {
		if h.Called != nil {
			h.Called(s, event, took, err)
		}
	})
}
