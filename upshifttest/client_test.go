package upshifttest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

type message struct {
	Room string `json:"room" msgpack:"room"`
	Data []byte `json:"data" msgpack:"data"`
}

var (
	send   = event.New[message, int]("send")
	posted = event.New[message, event.None]("posted")
	size   = event.New[string, int]("size")
)

// register is a small program.
func register(srv *core.Server) *core.Namespace {
	ns := srv.Of("/chat")
	core.OnEvent(ns, send, func(ctx context.Context, _ *core.Socket, m message) (int, error) {
		if m.Room == "" {
			return 0, core.Errorf("no_room", "which room?")
		}
		return len(m.Data), posted.Emit(ctx, ns, m)
	})
	core.On(ns, "fail", func(context.Context, *core.Socket, string) (struct{ Error string }, error) {
		return struct{ Error string }{"not one"}, nil
	})
	return ns
}

var codecs = map[string]codec.Codec{
	"json": codec.JSON(codec.JSONOptions{}), "msgpack": codec.MsgPack(codec.MsgPackOptions{}),
}

// each runs a test with both codecs, in bubbles and out of them.
func each(t *testing.T, test func(t *testing.T, c codec.Codec)) {
	t.Helper()
	for name, c := range codecs {
		t.Run(name, func(t *testing.T) { test(t, c) })
		t.Run(name+" in a bubble", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, c) })
		})
	}
}

func TestTalk(t *testing.T) {
	each(t, func(t *testing.T, c codec.Codec) {
		srv := upshifttest.NewServer(t, core.Options{Codec: c})
		ns := register(srv)
		ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Codec: c})
		bob := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Codec: c})
		if ann.ID() == "" || ann.ID() == bob.ID() || ns.Socket(ann.ID()) == nil {
			t.Errorf("ids %q and %q", ann.ID(), bob.ID())
		}
		m := message{Room: "r", Data: []byte{0, 1, 255}}
		n, err := send.Call(t.Context(), ann, m)
		if n != 3 || err != nil {
			t.Errorf("answered %d, %v", n, err)
		}
		if got := upshifttest.Receive(bob, posted); got.Room != "r" || !slices.Equal(got.Data, m.Data) {
			t.Errorf("received %v", got)
		}
		ann.Expect("posted", m)
		ann.ExpectNone()

		if err := send.Emit(t.Context(), ann, m); err != nil {
			t.Error(err)
		}
		bob.Expect("posted", map[string]any{"room": "r", "data": []byte{0, 1, 255}})

		_, err = send.Call(t.Context(), ann, message{})
		if failed, ok := errors.AsType[*core.Error](err); !ok || failed.Code != "no_room" {
			t.Errorf("error %v", err)
		}
		var answer struct{ Error string }
		if err := ann.Call(t.Context(), "fail", []any{"x"}, &answer); err != nil || answer.Error != "not one" {
			t.Errorf("answered %v, %v", answer, err)
		}
		if err := ann.Emit(t.Context(), "connect"); !errors.Is(err, core.ErrReservedEvent) {
			t.Errorf("error %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := send.Call(ended, ann, m); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAnswer(t *testing.T) {
	each(t, func(t *testing.T, c codec.Codec) {
		srv := upshifttest.NewServer(t, core.Options{Codec: c})
		ns := register(srv)
		ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Codec: c})
		upshifttest.Answer(ann, size, func(text string) int { return len(text) })
		if n, err := size.Call(t.Context(), ns.Socket(ann.ID()), "four"); n != 4 || err != nil {
			t.Errorf("answered %d, %v", n, err)
		}
		ann.Handle("size", nil)
		type result struct {
			n   int
			err error
		}
		results := make(chan result, 1)
		go func() {
			n, err := size.Call(t.Context(), ns.Socket(ann.ID()), "five!")
			results <- result{n, err}
		}()
		e := ann.Next()
		if values, err := e.Values(); err != nil || !slices.Equal(values, []any{"five!"}) {
			t.Errorf("asked %s (%v), %v", e, values, err)
		}
		if err := e.Reply(5); err != nil {
			t.Error(err)
		}
		if r := <-results; r.n != 5 || r.err != nil {
			t.Errorf("answered %d, %v", r.n, r.err)
		}
		if err := ns.Emit(t.Context(), "plain"); err != nil {
			t.Error(err)
		}
		if err := ann.Next().Reply(); err == nil {
			t.Error("an event was answered that asks for no answer")
		}
	})
}

