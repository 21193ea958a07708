package interop

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// doors are the ways in: mounted on a net/http server, on a fasthttp server,
// or on the server that core starts by itself.
var doors = []string{"nethttp", "fasthttp", "own"}

// An app is a program that uses the server, with something to answer to
// everything the tests ask. What it sees goes to its journal.
type app struct {
	*journal[served]
	url, addr string
	server    *core.Server
	front     *frontDoor
	stopOnce  sync.Once
	log       lockedBuffer
}

// served is something that happened at the server.
type served struct {
	Kind      string // connect, disconnect, up, post
	Namespace string
	ID        string   // of the socket
	Name      string   // that the client gave in its auth
	Reason    string   // disconnect
	Rooms     []string // disconnect: but the socket's own
	N         int      // up, post
	Recovered bool     // connect
}

type settings struct {
	pingInterval, pingTimeout time.Duration
	upgradeTimeout            time.Duration
	codec                     codec.Codec
	options                   func(o *core.Options) // may change the rest
}

// A parcel has bytes in every kind of place.
type parcel struct {
	Label string            `json:"label"`
	Body  []byte            `json:"body"`
	Parts map[string][]byte `json:"parts"`
	Items []struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	} `json:"items"`
}

// startApp starts the app behind a door. It is shut down with the test, if the
// test has not done it.
func startApp(t *testing.T, door string, s settings) *app {
	t.Helper()
	a := &app{journal: newJournal[served]()}
	options := core.Options{
		PingInterval: s.pingInterval, PingTimeout: s.pingTimeout, UpgradeTimeout: s.upgradeTimeout,
		Codec:  s.codec,
		Logger: slog.New(slog.NewTextHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if s.options != nil {
		s.options(&options)
	}
	var err error
	a.server, err = core.New(options)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/", "/chat", "/admin"} {
		a.register(a.server.Of(name))
	}
	a.server.Of("/admin").Use(onlyWithToken)

	if door == "own" {
		listener := listen(t)
		a.front = &frontDoor{addr: listener.Addr().String(), stop: func(context.Context) error { return nil }}
		a.front.serving.Go(func() { _ = a.server.ServeListener(listener) }) // until Shutdown
	} else {
		a.front = openDoor(t, door, a.server, a.server.ServeFastHTTP)
	}
	a.addr = a.front.addr
	a.url = "http://" + a.addr
	t.Cleanup(func() {
		a.shutdown(t)
		if t.Failed() {
			t.Logf("log of the server:\n%s", a.log.String())
		}
	})
	return a
}

// shutdown ends the server and its front door.
func (a *app) shutdown(t *testing.T) {
	t.Helper()
	a.stopOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown of the server: %v", err)
		}
		a.front.shut(ctx, t)
		if n := a.server.Sessions(); n != 0 {
			t.Errorf("%d sessions after Shutdown", n)
		}
	})
}

func (a *app) register(n *core.Namespace) {
	n.OnConnect(func(_ context.Context, s *core.Socket) error {
		a.saw("connect", s, served{Recovered: s.Recovered()})
		return nil
	})
	n.OnDisconnect(func(_ context.Context, s *core.Socket, cause error) {
		rooms := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
		slices.Sort(rooms)
		a.saw("disconnect", s, served{Reason: string(core.ReasonOf(cause)), Rooms: rooms})
	})
	core.On(n, "echo", func(_ context.Context, _ *core.Socket, v any) (any, error) { return v, nil })
	core.On(n, "parcel", func(ctx context.Context, s *core.Socket, p parcel) (parcel, error) {
		return p, s.Emit(ctx, "parcel", p)
	})
	core.On(n, "up", func(ctx context.Context, s *core.Socket, i int) (core.None, error) {
		a.saw("up", s, served{N: i})
		return core.None{}, s.Emit(ctx, "down", i)
	})
	core.On(n, "post", func(ctx context.Context, s *core.Socket, i int) (core.None, error) {
		a.saw("post", s, served{N: i})
		return core.None{}, s.Broadcast().Emit(ctx, "posted", nameOf(s), i)
	})
	core.On(n, "join", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
		return core.None{}, s.Join(ctx, room)
	})
	core.On(n, "leave", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
		return core.None{}, s.Leave(ctx, room)
	})
	core.On(n, "say", func(ctx context.Context, s *core.Socket, in core.Args2[string, string]) (core.None, error) {
		return core.None{}, s.To(in.A).Emit(ctx, "said", in.B)
	})
	core.On(n, "tell", func(ctx context.Context, _ *core.Socket, in core.Args2[string, string]) (core.None, error) {
		return core.None{}, n.In(in.A).Emit(ctx, "said", in.B)
	})
	core.On(n, "fail", func(context.Context, *core.Socket, core.None) (core.None, error) {
		return core.None{}, core.Errorf("no_such_thing", "there is no such %s", "thing")
	})
	core.On(n, "transport", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
		return s.Transport(), nil
	})
}

// onlyWithToken refuses sockets that do not know the word.
func onlyWithToken(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		var auth struct{ Token string }
		if err := r.Socket.Auth(&auth); err != nil {
			return err
		}
		if r.Connect() && auth.Token != "secret" {
			return core.Errorf("not_for_you", "not for you")
		}
		return next(ctx, r)
	}
}

func nameOf(s *core.Socket) string {
	var auth struct{ Name string }
	_ = s.Auth(&auth) // a client without auth has no name
	return auth.Name
}

func (a *app) saw(kind string, s *core.Socket, entry served) {
	entry.Kind, entry.Namespace, entry.ID, entry.Name = kind, s.Namespace().Name(), s.ID(), nameOf(s)
	a.add(entry)
}

// disconnect, emit and call act on a client's socket. They may be called from
// any goroutine.

func (a *app) disconnect(t *testing.T, namespace, id string) {
	if s := a.socket(t, namespace, id); s != nil {
		s.Disconnect()
	}
}

func (a *app) emit(t *testing.T, namespace, id, event string, args ...any) {
	if s := a.socket(t, namespace, id); s != nil {
		if err := s.Emit(t.Context(), event, args...); err != nil {
			t.Errorf("emit %s: %v", event, err)
		}
	}
}

func (a *app) call(t *testing.T, namespace, id, event string, arg any) (answer any) {
	if s := a.socket(t, namespace, id); s != nil {
		if err := s.Call(t.Context(), event, []any{arg}, &answer); err != nil {
			t.Errorf("call %s: %v", event, err)
		}
	}
	return answer
}

func (a *app) socket(t *testing.T, namespace, id string) *core.Socket {
	s := a.server.Of(namespace).Socket(id)
	if s == nil {
		t.Errorf("no socket %s in %s", id, namespace)
	}
	return s
}
