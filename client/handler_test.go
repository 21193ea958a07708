package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// A log is written by several goroutines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func TestHandlersFailAndGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		text := &log{}
		o.Logger = slog.New(slog.NewTextHandler(text, nil))
		c := newClient(t, memory, o)
		client.On(c, "do", func(_ context.Context, how string) (string, error) {
			switch how {
			case "panic":
				panic("at the disco")
			case "exit":
				runtime.Goexit()
			case "fail":
				return "", errors.New("secret")
			case "say":
				return "", client.Errorf("no", "not %s", "today")
			}
			return "done " + how, nil
		})
		c.Watch("do", func(args event.Arguments, err error) {
			var how string
			if err != nil {
				panic("at the end")
			}
			if args.Bind(&how) == nil && how == "watch" {
				panic("at the window")
			}
		})
		connect(t, c)
		synctest.Wait()
		s := srv.Of("/").Socket(c.ID())
		ask := func(arg any) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var answer codec.Raw
			if err := s.Call(ctx, "do", []any{arg}, &answer); err != nil {
				return err.Error()
			}
			return string(answer.Bytes())
		}
		for _, test := range []struct {
			arg  any
			want string
		}{
			{"well", `"done well"`},
			{"panic", `{"error":{"code":"internal","message":"internal error"}}`},
			{"exit", "context deadline exceeded"},
			{"fail", `{"error":{"code":"internal","message":"internal error"}}`},
			{"say", `{"error":{"code":"no","message":"not today"}}`},
			{"watch", `"done watch"`},
			{17, `{"error":{"code":"bad_payload","message":"payload does not fit"}}`},
			{"again", `"done again"`},
		} {
			if got := ask(test.arg); got != test.want {
				t.Errorf("%v: %s, want %s", test.arg, got, test.want)
			}
		}
		c.Disconnect()
		synctest.Wait()
		for _, want := range []string{"at the disco", "secret", "at the window", "at the end"} {
			if !text.has(want) {
				t.Errorf("%q is not in the log", want)
			}
		}
	})
}

// Events are handled in order, one at a time, whatever the handlers do
// meanwhile.
func TestHandlersRunInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		countOn(srv)
		c := newClient(t, memory, o)
		var log []string // the worker's
		for _, name := range []string{"a", "b"} {
			client.On(c, name, func(ctx context.Context, n int) (event.None, error) {
				var answer int
				err := c.Call(ctx, "count", []any{n}, &answer)
				log = append(log, fmt.Sprint(name, answer))
				return event.None{}, err
			})
		}
		c.OnAny(func(_ context.Context, name string, _ codec.Args) { log = append(log, name) })
		stop := client.On(c, "b", func(context.Context, int) (event.None, error) {
			log = append(log, "second")
			return event.None{}, nil
		})
		connect(t, c)
		synctest.Wait()
		s := srv.Of("/").Socket(c.ID())
		for n := range 3 {
			_ = s.Emit(t.Context(), "a", n)
			_ = s.Emit(t.Context(), "b", n)
		}
		_ = s.Emit(t.Context(), "unheard")
		synctest.Wait()
		want := "[a a0 b b0 second a a1 b b1 second a a2 b b2 second unheard]"
		if got := fmt.Sprint(log); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		log = nil
		stop()
		stop()
		_ = s.Emit(t.Context(), "b", 7)
		synctest.Wait()
		if got := fmt.Sprint(log); got != "[b b7]" {
			t.Error(got)
		}
	})
}

// A handler that blocks holds the server up, not heartbeats and answers, until
// the queue is full; and then it costs the connection, not memory.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		countOn(srv)
		o.MaxQueuedBytes = 10_000
		o.Transports = []string{client.WebSocket}
		c := newClient(t, memory, o)
		hold := make(chan struct{})
		handled := 0
		client.On(c, "slow", func(context.Context, string) (event.None, error) {
			<-hold
			handled++
			return event.None{}, nil
		})
		h := watch(c)
		connect(t, c)
		synctest.Wait()
		s := srv.Of("/").Socket(c.ID())
		for range 5 {
			_ = s.Emit(t.Context(), "slow", strings.Repeat("x", 1000))
		}
		<-time.After(5 * time.Minute)
		if err := c.Call(t.Context(), "count", []any{1}); err != nil {
			t.Errorf("Call: %v", err)
		}
		for range 95 {
			_ = s.Emit(t.Context(), "slow", strings.Repeat("x", 1000))
		}
		<-time.After(time.Minute)
		h.take()
		close(hold)
		synctest.Wait()
		changes := h.take() // it could not be told before
		if len(changes) == 0 || client.ReasonOf(changes[0].Err) != client.PingTimeout {
			t.Errorf("changes %+v", changes)
		}
		if handled < 8 || handled > 10 {
			t.Errorf("handled %d", handled)
		}
	})
}

