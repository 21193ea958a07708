package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A client that loses its connection again on its way back can still come back:
// while it waits for a handler, while middleware decides, and at any other
// moment. If it is sent away it cannot.
func TestRecoveryInterrupted(t *testing.T) {
	for name, tt := range map[string]struct {
		middleware bool // that waits, not a handler
		away       bool // by middleware
	}{
		"while a handler runs":  {},
		"while middleware runs": {middleware: true},
		"by being sent away":    {middleware: true, away: true},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := recovering(t, core.Recovery{RunMiddleware: tt.middleware, Window: time.Minute})
			ns := r.Of("/")
			hold := make(chan struct{})
			away := tt.away
			core.On(ns, "slow", func(context.Context, *core.Socket, core.None) (core.None, error) {
				if !tt.middleware {
					<-hold
				}
				return core.None{}, nil
			})
			var back comeback
			c := r.dial()
			c.joinWith(&back)
			c.send(`2["slow"]`)
			synctest.Wait()
			ns.Use(func(next core.Handler) core.Handler {
				return func(ctx context.Context, r *core.Request) error {
					if away {
						away = false
						r.Socket.Disconnect()
					}
					<-hold
					return next(ctx, r)
				}
			})
			c.pipe.Cut()
			synctest.Wait()
			emit(t, ns, "missed", 1)
			<-time.After(40 * time.Second)

			lost := r.dial()
			lost.send(`0{"pid":"` + back.pid + `"}`)
			synctest.Wait()
			lost.pipe.Cut()
			synctest.Wait()
			<-time.After(time.Second)
			close(hold)
			synctest.Wait()
			emit(t, ns, "missed", 2)
			<-time.After(40 * time.Second) // the time begins anew with each loss
			old, want := back, []string{`2["missed",1]`, `2["missed",2]`}
			if tt.away {
				want = nil
			}
			wantEvents(t, "missed", r.dial().joinWith(&back), want...)
			if (back.sid != old.sid) != tt.away {
				t.Errorf("came back as %v, was %v", back, old)
			}
			<-time.After(5 * time.Minute)
			if n := r.Stats().RecoveryBytes; n != 0 {
				t.Errorf("%d bytes are kept when nobody can come back", n)
			}
		})
	}
}

// One state is restored once.
func TestRecoveryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		c.pipe.Cut()
		synctest.Wait()
		clients := make([]*client, 5)
		for i := range clients {
			clients[i] = r.dial()
			clients[i].send(`0{"pid":"` + back.pid + `"}`)
		}
		synctest.Wait()
		// Each takes it from the one before, which is closed for it; so at no
		// time are there two.
		if n := r.Of("/").Len(); n > len(clients) {
			t.Errorf("%d sockets", n)
		}
		same := 0
		for _, s := range r.Of("/").Sockets() {
			if s.ID() == back.sid {
				same++
			}
		}
		if same != 1 {
			t.Errorf("%d sockets have the id", same)
		}
	})
}

// The client is back before the server has noticed that it was away: the old
// connection is closed first, and what came over it is handled first.
func TestRecoveryBeforeTheLossIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		var log []string
		hold := make(chan struct{})
		core.On(ns, "slow", func(context.Context, *core.Socket, string) (core.None, error) {
			<-hold
			log = append(log, "handled")
			return core.None{}, nil
		})
		ns.OnConnect(func(_ context.Context, s *core.Socket) error {
			log = append(log, fmt.Sprint("connect ", s.Recovered()))
			return nil
		})
		ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) {
			log = append(log, "disconnect "+cause.Error())
		})
		var back comeback
		dead := r.dial()
		dead.joinWith(&back)
		dead.pipe.Stall(true) // a dead network
		dead.send(`2["slow","x"]`)
		synctest.Wait()
		emit(t, ns, "lost on the way")
		c := r.dial()
		c.send(`0{"pid":"` + back.pid + `"}`)
		synctest.Wait()
		emit(t, ns, "meanwhile")
		close(hold)
		wantEvents(t, "missed", c.events(&back, 2), `2["lost on the way"]`, `2["meanwhile"]`)
		c.expect(`0{"sid":"` + back.sid + `","pid":"` + back.pid + `"}`)
		synctest.Wait()
		want := "[connect false handled disconnect transport close: the client has come back on another connection connect true]"
		if got := fmt.Sprint(log); got != want {
			t.Errorf("log %s, want %s", got, want)
		}
	})
}

// Who comes back while handlers of the lost connection still run waits for
// them, but not for ever.
func TestRecoveryBehindAStuckHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{Recovery: &core.Recovery{}, ConnectTimeout: time.Second})
		hold := make(chan struct{})
		core.On(r.Of("/"), "stuck", func(context.Context, *core.Socket, core.None) (core.None, error) {
			<-hold
			return core.None{}, nil
		})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		c.send(`2["stuck"]`)
		synctest.Wait()
		c.pipe.Cut()
		synctest.Wait()
		c = r.dial()
		old := back
		wantEvents(t, "missed", c.joinWith(&back))
		if back.sid == old.sid {
			t.Error("two sockets handle events of one client")
		}
		close(hold)
	})
}

// With recovery, what is emitted while a socket leaves is not lost: either
// Emit says so or it comes later.
func TestRecoveryKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		const emitters, events = 4, 200
		done := make(chan error, emitters)
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		s := ns.Socket(back.sid)
		for e := range emitters {
			go func() {
				var err error
				for n := range events {
					if e%2 == 0 {
						err = errors.Join(err, ns.Emit(t.Context(), "e", e, n))
					} else {
						err = errors.Join(err, s.Emit(t.Context(), "e", e, n))
					}
				}
				done <- err
			}()
		}
		var next [emitters]int
		check := func(m string) {
			t.Helper()
			var e, n int
			if _, err := fmt.Sscanf(m, `2["e",%d,%d]`, &e, &n); err != nil {
				t.Fatalf("%s: %v", m, err)
			}
			if n != next[e] {
				t.Fatalf("emitter %d: event %d, want %d", e, n, next[e])
			}
			next[e]++
		}
		for got := 0; got < emitters*events; {
			for range min(37, emitters*events-got) {
				check(c.events(&back, 1)[0])
				got++
			}
			c.pipe.Cut()
			c = r.dial()
			missed := c.joinWith(&back)
			for _, m := range missed {
				check(m)
			}
			got += len(missed)
		}
		for range emitters {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A client that is lost again before it got what it had missed gets that the next
// time: the time begins anew with each loss, for the events as for the client. It does
// so without end for nobody: what nobody comes for goes.
func TestRecoveryOfWhatWasSentInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{
			PingInterval: 2 * time.Second, PingTimeout: 4 * time.Second,
			Recovery: &core.Recovery{Window: 20 * time.Second},
		})
		ns := r.Of("/")
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		old := back
		c.pipe.Cut()
		synctest.Wait()
		emit(t, ns, "missed", 1)
		for range 5 {
			<-time.After(15 * time.Second)
			lost := r.dial()
			lost.send(`0{"pid":"` + back.pid + `"}`)
			synctest.Wait() // it is sent all of it, and reads none
			lost.pipe.Cut()
			synctest.Wait()
		}
		<-time.After(15 * time.Second)
		c = r.dial()
		wantEvents(t, "missed", c.joinWith(&back), `2["missed",1]`)
		if back.sid != old.sid {
			t.Error("the client started afresh")
		}
		c.pipe.Cut()
		<-time.After(time.Minute)
		if n := r.Stats().RecoveryBytes; n != 0 {
			t.Errorf("%d bytes are kept when nobody can come back", n)
		}
	})
}
