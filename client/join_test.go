package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// slowly serves "/", and "/slow", whose middleware takes a second and keeps the
// auth of who comes. The socket of "/" that is returned is connected, and must
// stay so.
func slowly(t *testing.T) (root *client.Socket, slow *core.Namespace, came func() []string) {
	t.Helper()
	srv, _, o := inMemory(t, core.Options{})
	slow = srv.Of("/slow")
	var mu sync.Mutex
	var auths []string
	slow.Use(func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if r.Connect() {
				var auth codec.Raw
				_ = r.Socket.Auth(&auth) // absent is fine
				mu.Lock()
				auths = append(auths, string(auth.Bytes()))
				mu.Unlock()
				<-time.After(time.Second)
			}
			return next(ctx, r)
		}
	})
	root = newClient(t, memory, o)
	connect(t, root)
	root.OnDisconnect(func(_ context.Context, cause error) {
		if client.ReasonOf(cause) != client.ClientDisconnect {
			t.Errorf("the connection was lost: %v", cause)
		}
	})
	return root, slow, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return auths
	}
}

func socketOf(t *testing.T, m *client.Manager, namespace string, o client.SocketOptions) *client.Socket {
	t.Helper()
	s, err := m.Socket(namespace, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hasty connects for less than the server needs.
func hasty(t *testing.T, s *client.Socket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
	defer cancel()
	if err := s.Connect(ctx); err == nil {
		t.Error("connected at once")
	}
}

// Who leaves before the server has answered the connect request is not left
// there, and can come back at once: the server closes the connection on a
// second request for the same namespace.
func TestLeavesWhileJoining(t *testing.T) {
	for name, leave := range map[string]func(*client.Socket){
		"disconnect": (*client.Socket).Disconnect,
		"close":      func(s *client.Socket) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, slow, _ := slowly(t)
				s := socketOf(t, root.Manager(), "/slow", client.SocketOptions{})
				hasty(t, s)
				leave(s)
				<-time.After(time.Minute)
				if n := len(slow.Sockets()); n != 0 {
					t.Errorf("%d sockets are left at the server", n)
				}
			})
		})
	}
}

func TestJoinsAgainWhileJoining(t *testing.T) {
	auth := map[string]int{"n": 1}
	for name, tt := range map[string]struct {
		first, second client.SocketOptions
		closes        bool   // and makes another socket
		want          string // what the server was asked with
	}{
		"same auth":      {first: client.SocketOptions{Auth: auth}, want: `[{"n":1}]`},
		"another socket": {first: client.SocketOptions{Auth: auth}, second: client.SocketOptions{Auth: map[string]int{"n": 2}}, closes: true, want: `[{"n":1} {"n":2}]`},
		"a function":     {first: client.SocketOptions{AuthFunc: counting()}, want: `[{"n":1} {"n":2}]`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, slow, came := slowly(t)
				s := socketOf(t, root.Manager(), "/slow", tt.first)
				hasty(t, s)
				if tt.closes {
					_ = s.Close()
					s = socketOf(t, root.Manager(), "/slow", tt.second)
				} else {
					s.Disconnect()
				}
				connect(t, s)
				<-time.After(time.Minute)
				if !s.Connected() || !root.Connected() {
					t.Error("not connected")
				}
				if there := slow.Sockets(); len(there) != 1 || there[0].ID() != s.ID() {
					t.Errorf("%d sockets at the server", len(there))
				}
				if got := fmt.Sprint(came()); got != tt.want {
					t.Errorf("asked with %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// counting makes an AuthFunc that counts how often it was asked.
func counting() func(context.Context) (any, error) {
	n := 0
	return func(context.Context) (any, error) {
		n++
		return map[string]int{"n": n}, nil
	}
}

// An AuthFunc that is still at it when its attempt is over is told, and what it
// makes is not sent.
func TestAuthFuncEndsWithItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, slow, came := slowly(t)
		first := true
		s := socketOf(t, root.Manager(), "/slow", client.SocketOptions{AuthFunc: func(ctx context.Context) (any, error) {
			if first {
				first = false
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
					t.Error("it was not told")
				}
				return map[string]int{"n": 1}, nil
			}
			return map[string]int{"n": 2}, nil
		}})
		hasty(t, s)
		s.Disconnect()
		connect(t, s)
		<-time.After(time.Minute)
		if got := fmt.Sprint(came()); got != `[{"n":2}]` || len(slow.Sockets()) != 1 {
			t.Errorf("asked with %s, %d sockets at the server", got, len(slow.Sockets()))
		}
	})
}

// A handler that is done after its socket has left the namespace and joined it
// again, over the same connection, answers nothing: its answer would be taken
// for that to another event.
func TestLateAnswerIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		again := srv.Of("/again")
		root := newClient(t, memory, o)
		connect(t, root)
		s := socketOf(t, root.Manager(), "/again", client.SocketOptions{})
		n := 0
		s.Listen("ask", func(context.Context, event.Arguments) ([]any, error) {
			n++
			if n == 1 {
				<-time.After(time.Minute)
				return []any{"late"}, nil
			}
			return []any{"in time"}, nil
		})
		ask := func() <-chan string {
			answers := make(chan string, 1)
			id := s.ID()
			go func() {
				var answer string
				_ = again.Socket(id).Call(t.Context(), "ask", nil, &answer) // the first fails
				answers <- answer
			}()
			synctest.Wait()
			return answers
		}
		connect(t, s)
		synctest.Wait()
		ask()
		s.Disconnect()
		synctest.Wait()
		connect(t, s)
		synctest.Wait()
		if answer := <-ask(); answer != "in time" {
			t.Errorf("answered %q", answer)
		}
	})
}

// What the server still sends to a visit that is over is not taken for the
// next, which is over the same connection.
func TestEventsOfTheLastVisitAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		say := make(chan string)
		n.host(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, _ = conn.Write(switching(r))
			_, _ = conn.Write(frame(0x81, []byte(goodOpen)))
			for text := range say {
				_, _ = conn.Write(frame(0x81, []byte(text)))
			}
		}))
		defer close(say)
		o := n.options(t)
		o.Transports = []string{client.WebSocket}
		root := newClient(t, memory, o)
		again := socketOf(t, root.Manager(), "/again", client.SocketOptions{})
		var got []string
		again.OnAny(func(_ context.Context, event string, _ codec.Args) { got = append(got, event) })
		join := func(s *client.Socket, answers ...string) {
			joined := make(chan error)
			go func() { joined <- s.Connect(t.Context()) }()
			synctest.Wait()
			for _, text := range answers {
				say <- text
			}
			if err := <-joined; err != nil {
				t.Error(err)
			}
			synctest.Wait() // what is not handled is dropped by Disconnect
		}
		join(root, `40{"sid":"a"}`)
		join(again, `42/again,["missed"]`, `40/again,{"sid":"b","pid":"p"}`)
		again.Disconnect()
		join(again, `42/again,["old"]`, `40/again,{"sid":"c","pid":"q"}`)
		say <- `42/again,["new"]`
		synctest.Wait()
		again.Disconnect()
		join(again, `42/again,["recovered"]`, `40/again,{"sid":"c","pid":"q"}`)
		if want := "[missed new recovered]"; fmt.Sprint(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
