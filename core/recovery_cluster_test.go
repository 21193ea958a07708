package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

// keeping is a server whose broker keeps events.
func keeping(t *testing.T, o core.Options) (*rig, *adaptertest.BusEngine) {
	t.Helper()
	engine := new(adaptertest.Bus).Engine()
	o.Adapter, o.Recovery = cluster.NewRecovering(engine, cluster.Options{}), &core.Recovery{}
	return newRig(t, o), engine
}

// joinAs sends a CONNECT and returns what is in the reply, with what comes before it.
func (c *client) joinAs(pid string) (sid, newPID string, missed []string) {
	c.t.Helper()
	c.send(`0{"pid":"` + pid + `"}`)
	for {
		m := c.next()
		data, ok := strings.CutPrefix(m, "0")
		if !ok {
			missed = append(missed, m)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(data), &reply); err != nil {
			c.t.Fatalf("reply to CONNECT is %s: %v", m, err)
		}
		return reply.SID, reply.PID, missed
	}
}

// A client that comes back twice, since the connection on which it did so first was
// lost and nobody has noticed, is where it is last.
func TestClusterReplacedOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := keeping(t, core.Options{})
		ns := r.Of("/")
		hold := make(chan struct{}, 1)
		ns.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if r.Connect() && r.Socket.Recovered() {
					select {
					case <-hold:
					case <-ctx.Done():
					}
				}
				return next(ctx, r)
			}
		})
		c := r.dial()
		sid, pid, _ := c.joinAs("")
		emit(t, ns, "seen")
		c.next()
		c.pipe.Cut()
		<-time.After(time.Second)

		first := r.dial()
		first.send(`0{"pid":"` + pid + `"}`)
		synctest.Wait() // for its middleware
		second := r.dial()
		second.send(`0{"pid":"` + pid + `"}`)
		synctest.Wait()
		hold <- struct{}{}
		synctest.Wait()
		hold <- struct{}{}
		synctest.Wait()
		emit(t, ns.To(sid), "here")
		for m := second.next(); !strings.HasPrefix(m, `2["here"`); m = second.next() {
			if strings.HasPrefix(m, "0") && !strings.Contains(m, sid) {
				t.Fatalf("it was not recovered: %s", m)
			}
		}
		first.expectEnd()
	})
}

// A slowValue takes its time when it is encoded first.
type slowValue struct {
	encoded *atomic.Int32
	gate    chan struct{}
}

func (v slowValue) EncodeMsgpack(e *msgpack.Encoder) error {
	if v.encoded.Add(1) == 1 {
		<-v.gate
	}
	return e.EncodeNil()
}

// A client that is lost while it is being saved for the first time can come back.
func TestClusterLostWhileSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := keeping(t, core.Options{})
		slow := core.NewSharedKey[slowValue]("slow")
		value := slowValue{new(atomic.Int32), make(chan struct{})}
		r.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
			slow.Set(s, value)
			return nil
		})
		c := r.dial()
		sid, pid, _ := c.joinAs("")
		<-time.After(time.Second) // it is being saved
		c.pipe.Cut()
		synctest.Wait()
		close(value.gate)
		synctest.Wait()
		if again, _, _ := r.dial().joinAs(pid); again != sid {
			t.Error("the client was not recovered")
		}
	})
}

// What is sent while clients are on their way back, one longer than the other, each of
// them gets once and in order.
func TestClusterHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := keeping(t, core.Options{})
		ns := r.Of("/")
		hold := make(map[string]chan struct{})
		ns.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				if r.Connect() && r.Socket.Recovered() {
					<-hold[r.Socket.ID()]
				}
				return next(ctx, r)
			}
		})
		n := 0
		send := func(events int) {
			for range events {
				emit(t, ns, "n", n)
				n++
			}
			synctest.Wait()
		}
		type past struct{ sid, pid string }
		pasts := make([]past, 0, 2)
		for range cap(pasts) {
			c := r.dial()
			sid, pid, _ := c.joinAs("")
			pasts = append(pasts, past{sid, pid})
			hold[sid] = make(chan struct{})
			c.pipe.Cut()
		}
		<-time.After(time.Second)
		back := make([]*client, len(pasts))
		for i, past := range pasts {
			back[i] = r.dial()
			back[i].send(`0{"pid":"` + past.pid + `"}`)
			synctest.Wait()
			send(100)
		}
		close(hold[pasts[0].sid])
		send(200)
		close(hold[pasts[1].sid])
		send(1)
		for i, c := range back {
			want := 0
			for want < n {
				m := c.next()
				if strings.HasPrefix(m, "0") {
					continue
				}
				if !strings.HasPrefix(m, fmt.Sprintf(`2["n",%d,`, want)) {
					t.Fatalf("client %d got %s, want %d", i, m, want)
				}
				want++
			}
		}
	})
}

