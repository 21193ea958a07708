package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// comeback is what a client needs to come back.
type comeback struct{ sid, pid, offset string }

// joinWith sends a CONNECT, with a wish to come back if there is one, and
// returns what comes before the reply.
func (c *client) joinWith(back *comeback) (missed []string) {
	c.t.Helper()
	auth := map[string]string{}
	if back.pid != "" {
		auth["pid"] = back.pid
	}
	if back.offset != "" {
		auth["offset"] = back.offset
	}
	text, err := json.Marshal(auth)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send("0" + string(text))
	for {
		m := c.next()
		data, ok := strings.CutPrefix(m, "0")
		if !ok {
			missed = append(missed, c.strip(m, back))
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(data), &reply); err != nil || reply.SID == "" || reply.PID == "" || reply.SID == reply.PID {
			c.t.Fatalf("reply to CONNECT is %s: %v", m, err)
		}
		back.sid, back.pid = reply.SID, reply.PID
		return missed
	}
}

// strip takes the offset off an event and remembers it.
func (c *client) strip(m string, back *comeback) string {
	c.t.Helper()
	rest, ok := strings.CutSuffix(m, `"]`)
	i := strings.LastIndex(rest, `,"`)
	if !ok || i < 0 || len(rest)-i != 12 {
		c.t.Fatalf("%s carries no offset", m)
	}
	back.offset = rest[i+2:]
	return rest[:i] + "]"
}

// events receives n events with offsets.
func (c *client) events(back *comeback, n int) []string {
	c.t.Helper()
	all := make([]string, n)
	for i := range all {
		all[i] = c.strip(c.next(), back)
	}
	return all
}

func wantEvents(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// recovering is a rig with recovery on.
func recovering(t *testing.T, o core.Recovery) *rig {
	t.Helper()
	return newRig(t, core.Options{Recovery: &o})
}

func emit(t *testing.T, to event.Emitter, event string, args ...any) {
	t.Helper()
	if err := to.Emit(t.Context(), event, args...); err != nil {
		t.Fatal(err)
	}
}

// C48, C49, C50: what a client has missed comes before the reply, and it has
// its id, rooms and values again.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		user := core.NewKey[string]("user")
		var log []string
		ns.OnConnect(func(ctx context.Context, s *core.Socket) error {
			name, _ := user.Get(s)
			log = append(log, fmt.Sprint("connect ", s.Recovered(), " ", name))
			if s.Recovered() {
				return nil
			}
			user.Set(s, "ann")
			return s.Join(ctx, "in", "out")
		})
		ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) {
			log = append(log, "disconnect "+string(core.ReasonOf(cause)))
		})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		synctest.Wait()
		s := ns.Socket(back.sid)
		emit(t, ns, "first", 1)
		wantEvents(t, "before", c.events(&back, 1), `2["first",1]`)
		if err := s.Leave(t.Context(), "out"); err != nil {
			t.Fatal(err)
		}
		c.pipe.Cut()
		synctest.Wait()

		emit(t, ns, "all", "a")                               // for it
		emit(t, ns.To("in"), "room", []byte{1, 2})            // for it
		emit(t, s, "direct")                                  // for it, though the socket is gone
		emit(t, ns.To("out"), "left")                         // not: it had left
		emit(t, ns.Except("in"), "except")                    // not
		emit(t, s.Broadcast(), "own")                         // not: its own broadcast
		emit(t, ns.To().Volatile(), "volatile")               // not
		emit(t, ns.To(back.sid, "in").To("out"), "twice")     // for it, once
		emit(t, ns.To().Latest("k"), "price", 1)              // not: there is a later one
		emit(t, ns.To().Latest("other"), "price", 2)          // for it
		emit(t, ns.To().Latest("k"), "price", 3)              // for it
		emit(t, ns.To().Overflow(core.DropOldest), "drop", 4) // for it

		c = r.dial()
		old := back
		c.send(`0{"pid":"` + back.pid + `","offset":"` + back.offset + `","token":1}`)
		wantEvents(t, "missed", c.events(&back, 1), `2["all","a"]`)
		if got := c.next(); !strings.HasPrefix(got, `51-["room",{"_placeholder":true,"num":0},"`) {
			t.Errorf("binary event %s", got)
		}
		c.expect("binary:\x01\x02")
		wantEvents(t, "missed", c.events(&back, 5),
			`2["direct"]`, `2["twice"]`, `2["price",2]`, `2["price",3]`, `2["drop",4]`)
		c.expect(`0{"sid":"` + old.sid + `","pid":"` + old.pid + `"}`)
		synctest.Wait()

		again := ns.Socket(back.sid)
		if again == nil || again == s || !again.Recovered() || !again.Connected() {
			t.Fatalf("socket %v", again)
		}
		if got := fmt.Sprint(again.Rooms()); got != "["+old.sid+" in]" {
			t.Errorf("rooms %s", got)
		}
		emit(t, s, "to the old socket")
		emit(t, ns.To("in"), "live")
		wantEvents(t, "live", c.events(&back, 2), `2["to the old socket"]`, `2["live"]`)
		want := "[connect false  disconnect transport error connect true ann]"
		if got := fmt.Sprint(log); got != want {
			t.Errorf("log %s, want %s", got, want)
		}
		if st := r.Stats(); st.Recovered != 1 || st.RecoveryFailed != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// A client comes back as often as it must, each time with what it has missed,
