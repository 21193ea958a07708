package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// Everything may be called by everybody at once.
func TestConcurrentUse(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			srv, url := serve(t, core.Options{Recovery: &core.Recovery{}, PingTimeout: time.Second})
			countOn(srv)
			for _, namespace := range []string{"/a", "/b"} {
				core.On(srv.Of(namespace), "count", func(_ context.Context, s *core.Socket, n int) (int, error) {
					_ = s.Emit(context.Background(), "posted", message{})
					return n, nil
				})
			}
			o := way
			o.Reconnection = client.Reconnection{Delay: time.Microsecond, MaxDelay: time.Millisecond}
			m, err := client.NewManager(url, o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			work := []func(s *client.Socket){
				func(s *client.Socket) { _ = s.Emit(ctx, "count", 1) },
				func(s *client.Socket) { _ = s.Volatile().Emit(ctx, "count", 1) },
				func(s *client.Socket) {
					short, cancel := context.WithTimeout(ctx, time.Millisecond)
					defer cancel()
					_ = s.Call(short, "count", []any{1}, new(int))
				},
				func(s *client.Socket) {
					short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
					defer cancel()
					_ = s.Connect(short)
				},
				func(s *client.Socket) { s.Disconnect() },
				func(s *client.Socket) {
					stop := posted.On(s, func(context.Context, message) (event.None, error) { return event.None{}, nil })
					_, _, _, _ = s.ID(), s.State(), s.Recovered(), s.Transport()
					stop()
				},
				func(s *client.Socket) {
					short, cancel := context.WithTimeout(ctx, time.Millisecond)
					defer cancel()
					for range posted.All(short, s) { //nolint:errcheck // it ends with its context
						break
					}
				},
				func(*client.Socket) {
					for s := range srv.AllSessions() {
						s.Close(&client.CloseError{Reason: client.TransportError})
					}
				},
			}
			var running sync.WaitGroup
			for _, namespace := range []string{"/", "/a", "/b"} {
				s, err := m.Socket(namespace, client.SocketOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for range 4 {
					running.Go(func() {
						for range 200 {
							work[rand.IntN(len(work))](s)
						}
					})
				}
			}
			running.Wait()
			// It still works.
			after, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for _, namespace := range []string{"/", "/a", "/b"} {
				s, err := m.Socket(namespace, client.SocketOptions{})
				if err != nil {
					t.Fatal(err)
				}
				connect(t, s)
				for {
					err := s.Call(after, "count", []any{1}, new(int))
					if err == nil {
						break
					}
					if !errors.Is(err, client.ErrDisconnected) {
						t.Fatal(err)
					}
				}
			}
			_ = m.Close()
			if _, err := m.Socket("/", client.SocketOptions{}); !errors.Is(err, client.ErrClosed) {
				t.Errorf("Socket: %v", err)
			}
		})
	}
}
