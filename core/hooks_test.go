package core_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// record returns hooks that write down what they are told.
func record(log *[]string) core.Hooks {
	add := func(format string, args ...any) { *log = append(*log, fmt.Sprintf(format, args...)) }
	return core.Hooks{
		SessionOpened: func(s *core.Session) { add("opened on %s", s.Transport()) },
		SessionClosed: func(_ *core.Session, cause *core.CloseError) { add("closed: %s", cause.Reason) },
		Connected:     func(s *core.Socket) { add("connected to %s in %d", s.Namespace().Name(), len(s.Rooms())) },
		ConnectRefused: func(_ *core.Session, namespace string, s *core.Socket, err error) {
			add("refused %s %t: %v", namespace, s != nil, err)
		},
		Disconnected: func(s *core.Socket, cause *core.CloseError) {
			add("disconnected from %s: %s, %v", s.Namespace().Name(), cause.Reason, s.Rooms()[1:])
		},
		RoomJoined:    func(_ *core.Socket, room string) { add("joined %s", room) },
		RoomLeft:      func(_ *core.Socket, room string) { add("left %s", room) },
		EventReceived: func(_ *core.Socket, event string, args core.Args) { add("received %s with %d", event, args.Len()) },
		EventSentTo:   func(to []*core.Socket, event string, _ []any) { add("sending %s to %d", event, len(to)) },
		EventSent:     func(_ *core.Socket, event string, args []any) { add("sent %s with %v", event, args) },
		Broadcast: func(_ context.Context, b *core.Broadcasted) {
			add("broadcast %s to %d in %s: %v", b.Event, b.Recipients, b.Took, b.Err)
		},
		Called: func(_ *core.Socket, event string, took time.Duration, err error) {
			add("called %s, %s: %v", event, took, err)
		},
	}
}

// Hooks see a client's whole life, in order.
func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		ns := srv.Of("/")
		ns.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "a", "b", "a") })
		core.On(ns, "hello", func(ctx context.Context, s *core.Socket, _ string) (core.None, error) {
			return core.None{}, errors.Join(s.Join(ctx, "b", "c"), s.Leave(ctx, "c", "d"))
		})
		var log []string
		stop := srv.Observe(record(&log))
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		c.Handle("ask", func(e *upshifttest.Event) {
			<-time.After(time.Second)
			if err := e.Reply("fine"); err != nil {
				t.Error(err)
			}
		})
		emit(t, c, "hello", "x")
		synctest.Wait()
		emit(t, ns.To("b"), "news", 1)
		emit(t, ns.Sockets()[0], "own", 2)
		if err := ns.Sockets()[0].Call(t.Context(), "ask", nil); err != nil {
			t.Error(err)
		}
		if err := upshifttest.Refused(t, srv, "/none", upshifttest.Options{}); err == nil {
			t.Error("connected to a namespace that is none")
		}
		c.Close()
		synctest.Wait()
		want := []string{
			"opened on pipe", "connected to / in 1", "joined a", "joined b",
			"received hello with 1", "joined c", "left c",
			"sending news to 1", "sent news with [1]", "broadcast news to 1 in 0s: <nil>",
			"sending own to 1", "sent own with [2]", "sending ask to 1", "sent ask with []", "called ask, 1s: <nil>",
			"opened on pipe", "refused /none false: : Invalid namespace",
			"closed: transport close", "disconnected from /: transport close, [a b]",
		}
		if !slices.Equal(log, want) {
			t.Errorf("hooks were told\n\t%s\nwant\n\t%s", strings.Join(log, "\n\t"), strings.Join(want, "\n\t"))
		}
		stop()
		log = nil
		upshifttest.Dial(t, srv, "/", upshifttest.Options{}).Close()
		synctest.Wait()
		if len(log) > 0 {
			t.Errorf("hooks that were stopped were told %q", log)
		}
	})
}