// An event that no client can be sent costs none what else it has missed.
func TestClusterTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := keeping(t, core.Options{MaxOutboxBytes: 10_000})
		ns := r.Of("/")
		c := r.dial()
		sid, pid, _ := c.joinAs("")
		c.pipe.Cut()
		<-time.After(time.Second)
		emit(t, ns, "before")
		emit(t, ns, "large", strings.Repeat("x", 20_000))
		emit(t, ns, "after")
		synctest.Wait()
		again, _, missed := r.dial().joinAs(pid)
		if again != sid || len(missed) != 2 || !strings.HasPrefix(missed[1], `2["after"`) {
			t.Errorf("was %s, is %s, missed %q", sid, again, missed)
		}
	})
}

// What cannot be sent to clients is an error of Emit, and not sent to other servers.
func TestClusterReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, adapter := range map[string]interface {
			core.Adapter
			Stats() cluster.Stats
		}{
			"kept":     cluster.NewRecovering(new(adaptertest.Bus).Engine(), cluster.Options{}),
			"not kept": cluster.New(new(adaptertest.Bus).Engine(), cluster.Options{}),
		} {
			r := newRig(t, core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
			r.join()
			s := r.Of("/").Sockets()[0]
			synctest.Wait()
			before := adapter.Stats()
			for _, to := range []event.Emitter{r.Of("/"), s, s.To("room")} {
				if err := to.Emit(t.Context(), "connect"); !errors.Is(err, core.ErrReservedEvent) {
					t.Errorf("%s: %v", name, err)
				}
			}
			synctest.Wait()
			if n := adapter.Stats().Published - before.Published; n != 0 {
				t.Errorf("%s: %d messages were sent", name, n)
			}
		}
	})
}

// What is sent to clients before they are disconnected, or taken out of a room, reaches
// them, though it has to come back from the broker first.
func TestClusterSentBefore(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, ns *core.Namespace, s *core.Socket){
		"socket":        func(_ *testing.T, _ *core.Namespace, s *core.Socket) { s.Disconnect() },
		"session":       func(_ *testing.T, _ *core.Namespace, s *core.Socket) { s.CloseSession() },
		"target":        func(_ *testing.T, ns *core.Namespace, _ *core.Socket) { ns.To("room").Disconnect() },
		"all sessions":  func(_ *testing.T, ns *core.Namespace, _ *core.Socket) { ns.To("room").CloseSessions() },
		"leave":         func(t *testing.T, ns *core.Namespace, _ *core.Socket) { _ = ns.To("room").Leave(t.Context(), "room") },
		"broker silent": func(_ *testing.T, _ *core.Namespace, s *core.Socket) { s.Disconnect() },
	} {
		inBubble(t, name, func(t *testing.T) {
			r, engine := keeping(t, core.Options{})
			ns := r.Of("/")
			c := r.dial()
			c.joinAs("")
			s := ns.Sockets()[0]
			if err := s.Join(t.Context(), "room"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			engine.Hold(name == "broker silent")
			begun := time.Now()
			emit(t, s, "to you")
			emit(t, ns.To("room"), "to the room")
			leave(t, ns, s)
			if name == "broker silent" {
				if took := time.Since(begun); took > time.Second {
					t.Errorf("it took %v", took)
				}
				engine.Hold(false)
				return
			}
			synctest.Wait()
			if err := r.Shutdown(t.Context()); err != nil { // so that c does not wait in vain
				t.Error(err)
			}
			for _, want := range []string{`2["to you"`, `2["to the room"`} {
				if m := c.next(); !strings.HasPrefix(m, want) {
					t.Errorf("received %s, want %s", m, want)
				}
			}
		})
	}
}

// A client cannot have the broker asked for a name of any size.
func TestClusterLongPrivateID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := keeping(t, core.Options{})
		r.dial().joinAs(strings.Repeat("x", 100_000))
		if n := r.Stats().RecoveryFailed; n != 0 {
			t.Errorf("the broker was asked")
		}
		r.dial().joinAs("xxxxxxxxxxxxxxxxxxxx")
		if n := r.Stats().RecoveryFailed; n != 1 {
			t.Errorf("the broker was not asked")
		}
	})
}
