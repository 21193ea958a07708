package core_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

// B41, C52: who cannot come back starts afresh, without an error.
func TestRecoveryRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		options core.Recovery
		lose    func(t *testing.T, r *rig, c *client, back *comeback)
	}{
		"unknown private id": {lose: func(_ *testing.T, _ *rig, c *client, back *comeback) { c.pipe.Cut(); back.pid = "x" }},
		"unknown offset":     {lose: func(_ *testing.T, _ *rig, c *client, back *comeback) { c.pipe.Cut(); back.offset = "MzUPkW0" }},
		"offset to come": {lose: func(_ *testing.T, _ *rig, c *client, back *comeback) {
			c.pipe.Cut()
			back.offset = back.offset[:3] + "0001000"
		}},
		"left by itself": {lose: func(_ *testing.T, _ *rig, c *client, _ *comeback) { c.send("1"); c.pipe.Cut() }},
		"disconnected": {lose: func(_ *testing.T, r *rig, c *client, back *comeback) {
			r.Of("/").Socket(back.sid).Disconnect()
			c.pipe.Cut()
		}},
		"too late": {
			options: core.Recovery{Window: time.Second},
			lose: func(_ *testing.T, _ *rig, c *client, _ *comeback) {
				<-time.After(100 * time.Millisecond) // so that nothing is swept at the moment it expires
				c.pipe.Cut()
				synctest.Wait()
				<-time.After(time.Second + 1)
			},
		},
		"too much": {
			options: core.Recovery{MaxBytes: 3000},
			lose: func(t *testing.T, r *rig, c *client, _ *comeback) {
				c.pipe.Cut()
				synctest.Wait()
				for range 4 {
					emit(t, r.Of("/"), "filler", strings.Repeat("x", 500))
				}
			},
		},
		"too many states": {
			options: core.Recovery{MaxBytes: 3000},
			lose: func(_ *testing.T, r *rig, c *client, _ *comeback) {
				c.pipe.Cut()
				synctest.Wait()
				for range 3 {
					other := r.dial()
					other.joinWith(&comeback{})
					other.pipe.Cut()
					synctest.Wait()
				}
			},
		},
		"more than the outbox holds": {lose: func(t *testing.T, r *rig, c *client, _ *comeback) {
			c.pipe.Cut()
			synctest.Wait()
			for range 5 {
				emit(t, r.Of("/"), "filler", strings.Repeat("x", 1<<20))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := recovering(t, tt.options)
				r.Of("/").OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "room") })
				var back comeback
				c := r.dial()
				c.joinWith(&back)
				emit(t, r.Of("/"), "first")
				c.events(&back, 1)
				old := back
				tt.lose(t, r, c, &back)
				synctest.Wait()
				c = r.dial()
				wantEvents(t, "missed", c.joinWith(&back))
				synctest.Wait()
				if s := r.Of("/").Socket(back.sid); back.sid == old.sid || back.pid == old.pid || s == nil || s.Recovered() {
					t.Errorf("came back as %v, was %v", back, old)
				}
				if st := r.Stats(); st.Recovered != 0 {
					t.Errorf("stats %+v", st)
				}
			})
		})
	}
}

// C51: middleware is skipped or run, as is asked for; who is refused does not
// get what was kept.
func TestRecoveryMiddleware(t *testing.T) {
	for _, run := range []bool{false, true} {
		t.Run(strconv.FormatBool(run), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := recovering(t, core.Recovery{RunMiddleware: run})
				ns := r.Of("/")
				banned := false
				ns.Use(func(next core.Handler) core.Handler {
					return func(ctx context.Context, req *core.Request) error {
						if banned && req.Connect() {
							return core.Errorf("banned", "go away")
						}
						return next(ctx, req)
					}
				})
				var back comeback
				c := r.dial()
				c.joinWith(&back)
				banned = true
				c.pipe.Cut()
				synctest.Wait()
				emit(t, ns, "secret")
				c = r.dial()
				if !run {
					wantEvents(t, "missed", c.joinWith(&back), `2["secret"]`)
					return
				}
				c.send(`0{"pid":"` + back.pid + `"}`)
				c.expect(`4{"message":"go away","data":{"code":"banned"}}`)
				banned = false
				wantEvents(t, "missed", c.joinWith(&back)) // afresh
			})
		})
	}
}