// A hook that panics costs nobody anything.
func TestHookPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		srv.Observe(core.Hooks{Connected: func(*core.Socket) { panic("hook") }})
		told := 0
		srv.Observe(core.Hooks{Connected: func(*core.Socket) { told++ }})
		upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		synctest.Wait()
		if told != 1 {
			t.Errorf("the other hook was called %d times", told)
		}
	})
}

// Sessions count what they carry, and so does the server for all of them.
func TestTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		core.On(srv.Of("/"), "x", func(context.Context, *core.Socket, string) (core.None, error) { return core.None{}, nil })
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		synctest.Wait()
		before := srv.Stats().Traffic
		emit(t, c, "x", "12345")         // 2["x","12345"]
		emit(t, srv.Of("/"), "yy", true) // 2["yy",true]
		synctest.Wait()
		now := srv.Stats().Traffic
		if in, out := now.BytesIn-before.BytesIn, now.BytesOut-before.BytesOut; in != 14 || out != 12 {
			t.Errorf("%d bytes in and %d out, want 14 and 12", in, out)
		}
		if in, out := now.PacketsIn-before.PacketsIn, now.PacketsOut-before.PacketsOut; in != 1 || out != 1 {
			t.Errorf("%d packets in and %d out, want one each", in, out)
		}
		for s := range srv.AllSessions() {
			if s.Traffic() != now {
				t.Errorf("the one session says %+v, the server %+v", s.Traffic(), now)
			}
			if packets, bytes := s.Waiting(); packets != 0 || bytes != 0 {
				t.Errorf("%d packets wait, of %d bytes", packets, bytes)
			}
		}
	})
}

type contextKey struct{}

// What AllowRequest finds out reaches the handlers.
func TestHandshakeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{AllowRequest: func(ctx context.Context, h *core.Handshake) error {
			ended, end := context.WithCancel(context.WithValue(ctx, contextKey{}, "ann"))
			end()
			h.Context = ended
			return nil
		}})
		core.On(srv.Of("/"), "who", func(ctx context.Context, _ *core.Socket, _ core.None) (string, error) {
			name, _ := ctx.Value(contextKey{}).(string)
			return name, ctx.Err()
		})
		var who string
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := c.Call(t.Context(), "who", nil, &who); err != nil || who != "ann" {
			t.Errorf("the handler found %q, %v", who, err)
		}
	})
}

var errBanned = errors.New("banned")

// The cause of a disconnection is told to those who want to know.
func TestDisconnectCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		ns := srv.Of("/")
		var cause error
		ns.OnDisconnect(func(_ context.Context, s *core.Socket, c error) { cause = errors.Join(c, context.Cause(s.Context())) })
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		ns.Sockets()[0].DisconnectCause(errBanned)
		if reason := c.WaitDisconnect(); reason != "io server disconnect" {
			t.Errorf("the client was told %q", reason)
		}
		synctest.Wait()
		if !errors.Is(cause, errBanned) || core.ReasonOf(cause) != core.ServerDisconnect {
			t.Errorf("OnDisconnect was told %v", cause)
		}
	})
}

// Each client's part of a CallAll is told, answered or not.
func TestHookCalledForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		told := make(map[string]string)
		srv.Observe(core.Hooks{Called: func(s *core.Socket, event string, took time.Duration, err error) {
			told[s.ID()] = fmt.Sprint(event, " ", took, " ", err)
		}})
		fast := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		fast.Handle("ask", func(e *upshifttest.Event) {
			<-time.After(time.Second)
			if err := e.Reply("yes"); err != nil {
				t.Error(err)
			}
		})
		silent := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		silent.Handle("ask", func(*upshifttest.Event) {})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		answered, silence := 0, 0
		for _, err := range srv.Of("/").To().CallAll(ctx, "ask", nil) {
			if err != nil {
				silence++
			} else {
				answered++
			}
		}
		want := map[string]string{fast.ID(): "ask 1s <nil>", silent.ID(): "ask 3s context deadline exceeded"}
		if answered != 1 || silence != 1 || !maps.Equal(told, want) {
			t.Errorf("%d answers and %d without, told %v, want %v", answered, silence, told, want)
		}
	})
}
