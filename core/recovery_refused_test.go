package core_test

import (
	"context"
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
				if name == "more than the outbox holds" {
					// It is too late to start afresh on this session: the next one does.
					c.send(`0{"pid":"` + back.pid + `","offset":"` + back.offset + `"}`)
					c.expectEnd()
					c = r.dial()
				}
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