func TestIterator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		c := newClient(t, memory, o)
		connect(t, c)
		synctest.Wait()
		feed := func(values ...any) {
			for _, v := range values {
				if err := srv.Of("/").Emit(t.Context(), "posted", v); err != nil {
					t.Error(err)
				}
			}
		}
		text := func(s string) message { return message{Text: s} }
		type result struct {
			text string
			err  error
		}
		var results []result
		done := make(chan struct{})
		go func() {
			defer close(done)
			for m, err := range posted.All(t.Context(), c) {
				results = append(results, result{m.Text, err})
			}
		}()
		synctest.Wait()
		feed(text("a"), 17, text("b"))
		synctest.Wait()
		net.cut() // it outlives the connection
		net.mend()
		<-time.After(10 * time.Second)
		for range 200 { // more than are kept
			feed(text("c"))
		}
		synctest.Wait()
		c.Disconnect()
		<-done
		if len(results) != 204 {
			t.Fatalf("%d results", len(results))
		}
		if results[0].text != "a" || results[2].text != "b" || results[202].text != "c" {
			t.Errorf("results %+v", results)
		}
		if e, ok := errors.AsType[*event.PayloadError](results[1].err); !ok || e.Event != "posted" {
			t.Errorf("error %v", results[1].err)
		}
		if err := results[203].err; client.ReasonOf(err) != client.ClientDisconnect {
			t.Errorf("error %v", err)
		}

		// With its context, and by break.
		connect(t, c)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errDown)
		defer cancel()
		for _, err := range posted.All(ctx, c) {
			if !errors.Is(err, errDown) {
				t.Errorf("error %v", err)
			}
		}
		go func() {
			<-time.After(time.Second)
			feed(text("a"), text("b"))
		}()
		for m, err := range posted.All(t.Context(), c) {
			if m.Text != "a" || err != nil {
				t.Errorf("%+v, %v", m, err)
			}
			break
		}
		synctest.Wait() // for the second, which nobody takes
		// By the server.
		go func() {
			<-time.After(time.Second)
			srv.Of("/").Socket(c.ID()).Disconnect()
		}()
		n := 0
		for _, err := range posted.All(t.Context(), c) {
			n++
			if client.ReasonOf(err) != client.ServerDisconnect {
				t.Errorf("error %v", err)
			}
		}
		_ = c.Close()
		for _, err := range posted.All(t.Context(), c) {
			n++
			if !errors.Is(err, client.ErrClosed) {
				t.Errorf("error %v", err)
			}
		}
		if n != 2 {
			t.Errorf("%d errors", n)
		}
	})
}

func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		srv.Of("/").OnConnect(func(context.Context, *core.Socket) error { return nil })
		allowed := false
		srv.Of("/").Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if !allowed {
					return core.Errorf("denied", "not you")
				}
				return next(ctx, r)
			}
		})
		_, err := client.Dial(t.Context(), memory, o)
		e, ok := errors.AsType[*client.ConnectError](err)
		if !ok || e.Message != "not you" || string(e.Data.Bytes()) != `{"code":"denied"}` || err.Error() != "client: /: not you" {
			t.Fatalf("Dial: %v", err)
		}
		c := newClient(t, memory, o)
		h := watch(c)
		if err := c.Connect(t.Context()); err == nil {
			t.Error("accepted")
		}
		<-time.After(time.Hour)
		changes := h.take()
		if got := states(changes); got != "con dis " || changes[1].Err == nil {
			t.Errorf("changes %+v", changes)
		}
		allowed = true
		connect(t, c)
	})
}

func TestAuthFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		o.Reconnection.Jitter = -1
		tries := 0
		o.Socket.AuthFunc = func(context.Context) (any, error) {
			tries++
			if tries%3 != 0 {
				return nil, errDown
			}
			return map[string]int{"try": tries}, nil
		}
		if _, err := client.Dial(t.Context(), memory, o); !errors.Is(err, errDown) || tries != 1 {
			t.Errorf("Dial: %v after %d", err, tries)
		}
		tries = 0
		c := newClient(t, memory, o)
		h := watch(c)
		start := time.Now()
		connect(t, c)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("connected after %s", took)
		}
		synctest.Wait()
		if got := states(h.take()); got != "con wai con wai con con " {
			t.Errorf("states %s", got)
		}
		for range 2 {
			var auth struct{ Try int }
			if err := srv.Of("/").Socket(c.ID()).Auth(&auth); err != nil || auth.Try != tries || tries%3 != 0 {
				t.Errorf("auth %+v, %v", auth, err)
			}
			net.cut()
			net.mend()
			<-time.After(10 * time.Second)
		}
	})
}

// A server that pings all the time and reads nothing costs little.
func TestPongsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		t.Cleanup(func() { _ = n.Close() })
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := n.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			request, err := http.ReadRequest(in)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write(switching(request))
			_, _ = conn.Write(frame(0x81, []byte(goodOpen)))
			_, _ = in.ReadByte()
			_, _ = conn.Write(frame(0x81, []byte(goodJoin)))
			for range 100_000 {
				_, _ = conn.Write([]byte{0x81, 1, '2'})
			}
			// What is left of the connect request, and few pongs.
			synctest.Wait()
			pongs, _ := io.Copy(io.Discard, io.LimitReader(in, 10_000))
			if pongs == 10_000 {
				t.Error("the pongs have piled up")
			}
		}()
		o := n.options(t)
		o.Transports = []string{client.WebSocket}
		c := newClient(t, memory, o)
		connect(t, c)
		<-time.After(time.Second)
		go func() { _ = c.Close() }()
		<-served
	})
}