// Of two who want to come back to the same state the later one does, since its
// client has lost the earlier one; even if the time passes while it waits for a
// handler.
func TestRecoveryIsClaimedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{Window: time.Second})
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
		first, second := r.dial(), r.dial()
		first.send(`0{"pid":"` + back.pid + `"}`)
		synctest.Wait()
		second.send(`0{"pid":"` + back.pid + `"}`)
		first.expectEnd()
		<-time.After(3 * time.Second)
		close(hold)
		second.expect(`0{"sid":"` + back.sid + `","pid":"` + back.pid + `"}`)
		synctest.Wait()
		if n := r.Of("/").Len(); n != 1 {
			t.Errorf("%d sockets", n)
		}
	})
}

// A client that had to start afresh still sends the offset it had before. What
// it missed then is gone, and does not turn up later.
func TestRecoveryAfterAFreshStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		emit(t, r.Of("/"), "first")
		c.events(&back, 1)
		c.send("1") // it leaves
		c.pipe.Cut()
		synctest.Wait()
		emit(t, r.Of("/"), "while it was away")
		c = r.dial()
		wantEvents(t, "missed", c.joinWith(&back))
		c.pipe.Cut()
		synctest.Wait()
		emit(t, r.Of("/"), "missed")
		wantEvents(t, "missed", r.dial().joinWith(&back), `2["missed"]`)
	})
}

// What Emit has refused does not come later.
func TestRecoveryOfRefusedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{Recovery: &core.Recovery{}, MaxOutboxBytes: 1000})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		s := socketOf(t, r.Of("/"))
		c.pipe.Stall(true)
		emit(t, s, "kept", strings.Repeat("x", 700))
		synctest.Wait()
		if err := s.Self().Overflow(core.Refuse).Emit(t.Context(), "refused", strings.Repeat("x", 700)); !errors.Is(err, core.ErrOutboxFull) {
			t.Errorf("Emit: %v", err)
		}
		if err := s.Emit(t.Context(), "too large", strings.Repeat("x", 1700)); !errors.Is(err, core.ErrTooLarge) {
			t.Errorf("Emit: %v", err)
		}
		c.pipe.Cut()
		synctest.Wait()
		c = r.dial()
		wantEvents(t, "missed", c.joinWith(&back), `2["kept","`+strings.Repeat("x", 700)+`"]`)
	})
}

// What is missing can grow while middleware decides. If it is too much in the
// end the client is sent away, to start afresh.
func TestRecoveryThatBecomesTooMuch(t *testing.T) {
	for name, o := range map[string]core.Options{
		"for the outbox": {MaxOutboxBytes: 1000, Recovery: &core.Recovery{RunMiddleware: true}},
		"to be kept":     {Recovery: &core.Recovery{RunMiddleware: true, MaxBytes: 2000}},
	} {
		inBubble(t, name, func(t *testing.T) {
			r := newRig(t, o)
			r.Of("/").Use(func(next core.Handler) core.Handler {
				return func(ctx context.Context, req *core.Request) error {
					<-time.After(time.Second)
					return next(ctx, req)
				}
			})
			var back comeback
			c := r.dial()
			c.joinWith(&back)
			c.pipe.Cut()
			synctest.Wait()
			c = r.dial()
			c.send(`0{"pid":"` + back.pid + `"}`)
			synctest.Wait()
			for range 3 {
				emit(t, r.Of("/"), "filler", strings.Repeat("x", 500))
			}
			c.expectEnd()
			synctest.Wait()
			old := back
			wantEvents(t, "missed", r.dial().joinWith(&back))
			if back.sid == old.sid {
				t.Error("it came back with something missing")
			}
		})
	}
}
