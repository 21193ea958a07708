package concurrency_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/concurrency"
	"github.com/upshift-go/upshift/upshifttest"
)

// work is a namespace whose event takes a second, and who asks for it at once.
type work struct {
	t       *testing.T
	clients []*upshifttest.Client
	running atomic.Int32
	most    atomic.Int32
}

func newWork(t *testing.T, clients int, o concurrency.Options) *work {
	t.Helper()
	w := &work{t: t}
	srv := upshifttest.NewServer(t, core.Options{})
	core.On(srv.Of("/").Group(concurrency.New(o)), "work", func(ctx context.Context, _ *core.Socket, _ string) (bool, error) {
		now := w.running.Add(1)
		defer w.running.Add(-1)
		w.sawAtOnce(now)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return true, nil
	})
	for range clients {
		w.clients = append(w.clients, upshifttest.Dial(t, srv, "/", upshifttest.Options{}))
	}
	return w
}

func (w *work) sawAtOnce(now int32) {
	for {
		most := w.most.Load()
		if now <= most || w.most.CompareAndSwap(most, now) {
			return
		}
	}
}

// ask lets every client ask, and returns how many were done and how many refused.
func (w *work) ask(arg func(i int) string) (done, busy int) {
	errs := make(chan error)
	for i, c := range w.clients {
		go func() { errs <- c.Call(w.t.Context(), "work", []any{arg(i)}) }()
	}
	for range w.clients {
		err := <-errs
		told, _ := errors.AsType[*core.Error](err)
		switch {
		case err == nil:
			done++
		case told != nil && told.Code == concurrency.Code:
			busy++
		default:
			w.t.Error(err)
		}
	}
	return done, busy
}

func TestLimit(t *testing.T) {
	same := func(int) string { return "" }
	for name, tt := range map[string]struct {
		options    concurrency.Options
		arg        func(i int) string
		done, most int
	}{
		"enough":         {concurrency.Options{Limit: 10}, same, 10, 10},
		"all wait":       {concurrency.Options{Limit: 3, Wait: time.Minute}, same, 10, 3},
		"some wait":      {concurrency.Options{Limit: 3, Wait: 1500 * time.Millisecond}, same, 6, 3},
		"nobody waits":   {concurrency.Options{Limit: 3, Wait: -1}, same, 3, 3},
		"few may wait":   {concurrency.Options{Limit: 3, Wait: time.Minute, MaxWaiting: 2}, same, 5, 3},
		"each has a key": {concurrency.Options{Limit: 1, Wait: -1, Key: firstArgument}, func(i int) string { return strconv.Itoa(i % 5) }, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWork(t, 10, tt.options)
				for range 2 { // the places are free again
					w.most.Store(0)
					if done, busy := w.ask(tt.arg); done != tt.done || busy != 10-tt.done || int(w.most.Load()) != tt.most {
						t.Errorf("%d done, %d told that it is busy, %d at once; want %d done, %d at once", done, busy, w.most.Load(), tt.done, tt.most)
					}
				}
			})
		})
	}
}

func firstArgument(r *core.Request) string {
	var key string
	_ = r.Bind(&key)
	return key
}

// A client that leaves while it waits gives up its place in the queue, and the one
// that runs its place.
func TestClientsLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWork(t, 3, concurrency.Options{Limit: 1, Wait: time.Minute, MaxWaiting: 1})
		for _, c := range w.clients[:2] {
			if err := c.Emit(t.Context(), "work", ""); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.clients[1].Close()
		w.clients[0].Close()
		synctest.Wait()
		if err := w.clients[2].Call(t.Context(), "work", []any{""}); err != nil {
			t.Errorf("after the others have left: %v", err)
		}
	})
}
