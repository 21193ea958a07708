package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

// Events that are sent again, and those that are missed and come back.

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		var mu sync.Mutex
		var tries []int
		deaf := 0 // times that are not answered
		core.On(srv.Of("/"), "try", func(ctx context.Context, _ *core.Socket, n int) (int, error) {
			mu.Lock()
			tries = append(tries, n)
			hear := deaf == 0
			deaf = max(deaf-1, 0)
			mu.Unlock()
			if !hear {
				<-ctx.Done()
			}
			return n, nil
		})
		seen := func() []int {
			mu.Lock()
			defer mu.Unlock()
			got := tries
			tries = nil
			return got
		}
		o.Socket = client.SocketOptions{Retries: 2, AckTimeout: 5 * time.Second}
		c := newClient(t, memory, o)
		for n := range 3 {
			if err := c.Emit(t.Context(), "try", n); err != nil {
				t.Fatal(err)
			}
		}
		connect(t, c)
		synctest.Wait()
		if got := seen(); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("tried %v", got)
		}

		// A lost connection counts as a try; a server's socket whose handler
		// hangs is rid of with it.
		mu.Lock()
		deaf = 1
		mu.Unlock()
		answered := make(chan error, 2)
		go func() { answered <- c.Call(t.Context(), "try", []any{7}) }()
		synctest.Wait()
		go func() { answered <- c.Call(t.Context(), "try", []any{8}) }()
		synctest.Wait()
		net.cut()
		synctest.Wait()
		net.mend()
		for range 2 {
			if err := <-answered; err != nil {
				t.Errorf("Call: %v", err)
			}
		}
		if got := seen(); !slices.Equal(got, []int{7, 7, 8}) {
			t.Errorf("tried %v", got)
		}

		// Given up after all tries; the next one has its turn.
		mu.Lock()
		deaf = 1 // the handler is blocked for good, and the others queue behind it
		mu.Unlock()
		start := time.Now()
		if err := c.Call(t.Context(), "try", []any{9}); !errors.Is(err, client.ErrAckTimeout) || time.Since(start) != 15*time.Second {
			t.Errorf("Call: %v after %s", err, time.Since(start))
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Call(short, "try", []any{10}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
		go func() { answered <- c.Call(t.Context(), "try", []any{11}) }()
		synctest.Wait()
		net.cut()
		synctest.Wait()
		net.mend()
		if err := <-answered; err != nil {
			t.Errorf("Call: %v", err)
		}
	})
}

// What is emitted when the socket is told that it is connected is sent once.
func TestRetriesAreSentOnceWhenConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{})
		var mu sync.Mutex
		tries := make(map[int]int)
		core.On(srv.Of("/"), "try", func(_ context.Context, _ *core.Socket, n int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			tries[n]++
			return n, nil
		})
		o.Socket = client.SocketOptions{Retries: 2, AckTimeout: time.Second}
		c := newClient(t, memory, o)
		n := 0
		c.OnConnect(func(ctx context.Context) {
			n++
			if err := c.Emit(ctx, "try", n); err != nil {
				t.Error(err)
			}
		})
		const times = 100
		for range times {
			connect(t, c)
			synctest.Wait()
			net.cut()
			synctest.Wait()
			net.mend()
		}
		for n, tried := range tries {
			if tried != 1 {
				t.Errorf("%d was sent %d times", n, tried)
			}
		}
	})
}

func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, net, o := inMemory(t, core.Options{Recovery: &core.Recovery{}})
		core.On(srv.Of("/"), "join", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
			return core.None{}, s.Join(ctx, room)
		})
		o.Socket.Auth = map[string]any{"name": "joe"}
		c := newClient(t, memory, o)
		var mu sync.Mutex
		var log []string
		client.On(c, "news", func(_ context.Context, n int) (core.None, error) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, strconv.Itoa(n))
			return core.None{}, nil
		})
		c.OnConnect(func(context.Context) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, "connected")
		})
		connect(t, c)
		id := c.ID()
		if err := c.Call(t.Context(), "join", []any{"room"}); err != nil {
			t.Fatal(err)
		}
		news := func(n int) {
			if err := srv.Of("/").To("room").Emit(t.Context(), "news", n); err != nil {
				t.Fatal(err)
			}
		}
		news(1)
		synctest.Wait()
		net.cut()
		synctest.Wait()
		news(2)
		news(3)
		net.mend()
		<-time.After(5 * time.Second)
		news(4)
		synctest.Wait()
		if got := fmt.Sprint(log); got != "[connected 1 2 3 connected 4]" {
			t.Errorf("log %s", got)
		}
		if !c.Recovered() || c.ID() != id {
			t.Errorf("recovered %v, id %q, was %q", c.Recovered(), c.ID(), id)
		}
		if s := srv.Of("/").Socket(id); s == nil {
			t.Error("no such socket")
		} else {
			var auth struct{ Name string }
			if err := s.Auth(&auth); err != nil || auth.Name != "joe" {
				t.Errorf("auth %+v, %v", auth, err)
			}
		}
	})
}
