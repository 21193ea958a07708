package interop

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// Middleware runs in order, for connects and events, and what it decides
// reaches the client (C29, C30, C39).
func TestMiddleware(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		ns := a.server.Of("/guarded")
		a.register(ns)
		log := newJournal[string]()
		user := core.NewKey[string]("user")
		note := func(name string) core.Middleware {
			return func(next core.Handler) core.Handler {
				return func(ctx context.Context, r *core.Request) error {
					log.add(name + " " + r.Event)
					return next(ctx, r)
				}
			}
		}
		held := newJournal[string]()
		var ended atomic.Bool
		ns.Use(note("first"), func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				s := r.Socket
				if !r.Connect() {
					if err := next(ctx, r); err != nil || r.Event != "rewritten" {
						return err
					}
					r.SetAnswer(append(r.Answer(), "and more")...)
					return nil
				}
				if s.Connected() || ns.Socket(s.ID()) != nil {
					t.Error("connected before middleware has decided")
				}
				if err := s.Join(ctx, "early"); err != nil {
					t.Error(err)
				}
				user.Set(s, "user "+nameOf(s))
				switch nameOf(s) {
				case "eve":
					return &core.Error{Message: "not you", Data: []any{"reasons", map[string]any{"n": 1}, nil}}
				case "gone":
					held.add(s.ID())
					<-ctx.Done()
					defer ended.Store(true)
				case "":
					return context.DeadlineExceeded // is not for the client
				default:
					mustEmit(t, s, "welcome", nameOf(s))
				}
				return next(ctx, r)
			}
		}, note("last"))
		ns.OnConnect(func(_ context.Context, s *core.Socket) error {
			who, _ := user.Get(s)
			if !s.Connected() || ns.Socket(s.ID()) != s {
				t.Error("not connected when middleware has decided")
			}
			log.add("connected " + who)
			return nil
		})
		core.On(ns.Group(note("group")), "rewritten", func(context.Context, *core.Socket, core.None) (string, error) { return "answer", nil })
		core.On(ns, "refused", func(context.Context, *core.Socket, core.None) (core.None, error) {
			return core.None{}, &core.Error{Code: "no", Message: "not now", Data: []byte("bytes")}
		})

		in := func(name string) *client {
			options := map[string]any{"auth": map[string]any{"name": name}}
			maps.Copy(options, way.options)
			return n.open(t, name, a.url, options, map[string]any{"namespace": "/guarded"})
		}
		refused := in("eve").event(t, "connect_error")
		if d := diff(any([]any{"reasons", map[string]any{"n": 1.0}, nil}), refused.Data); refused.Message != "not you" || d != "" {
			t.Errorf("refused with %q (-want +got):\n%s", refused.Message, d)
		}
		if got := ns.Rooms(); len(got) > 0 {
			t.Errorf("the refused has left rooms: %v", got)
		}
		if d := diff([]string{"first "}, log.take(func(string) bool { return true })); d != "" {
			t.Errorf("run (-want +got):\n%s", d)
		}
		ann := in("ann")
		ann.event(t, "connect")
		if got := ann.message(t, "welcome").Args; !cmp.Equal(got, []any{"ann"}) {
			t.Errorf("middleware's event arrived as %v", got)
		}
		if got := ann.call(t, "rewritten"); !cmp.Equal(got, []any{"answer", "and more"}) {
			t.Errorf("answer %v", got)
		}
		failure := map[string]any{"error": map[string]any{"code": "no", "message": "not now", "data": []byte("bytes")}}
		if d := diff([]any{failure}, ann.call(t, "refused")); d != "" {
			t.Errorf("answer (-want +got):\n%s", d)
		}
		want := []string{"first ", "last ", "connected user ann", "first rewritten", "last rewritten", "group rewritten", "first refused", "last refused"}
		if d := diff(want, log.take(func(string) bool { return true })); d != "" {
			t.Errorf("run (-want +got):\n%s", d)
		}
		if got := in("").event(t, "connect_error").Message; got != "internal error" {
			t.Errorf("the client is told %q", got)
		}

		// Who goes meanwhile never connects.
		gone := in("gone")
		held.await(t, "middleware", func(string) bool { return true })
		gone.run(t, `socket.io.engine.close()`)
		await(t, "end of who has gone", func() bool { return len(ns.Rooms()) == 1 && ended.Load() })
		if got := a.take(func(s served) bool { return s.Name == "gone" }); len(got) > 0 {
			t.Errorf("seen of who has gone: %v", got)
		}
	})
}