// and also when it never got as far as to read it.
func TestRecoveryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		first := back
		for n := range 5 { // the first time it has seen no event at all
			c.pipe.Cut()
			synctest.Wait()
			emit(t, ns, "n", n)
			lost := r.dial()
			lost.send(`0{"pid":"` + back.pid + `","offset":"` + back.offset + `"}`)
			synctest.Wait()
			lost.pipe.Cut() // nothing of the answer was read
			synctest.Wait()
			emit(t, ns, "and", n)
			c = r.dial()
			wantEvents(t, "missed", c.joinWith(&back), fmt.Sprintf(`2["n",%d]`, n), fmt.Sprintf(`2["and",%d]`, n))
			emit(t, ns, "live", n)
			wantEvents(t, "live", c.events(&back, 1), fmt.Sprintf(`2["live",%d]`, n))
		}
		if back.sid != first.sid || back.pid != first.pid {
			t.Errorf("was %v, is %v", first, back)
		}
	})
}

// A volatile event is not replayed, and does not make the client lose its place.
func TestRecoveryAndVolatileEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		s := socketOf(t, ns)
		emit(t, s.Self().Volatile(), "before any other")
		emit(t, ns, "first")
		emit(t, s.Self().Volatile(), "volatile", "text")
		emit(t, ns.To().Volatile(), "volatile", "for all")
		wantEvents(t, "live", c.events(&back, 4),
			`2["before any other"]`, `2["first"]`, `2["volatile","text"]`, `2["volatile","for all"]`)
		c.pipe.Cut()
		synctest.Wait()
		emit(t, ns, "second")
		emit(t, ns.To().Volatile(), "volatile", "lost")
		if err := s.Self().Volatile().Emit(t.Context(), "volatile"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("volatile event for a client that has gone: %v", err)
		}
		wantEvents(t, "missed", r.dial().joinWith(&back), `2["second"]`)
	})
}

// What is sent before the client is connected carries no offset and ends with
// null: the client takes the last element of an event for one if it is text,
// which may be the event's name (spec 13.1).
func TestNothingPassesForAnOffset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{})
		ns := r.Of("/")
		ns.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				emit(t, r.Socket, "welcome", "text")
				emit(t, r.Socket.Self().Volatile(), "bare")
				return next(ctx, r)
			}
		})
		c := r.dial()
		c.send("0")
		c.expect(`2["welcome","text",null]`)
		c.expect(`2["bare",null]`)
	})
}

// A client keeps its offset when it starts afresh, as after a restart: until it
// is sent something, what it comes back with is the offset of another log.
func TestRecoveryWithTheOffsetOfAnotherLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back comeback
		old := recovering(t, core.Recovery{})
		c := old.dial()
		c.joinWith(&back)
		emit(t, old.Of("/"), "first")
		c.events(&back, 1)
		c.pipe.Cut()

		r := recovering(t, core.Recovery{})
		emit(t, r.Of("/"), "before")
		c = r.dial()
		wantEvents(t, "at another server", c.joinWith(&back))
		fresh := back
		c.pipe.Cut()
		synctest.Wait()
		emit(t, r.Of("/"), "missed")
		wantEvents(t, "missed", r.dial().joinWith(&back), `2["missed"]`)
		if back.sid != fresh.sid {
			t.Error("the client started afresh")
		}
	})
}

// A client that hears nothing while others hear a lot can come back although
// its offset is long gone, which it cannot with the reference's adapters.
func TestRecoveryOfAnIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recovering(t, core.Recovery{Window: time.Minute})
		ns := r.Of("/")
		var idle, busy comeback
		c, d := r.dial(), r.dial()
		c.joinWith(&idle)
		d.joinWith(&busy)
		emit(t, ns, "first")
		c.events(&idle, 1)
		d.events(&busy, 1)
		live := func(c *client) {
			for {
				p, err := c.pipe.Receive(t.Context())
				if err != nil {
					return
				}
				if p.Type == transports.Ping {
					_ = c.pipe.Send(transports.Packet{Type: transports.Pong})
				}
			}
		}
		go live(c)
		go live(d)
		for range 60 {
			emit(t, ns.Socket(busy.sid), "noise")
			<-time.After(10 * time.Second)
		}
		if n := r.Stats().RecoveryBytes; n > 3000 {
			t.Errorf("%d bytes are kept after their time", n)
		}
		c.pipe.Cut()
		d.pipe.Cut()
		synctest.Wait()
		emit(t, ns, "missed")
		old := idle
		wantEvents(t, "idle", r.dial().joinWith(&idle), `2["missed"]`)
		wantEvents(t, "busy, but did not get its noise", r.dial().joinWith(&busy))
		if idle.sid != old.sid {
			t.Error("the idle client started afresh")
		}
		<-time.After(5 * time.Minute)
		if n := r.Stats().RecoveryBytes; n != 0 {
			t.Errorf("%d bytes are kept when nobody can come back", n)
		}
	})
}
