package core_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

// Where so much is sent that MaxBytes is reached all the time, clients still
// come back if what they have missed is there.
func TestRecoveryUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 50_000
		r := recovering(t, core.Recovery{MaxBytes: limit})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		for range 3 * limit / 500 {
			<-time.After(time.Millisecond)
			emit(t, r.Of("/"), "filler", strings.Repeat("x", 500))
			c.events(&back, 1)
		}
		old := back
		c.pipe.Cut()
		synctest.Wait()
		<-time.After(time.Millisecond)
		emit(t, r.Of("/"), "missed")
		if n := r.Stats().RecoveryBytes; n > limit || n < limit/2 {
			t.Errorf("%d bytes are kept", n)
		}
		wantEvents(t, "missed", r.dial().joinWith(&back), `2["missed"]`)
		if back.sid != old.sid {
			t.Error("it has started afresh")
		}
	})
}

// Clients that have left are dropped for events that are newer, too.
func TestRecoveryForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 50_000
		r := recovering(t, core.Recovery{MaxBytes: limit})
		all := make([]comeback, 2*limit/1024)
		for i := range all {
			c := r.dial()
			c.joinWith(&all[i])
			<-time.After(time.Millisecond)
			c.pipe.Cut()
			synctest.Wait()
		}
		first, last := all[0], all[len(all)-1]
		<-time.After(time.Millisecond)
		emit(t, r.Of("/"), "missed", strings.Repeat("x", 2000))
		old := first
		wantEvents(t, "the first", r.dial().joinWith(&first))
		wantEvents(t, "the last", r.dial().joinWith(&last), `2["missed","`+strings.Repeat("x", 2000)+`"]`)
		if old.sid == first.sid {
			t.Error("the first came back")
		}
	})
}

// A namespace that was removed keeps nothing of what is still sent to it.
func TestRecoveryOfARemovedNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{Window: time.Second})
		d := r.OfPattern("/rooms/{room}")
		c := r.dial()
		c.send("0/rooms/1")
		c.next()
		synctest.Wait()
		n := d.Namespaces()[0]
		c.pipe.Cut()
		<-time.After(time.Minute)
		if left := len(d.Namespaces()); left != 0 {
			t.Fatalf("%d namespaces are left", left)
		}
		emit(t, n, "late", strings.Repeat("x", 1000))
		if kept := r.Stats().RecoveryBytes; kept != 0 {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}

// Nothing is kept for clients of Socket.IO 2, which do not come back.
func TestRecoveryWithoutOldClients(t *testing.T) {
	eachDoor(t, core.Options{AllowEIO3: true, Recovery: &core.Recovery{}}, func(t *testing.T, d *door) {
		gone := make(chan struct{})
		d.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { close(gone) })
		session, _, rest := d.openOld()
		d.expectOld(session, rest, "2:40")
		d.postOld(session, "1")
		<-gone
		if kept := d.Stats().RecoveryBytes; kept != 0 {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}

// What is kept for clients that may come back is what is counted: not all that
// they have ever sent, and nothing of those who have come back.
func TestRecoveryKeepsWhatItCounts(t *testing.T) {
	const visits, junk = 50, 500_000
	for name, again := range map[string]bool{"clients that stay away": false, "a client that comes and goes": true} {
		inBubble(t, name, func(t *testing.T) {
			r := recovering(t, core.Recovery{})
			user := core.NewKey[string]("user")
			r.Of("/").OnDisconnect(func(_ context.Context, s *core.Socket, _ error) { user.Set(s, "ann") })
			var pid string
			visit := func() *client {
				c := r.dial()
				c.send(`0{"pid":"` + pid + `","junk":"` + strings.Repeat("x", junk) + `"}`)
				reply := c.next()
				if pid == "" || !again {
					_, reply, _ = strings.Cut(reply, `"pid":"`)
					pid, _, _ = strings.Cut(reply, `"`)
				}
				return c
			}
			before := heap()
			for range visits {
				if !again {
					pid = ""
				}
				visit().pipe.Cut()
				synctest.Wait()
			}
			if grown := heap() - before; grown > visits*junk/5 {
				t.Errorf("the heap has grown by %d", grown)
			}
			visit()
			synctest.Wait()
			s := socketOf(t, r.Of("/"))
			if name, _ := user.Get(s); name != "ann" || !s.Recovered() {
				t.Errorf("%q has come back: %v", name, s.Recovered())
			}
		})
	}
}