// A client that joins no namespace is let go after ConnectTimeout, one that has
// joined one is not (C3, C18); and middleware may not take longer.
func TestConnectTimeout(t *testing.T) {
	set := settings{options: func(o *core.Options) { o.ConnectTimeout = time.Second }}
	eachCodec(t, set, func(t *testing.T, n *node, a *app, way route) {
		a.server.Of("/hung").Use(func(core.Handler) core.Handler {
			return func(ctx context.Context, _ *core.Request) error {
				<-ctx.Done()
				return ctx.Err()
			}
		})
		main, _ := connect(t, n, "main", a.url, way, nil)
		idle := n.open(t, "idle", a.url, way.options, map[string]any{"idle": true})
		left := idle.running(t, `
			socket.io.reconnection(false);
			return await new Promise((end) => socket.io.on("close", end).open((err) => err && end(err.message)));`)
		hung := n.open(t, "hung", "", nil, map[string]any{"shares": main, "namespace": "/hung"})
		if got := hung.event(t, "connect_error").Message; got != "internal error" {
			t.Errorf("refused with %q", got)
		}
		if got := idle.finished(t, left); got != "transport close" {
			t.Errorf("closed for %q", got)
		}
		main.call(t, "echo", "still here")
	})
}

// What a client says of itself: the query and the headers for its connection,
// auth for each namespace, and a function's at each attempt (C36, C63).
func TestHandshake(t *testing.T) {
	const special = "a&b=c ☃ %41+/?#\"'"
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		options := map[string]any{
			"query": map[string]any{"lang": special, "empty": ""}, "extraHeaders": map[string]any{"X-From": "here"},
			"auth": map[string]any{"name": special},
		}
		maps.Copy(options, way.options)
		main, mainID := connect(t, n, "main", a.url, route{options: options}, nil)
		chat, chatID := connect(t, n, "chat", "", route{options: map[string]any{"auth": map[string]any{"name": "other"}}},
			map[string]any{"shares": main, "namespace": "/chat"})
		bare, bareID := connect(t, n, "bare", a.url, way, map[string]any{"namespace": "/?lang=en%20GB"})
		for _, want := range []struct {
			c                              *client
			namespace, id, lang, from, who string
		}{
			{main, "/", mainID, special, "here", special},
			{chat, "/chat", chatID, special, "here", "other"},
			{bare, "/", bareID, "en GB", "", ""},
		} {
			s := a.socket(t, want.namespace, want.id)
			h := s.Handshake()
			if got := h.Query.Get("lang"); got != want.lang {
				t.Errorf("query of %s: %q", want.c.name, got)
			}
			if got := h.Header.Get("x-from"); got != want.from {
				t.Errorf("header of %s: %q", want.c.name, got)
			}
			if got := nameOf(s); got != want.who {
				t.Errorf("auth of %s: %q", want.c.name, got)
			}
		}
		counting := n.open(t, "counting", a.url, way.options, map[string]any{"idle": true})
		counting.run(t, `let n = 0; socket.auth = (use) => setTimeout(() => use({ name: "attempt " + ++n })); socket.connect()`)
		for i, want := range []string{"attempt 1", "attempt 2"} {
			if i > 0 {
				counting.run(t, `socket.disconnect().connect()`)
			}
			if got := nameOf(a.socket(t, "/", counting.event(t, "connect").SID)); got != want {
				t.Errorf("auth %q, want %q", got, want)
			}
		}
	})
}
