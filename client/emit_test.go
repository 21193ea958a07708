package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A ledger has what a server was told, by "count" events.
type ledger struct {
	mu   sync.Mutex
	seen []int
}

func countOn(srv *core.Server) *ledger {
	l := &ledger{}
	core.On(srv.Of("/"), "count", func(_ context.Context, _ *core.Socket, n int) (int, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen = append(l.seen, n)
		return n, nil
	})
	return l
}

func (l *ledger) take() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = nil
	return seen
}

func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

func TestEmitsWaitForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		c := newClient(t, memory, o)
		var mu sync.Mutex
		var told []string
		c.OnAnyOutgoing(func(_ context.Context, event string, args []any) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(event, args))
		})
		emit := func(n int) {
			if err := c.Emit(t.Context(), "count", n); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 10 { // before there ever was a connection
			emit(n)
		}
		connect(t, c)
		for n := range 10 {
			emit(10 + n)
		}
		synctest.Wait()
		net.cut()
		synctest.Wait()
		if got := seen.take(); !slices.Equal(got, upTo(20)) {
			t.Errorf("seen %v", got)
		}
		answers := make(chan int)
		for n := range 10 {
			emit(n)
		}
		go func() {
			var n int
			_ = c.Call(t.Context(), "count", []any{10}, &n)
			answers <- n
		}()
		synctest.Wait()
		net.mend()
		if n := <-answers; n != 10 {
			t.Errorf("answered %d", n)
		}
		if got := seen.take(); !slices.Equal(got, upTo(11)) {
			t.Errorf("seen %v", got)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 31 || told[10] != "count[10]" || told[0] != "count[0]" {
			t.Errorf("told %v", told)
		}
	})
}

func TestBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		o.MaxBufferedBytes = 10_000
		c := newClient(t, memory, o)
		n := 0
		var err error
		for ; err == nil; n++ {
			err = c.Emit(t.Context(), "count", n)
		}
		if !errors.Is(err, client.ErrBufferFull) || n < 100 || n > 140 {
			t.Errorf("after %d: %v", n, err)
		}
		if err := c.Call(t.Context(), "count", []any{0}); !errors.Is(err, client.ErrBufferFull) {
			t.Errorf("Call: %v", err)
		}
		connect(t, c)
		synctest.Wait()
		if got := seen.take(); !slices.Equal(got, upTo(n-1)) {
			t.Errorf("seen %v", got)
		}
		if err := c.Emit(t.Context(), "count", 0); err != nil {
			t.Errorf("Emit: %v", err)
		}
	})
}

// A server that does not read makes the client say so, not grow.
func TestOutboxIsBounded(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _, o := inMemory(t, core.Options{MaxQueuedBytes: 1000})
				hold := make(chan struct{})
				core.On(srv.Of("/"), "hold", func(context.Context, *core.Socket, string) (core.None, error) {
					<-hold
					return core.None{}, nil
				})
				o.Transports = way.Transports
				o.MaxBufferedBytes = 100_000
				c := newClient(t, memory, o)
				connect(t, c)
				var err error
				n := 0
				for ; err == nil && n < 1000; n++ {
					err = c.Emit(t.Context(), "hold", strings.Repeat("x", 1000))
					synctest.Wait()
				}
				if !errors.Is(err, client.ErrBufferFull) {
					t.Errorf("after %d: %v", n, err)
				}
				close(hold)
				synctest.Wait()
				if err := c.Emit(t.Context(), "hold", ""); err != nil {
					t.Errorf("Emit: %v", err)
				}
			})
		})
	}
}

func TestNothingIsBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		o.MaxBufferedBytes = -1
		c := newClient(t, memory, o)
		if err := c.Emit(t.Context(), "count", 1); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Emit: %v", err)
		}
		connect(t, c)
		if err := c.Emit(t.Context(), "count", 2); err != nil {
			t.Errorf("Emit: %v", err)
		}
		synctest.Wait()
		net.cut()
		synctest.Wait()
		if err := c.Emit(t.Context(), "count", 3); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Emit: %v", err)
		}
		if got := seen.take(); !slices.Equal(got, []int{2}) {
			t.Errorf("seen %v", got)
		}
	})
}

func TestVolatileIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		c := newClient(t, memory, o)
		emit := func(n int) {
			if err := c.Volatile().Emit(t.Context(), "count", n); err != nil {
				t.Errorf("Emit: %v", err)
			}
		}
		emit(1)
		connect(t, c)
		synctest.Wait()
		emit(2)
		synctest.Wait()
		emit(3)
		synctest.Wait()
		net.cut()
		synctest.Wait()
		emit(4)
		net.mend()
		<-time.After(time.Minute)
		if got := seen.take(); !c.Connected() || !slices.Equal(got, []int{2, 3}) {
			t.Errorf("seen %v", got)
		}
	})
}

// A writerFunc is an io.Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A log that goes out by the socket it is about.
func TestLogOfTheSocketItself(t *testing.T) {
	for name, socket := range map[string]client.SocketOptions{
		"too large": {},
		"given up":  {Retries: 1, AckTimeout: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, net, o := inMemory(t, core.Options{MaxPayload: 1000})
				logged := make(chan string, 10)
				core.On(srv.Of("/"), "log", func(_ context.Context, _ *core.Socket, line string) (core.None, error) {
					logged <- line
					return core.None{}, nil
				})
				core.On(srv.Of("/"), "unanswered", func(ctx context.Context, _ *core.Socket, _ core.None) (core.None, error) {
					<-ctx.Done()
					return core.None{}, ctx.Err()
				})
				var c *client.Socket
				o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
					return len(p), c.Emit(context.Background(), "log", string(p))
				}), nil))
				o.Socket = socket
				c = newClient(t, memory, o)
				if socket.Retries == 0 {
					if err := c.Emit(t.Context(), "big", strings.Repeat("x", 1000)); err != nil {
						t.Error(err)
					}
				} else if err := c.Emit(t.Context(), "unanswered"); err != nil {
					t.Error(err)
				}
				for range socket.Retries + 1 {
					connect(t, c)
					synctest.Wait()
					net.cut()
					synctest.Wait()
					net.mend()
				}
				connect(t, c)
				if line := <-logged; !strings.Contains(line, "event given up") {
					t.Errorf("logged %q", line)
				}
			})
		})
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _, o := inMemory(t, core.Options{MaxPayload: 1000})
		countOn(srv)
		c := newClient(t, memory, o)
		connect(t, c)
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errDown)
		for name, test := range map[string]struct {
			ctx   context.Context
			event string
			arg   any
			want  error
		}{
			"reserved name": {t.Context(), "connect", 1, codec.ErrReservedEvent},
			"too large":     {t.Context(), "count", strings.Repeat("x", 1000), client.ErrTooLarge},
			"no such value": {t.Context(), "count", math.Inf(1), nil},
			"ended context": {ended, "count", 1, errDown},
		} {
			for way, err := range map[string]error{
				"Emit":     c.Emit(test.ctx, test.event, test.arg),
				"Call":     c.Call(test.ctx, test.event, []any{test.arg}),
				"volatile": c.Volatile().Emit(test.ctx, test.event, test.arg),
			} {
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("%s, %s: %v", name, way, err)
				}
			}
		}
		if !c.Connected() {
			t.Error("the connection was lost")
		}
		if err := c.Call(t.Context(), "count", []any{1}); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		if err := c.Emit(t.Context(), "count", 1); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Emit: %v", err)
		}
		if err := c.Connect(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Connect: %v", err)
		}
	})
}

func TestCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		seen := countOn(srv)
		core.On(srv.Of("/"), "never", func(ctx context.Context, _ *core.Socket, _ int) (int, error) {
			<-ctx.Done()
			return 0, nil
		})
		o.Socket.AckTimeout = 20 * time.Second
		c := newClient(t, memory, o)

		// One that still waits when its context ends is not sent.
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Call(short, "count", []any{1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
		connect(t, c)
		synctest.Wait()
		if got := seen.take(); len(got) > 0 {
			t.Errorf("seen %v", got)
		}
		start := time.Now()
		if err := c.Call(t.Context(), "never", []any{1}); !errors.Is(err, client.ErrAckTimeout) || time.Since(start) != 20*time.Second {
			t.Errorf("Call: %v after %s", err, time.Since(start))
		}
		go func() {
			<-time.After(time.Second)
			net.cut()
		}()
		err := c.Call(t.Context(), "never", []any{1})
		if e, ok := errors.AsType[*client.CloseError](err); !errors.Is(err, client.ErrDisconnected) || !ok || e.Reason == "" {
			t.Errorf("Call: %v", err)
		}
		go func() {
			<-time.After(time.Second)
			_ = c.Close()
		}()
		if err := c.Call(t.Context(), "count", []any{1}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Call: %v", err)
		}
	})
}