func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, c codec.Codec) {
		srv := upshifttest.NewServer(t, core.Options{
			Codec: c,
			AllowRequest: func(_ context.Context, h *transports.Handshake) error {
				if h.Header.Get("Origin") == "evil" {
					return errors.New("no")
				}
				return nil
			},
		})
		srv.Of("/").Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				var auth struct {
					Token string `json:"token" msgpack:"token"`
				}
				if err := r.Socket.Auth(&auth); err != nil || auth.Token != "sesame" {
					return &core.Error{Code: "denied", Message: "who?", Data: []int{1, 2}}
				}
				return next(ctx, r)
			}
		})
		err := upshifttest.Refused(t, srv, "/", upshifttest.Options{Codec: c})
		refusal, ok := errors.AsType[*upshifttest.ConnectError](err)
		var data []int
		if !ok || refusal.Message != "who?" || refusal.Data.Bind(&data) != nil || !slices.Equal(data, []int{1, 2}) {
			t.Errorf("refused with %v, %v", err, data)
		}
		err = upshifttest.Refused(t, srv, "/", upshifttest.Options{
			Codec: c, Handshake: transports.Handshake{Header: transports.NewHeader("Origin", "evil")},
		})
		if _, ok := errors.AsType[*core.RequestError](err); !ok {
			t.Errorf("refused with %v", err)
		}
		auth := map[string]string{"token": "sesame"}
		upshifttest.Dial(t, srv, "/", upshifttest.Options{Codec: c, Auth: auth}).ExpectNone()
	})
}

func TestNamespaces(t *testing.T) {
	each(t, func(t *testing.T, c codec.Codec) {
		srv := upshifttest.NewServer(t, core.Options{Codec: c})
		register(srv)
		causes := make(chan string, 2)
		main := srv.Of("/")
		main.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) {
			causes <- string(core.ReasonOf(cause))
		})
		chat := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Codec: c})
		other := chat.Join("/", nil)
		if srv.Sessions() != 1 || other.ID() == chat.ID() {
			t.Errorf("%d sessions, ids %q and %q", srv.Sessions(), other.ID(), chat.ID())
		}
		if err := main.Emit(t.Context(), "only here"); err != nil {
			t.Fatal(err)
		}
		other.Expect("only here")
		chat.ExpectNone()

		other.Disconnect()
		if got := <-causes; got != string(core.ClientDisconnect) {
			t.Errorf("server was told %q", got)
		}
		if got := other.WaitDisconnect(); got != "io client disconnect" {
			t.Errorf("client was told %q", got)
		}
		if err := other.Emit(t.Context(), "late"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("error %v", err)
		}
		other.Reconnect() // on the same connection
		if srv.Sessions() != 1 {
			t.Errorf("%d sessions", srv.Sessions())
		}
		main.To(other.ID()).Disconnect()
		if got := other.WaitDisconnect(); got != "io server disconnect" {
			t.Errorf("client was told %q", got)
		}
		<-causes
		other.Reconnect()
		chat.Close()
		if got := <-causes; got != string(core.TransportClose) {
			t.Errorf("server was told %q", got)
		}
		if a, b := chat.WaitDisconnect(), other.WaitDisconnect(); a != "forced close" || b != a {
			t.Errorf("clients were told %q and %q", a, b)
		}
	})
}

// What a client gets when the server goes.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, c codec.Codec) {
		srv := upshifttest.NewServer(t, core.Options{Codec: c})
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{Codec: c})
		unanswered := make(chan error, 1)
		srv.Of("/").Handle("never", func(ctx context.Context, _ *core.Request) error { <-ctx.Done(); return nil })
		go func() { unanswered <- ann.Call(t.Context(), "never", nil) }()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := ann.WaitDisconnect(); got != "transport close" && got != "io server disconnect" {
			t.Errorf("client was told %q", got)
		}
		if err := <-unanswered; !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("error %v", err)
		}
	})
}

// Another server than NewServer's, with a transport beside the one in memory.
func TestTransport(t *testing.T) {
	srv, err := core.New(core.Options{Transports: []transports.Transport{upshifttest.Transport()}})
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Patience: 10 * time.Second})
	if n, err := send.Call(t.Context(), ann, message{Room: "r"}); n != 0 || err != nil {
		t.Errorf("answered %d, %v", n, err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
