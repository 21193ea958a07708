package emitter_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/emitter"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes an emitter and a server of one cluster.
func start(t *testing.T) (*emitter.Emitter, *adaptertest.BusEngine, *core.Server) {
	t.Helper()
	bus := new(adaptertest.Bus)
	srv := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
	engine := bus.Engine()
	e, err := emitter.New(engine, emitter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e, engine, srv
}

var posted = core.NewEvent[string, core.None]("posted")

func TestEmitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, srv := start(t)
		ctx := t.Context()
		var heard []string
		srv.Of("/chat").OnServerSide("hello", func(_ context.Context, args core.Args) (any, error) {
			var name string
			err := args.Bind(&name)
			heard = append(heard, name)
			return nil, err
		})
		a := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		b := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		main := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		chat := e.Of("chat")
		for _, err := range []error{
			chat.To(a.ID()).Join(ctx, "room"), chat.To("room").Join(ctx, "other"), chat.To("room").Leave(ctx, "room"),
			chat.To("other").Emit(ctx, "in other"), chat.Except("other").Volatile().Compress(false).Emit(ctx, "not in other"),
			posted.Emit(ctx, chat, "typed"), e.Emit(ctx, "main"), e.To(main.ID()).Emit(ctx, "by id"),
			chat.ServerSideEmit(ctx, "hello", "you"),
			chat.In(a.ID()).Disconnect(ctx), chat.To(b.ID()).CloseSessions(ctx),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		a.Expect("in other")
		a.Expect("posted", "typed")
		b.Expect("not in other")
		b.Expect("posted", "typed")
		main.Expect("main")
		main.Expect("by id")
		if reason := a.WaitDisconnect(); reason != "io server disconnect" {
			t.Error(reason)
		}
		if reason := b.WaitDisconnect(); reason != "io server disconnect" {
			t.Error(reason)
		}
		synctest.Wait()
		if len(heard) != 1 || heard[0] != "you" {
			t.Errorf("heard %q", heard)
		}
	})
}

// What many goroutines send arrives, and each knows that it has.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const senders, each = 50, 20
		e, _, srv := start(t)
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for n := range each {
					if err := e.Emit(t.Context(), fmt.Sprint("from ", i), n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		next := make(map[string]int)
		for range senders * each {
			event := c.Next()
			var n int
			if err := event.Args.Bind(&n); err != nil || n != next[event.Name] {
				t.Fatalf("%s: %d instead of %d, %v", event.Name, n, next[event.Name], err)
			}
			next[event.Name]++
		}
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, engine, srv := start(t)
		ctx := t.Context()
		if err := e.Emit(ctx, "connect"); !errors.Is(err, codec.ErrReservedEvent) {
			t.Error(err)
		}
		if err := e.Of("/").ServerSideEmit(ctx, "connection"); !errors.Is(err, codec.ErrReservedEvent) {
			t.Error(err)
		}
		if err := e.Emit(ctx, "bad", func() {}); err == nil {
			t.Error("a function was sent")
		}
		engine.Cut(true)
		if err := e.Emit(ctx, "lost"); err == nil {
			t.Error("the broker is away, and there is no error")
		}
		engine.Cut(false)
		engine.Hold(true)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		started := time.Now()
		other := make(chan error)
		go func() { other <- e.Emit(short, "waits for the first") }()
		if err := e.Emit(ctx, "held"); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 10*time.Second {
			t.Error(err, time.Since(started))
		}
		if err := <-other; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		engine.Hold(false)
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := e.Emit(ctx, "back"); err != nil {
			t.Error(err)
		}
		c.Expect("back")
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := e.Emit(ctx, "late"); !errors.Is(err, emitter.ErrClosed) {
			t.Error(err)
		}
	})
	if _, err := emitter.New(new(adaptertest.Bus).Engine(), emitter.Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout")
	}
}

func ExampleEmitter() {
	bus := new(adaptertest.Bus) // in production that of adapters/redis or another
	e, err := emitter.New(bus.Engine(), emitter.Options{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	fmt.Println(e.Of("/orders").To("customer 7").Emit(ctx, "shipped", map[string]any{"order": 12}))
	fmt.Println(e.Close(ctx))
	// Output:
	// <nil>
	// <nil>
}
