package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// With a spread, sessions take turns at an even pace, and work until it is
// theirs.
func TestShutdownPace(t *testing.T) {
	down := &transports.CloseError{Reason: "server shutting down"}
	for name, clients := range map[string]int{"few": 10, "many": 5000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const spread = 10 * time.Second
				g := newGated(t, Options{ShutdownSpread: spread})
				for range clients {
					conn := &fakeConn{streaming: true}
					sink, err := g.Open(g.transport, transports.Handshake{}, conn)
					if err != nil {
						t.Fatal(err)
					}
					sink.Ready()
				}
				done := make(chan error)
				began := time.Now()
				go func() { done <- g.Shutdown(t.Context(), down) }()
				synctest.Wait()
				g.want(ErrShutdown, "10.0.0.1:1")
				for second := range 10 {
					<-time.After(time.Second - time.Millisecond)
					synctest.Wait()
					left := 0
					for _, s := range g.sessions {
						if s.Send(text("x")) == nil {
							left++
						}
					}
					want := clients * (9 - second) / 10
					if diff := left - want; diff < -clients/100 || diff > clients/100 {
						t.Errorf("after %d s %d sessions are left, want %d", second+1, left, want)
					}
					<-time.After(time.Millisecond)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > spread {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
	t.Run("ends early when all have gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGated(t, Options{ShutdownSpread: time.Hour})
			g.want(nil, "", "", "")
			began := time.Now()
			done := make(chan error)
			go func() { done <- g.Shutdown(t.Context(), down) }()
			<-time.After(time.Second)
			g.endAll()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("it took %s", took)
			}
		})
	})
	t.Run("ends early with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGated(t, Options{ShutdownSpread: time.Hour})
			g.want(nil, "", "", "")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := g.Shutdown(ctx, down); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if g.Len() != 0 {
				t.Errorf("%d sessions are left", g.Len())
			}
		})
	})
}
