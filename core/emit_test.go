package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

// socketOf returns the one socket of a namespace.
func socketOf(t *testing.T, n *core.Namespace) *core.Socket {
	t.Helper()
	all := n.Sockets()
	if len(all) != 1 {
		t.Fatalf("%d sockets", len(all))
	}
	return all[0]
}

// C34, B45: a client that reads gets volatile events, one that does not is
// spared them.
func TestVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		c := r.join()
		s := socketOf(t, r.Of("/"))
		for _, to := range []core.Target{s.Self().Volatile(), r.Of("/").To().Volatile()} {
			c.pipe.Stall(true)
			emit(t, s, "fills the pipe", strings.Repeat("x", 100_000))
			synctest.Wait()
			emit(t, to, "dropped", []byte("and its attachment"))
			c.pipe.Stall(false)
			if m := c.next(); !strings.HasPrefix(m, `2["fills`) {
				t.Fatal(m)
			}
			synctest.Wait()
			emit(t, to, "sent", []byte("bytes"))
			c.expect(`51-["sent",{"_placeholder":true,"num":0}]`, "binary:bytes")
			emit(t, s, "normal")
			emit(t, to, "after a normal one")
			c.expect(`2["normal"]`, `2["after a normal one"]`)
		}
		if n := r.Stats().VolatileDropped; n != 2 {
			t.Errorf("%d dropped, want 2", n)
		}
	})
}

// The policies for a client that does not read, at the level of events.
func TestOverflow(t *testing.T) {
	payload := strings.Repeat("x", 200)
	for name, tt := range map[string]struct {
		how  func(t core.Target, i int) core.Target
		want string // what the client gets of ten events
		err  error  // of some emit
	}{
		"refuse":      {func(t core.Target, _ int) core.Target { return t.Overflow(core.Refuse) }, "0 1 2 3 4 end", core.ErrOutboxFull},
		"drop newest": {func(t core.Target, _ int) core.Target { return t.Overflow(core.DropNewest) }, "0 1 2 3 4 end", nil},
		"drop oldest": {func(t core.Target, _ int) core.Target { return t.Overflow(core.DropOldest) }, "5 6 7 8 9 end", nil},
		"latest":      {func(t core.Target, i int) core.Target { return t.Latest(strconv.Itoa(i % 3)) }, "7 8 9 end", nil},
	} {
		for _, broadcast := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " broadcast ", broadcast), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, core.Options{MaxOutboxPackets: 6, MaxVolatileBytes: 1})
					c := r.join()
					s := socketOf(t, r.Of("/"))
					c.pipe.Stall(true)
					emit(t, s, "first") // is in the pipe, and counts as unsent
					synctest.Wait()
					to := s.Self()
					if broadcast {
						to = r.Of("/").To()
					}
					var failed error
					for i := range 10 {
						if err := tt.how(to, i).Emit(t.Context(), "e", i, payload); err != nil {
							failed = err
						}
						synctest.Wait()
					}
					if !errors.Is(failed, tt.err) {
						t.Errorf("error %v, want %v", failed, tt.err)
					}
					c.pipe.Stall(false)
					c.expect(`2["first"]`)
					synctest.Wait()
					emit(t, s, "end")
					var got []string
					for m := c.next(); m != `2["end"]`; m = c.next() {
						got = append(got, m[len(`2["e",`):len(`2["e",`)+1])
					}
					if got = append(got, "end"); strings.Join(got, " ") != tt.want {
						t.Errorf("got %v, want %s", got, tt.want)
					}
				})
			})
		}
	}
	t.Run("keys are of one event", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			c := r.join()
			s := socketOf(t, r.Of("/"))
			c.pipe.Stall(true)
			emit(t, s, "first")
			synctest.Wait()
			to := s.Self().Latest("EURUSD")
			emit(t, to, "price", 1)
			emit(t, to, "depth", 1)
			emit(t, to, "price", 2)
			c.pipe.Stall(false)
			c.expect(`2["first"]`, `2["depth",1]`, `2["price",2]`)
		})
	})
	t.Run("the default closes, with its own cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{MaxOutboxBytes: 1000})
			var cause error
			r.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, c error) { cause = c })
			c := r.join()
			s := socketOf(t, r.Of("/"))
			c.pipe.Stall(true)
			var err error
			for err == nil {
				err = s.Emit(t.Context(), "e", payload)
			}
			synctest.Wait()
			if !errors.Is(err, core.ErrSlowConsumer) || !errors.Is(cause, core.ErrSlowConsumer) || core.ReasonOf(cause) != core.TransportError {
				t.Errorf("Emit: %v; cause %v", err, cause)
			}
		})
	})
}

func TestCatchAll(t *testing.T) { // C40
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		var log []string
		note := func(what string, s *core.Socket, event string, args any) {
			log = append(log, fmt.Sprint(what, " ", s != nil, " ", event, " ", args))
		}
		n.OnAny(func(_ context.Context, s *core.Socket, event string, args core.Args) {
			var first any
			if err := args.Bind(&first); err != nil {
				t.Error(err)
			}
			note("in", s, event, first)
		})
		n.OnAny(func(context.Context, *core.Socket, string, core.Args) { panic("of the program") })
		n.OnAnyOutgoing(func(s *core.Socket, event string, args []any) { note("out", s, event, args) })
		n.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				if req.Event == "refused" {
					return core.Errorf("no", "no")
				}
				return next(ctx, req)
			}
		})
		core.On(n, "echo", func(ctx context.Context, s *core.Socket, text string) (string, error) {
			return text, s.Emit(ctx, "direct", text)
		})
		c, d := r.join(), r.join()
		c.send(`20["echo","a"]`, `21["refused"]`, `2["nobody","b"]`)
		c.expect(`2["direct","a"]`, `30["a"]`, `31[{"error":{"code":"no","message":"no"}}]`)
		synctest.Wait()
		want := []string{"in true echo a", "out true direct [a]", "in true refused <nil>", "in true nobody b"}
		if !slices.Equal(log, want) {
			t.Errorf("log %q, want %q", log, want)
		}
		log = nil
		emit(t, n, "all", 1, []byte{2})
		d.expect(`51-["all",1,{"_placeholder":true,"num":0}]`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = n.Sockets()[0].Call(ctx, "ask", []any{3})
		if want := []string{"out true all [1 [2]]", "out true all [1 [2]]", "out true ask [3]"}; !slices.Equal(log, want) {
			t.Errorf("log %q, want %q", log, want)
		}
		if n := strings.Count(r.log.String(), "OnAny failed"); n != 3 {
			t.Errorf("%d panics logged, want 3:\n%s", n, r.log)
		}
	})
}

func TestHandleUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		core.On(n, "known", func(context.Context, *core.Socket, core.None) (string, error) { return "known", nil })
		n.HandleUnknown(func(_ context.Context, req *core.Request) error {
			req.SetAnswer("what is " + req.Event)
			return nil
		})
		c := r.join()
		c.send(`20["known"]`, `21["huh"]`)
		c.expect(`30["known"]`, `31["what is huh"]`)
	})
}

// C45, B29: an answer or an error for every client, and the number of the ack
// is forgotten by all of them.
func TestCallAll(t *testing.T) {
	ask := core.NewEvent[string, int]("ask")
	t.Run("some answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			n := r.Of("/")
			clients := make(map[string]*client)
			for range 5 {
				c := r.join()
				synctest.Wait()
				for _, s := range n.Sockets() {
					if clients[s.ID()] == nil {
						clients[s.ID()] = c
					}
				}
			}
			ids := make([]string, 0, len(clients))
			for id := range clients {
				ids = append(ids, id)
			}
			go func() {
				for i, id := range ids {
					c := clients[id]
					c.expect(`20["ask","?"]`)
					switch i {
					case 0, 1:
						c.send("30["+strconv.Itoa(i)+"]", "30[99]") // the second answer is one too many
					case 2:
						c.send(`30["not a number"]`)
					case 3:
						c.pipe.Cut()
					case 4: // is silent
					}
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			got := make(map[string]string)
			for reply, err := range ask.CallAll(ctx, n.To(), "?") {
				if got[reply.SocketID] != "" {
					t.Errorf("%s is yielded twice", reply.SocketID)
				}
				switch {
				case err == nil:
					got[reply.SocketID] = strconv.Itoa(reply.Value)
				case errors.Is(err, core.ErrDisconnected):
					got[reply.SocketID] = "gone"
				case errors.Is(err, context.DeadlineExceeded):
					got[reply.SocketID] = "silent"
				default:
					got[reply.SocketID] = "bad"
				}
			}
			for i, want := range []string{"0", "1", "bad", "gone", "silent"} {
				if got[ids[i]] != want {
					t.Errorf("client %d: %q, want %q", i, got[ids[i]], want)
				}
			}
			clients[ids[4]].send(`30[4]`) // late
			clients[ids[4]].send(`2["still there"]`)
		})
	})
	t.Run("nobody there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for reply, err := range ask.CallAll(ctx, r.Of("/").To("empty"), "?") {
				t.Errorf("%v, %v", reply, err)
			}
		})
	})
	t.Run("without a deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			r.join()
			for _, err := range ask.CallAll(t.Context(), r.Of("/").To(), "?") {
				if !errors.Is(err, core.ErrNoDeadline) {
					t.Error(err)
				}
			}
		})
	})
	t.Run("a loop that stops early", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			c, d := r.join(), r.join()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				c.next()
				c.send("30[1]")
			}()
			for _, err := range r.Of("/").To().CallAll(ctx, "ask", []any{"?"}) {
				if err != nil {
					t.Error(err)
				}
				break
			}
			d.expect(`20["ask","?"]`)
			d.send("30[1]") // nobody waits; the next call is not confused by it
			go func() {
				d.next()
				d.send("31[2]")
				c.next()
				c.send("31[2]")
			}()
			for reply, err := range ask.CallAll(ctx, r.Of("/").To(), "?") {
				if err != nil || reply.Value != 2 {
					t.Errorf("%+v, %v", reply, err)
				}
			}
		})
	})
	t.Run("dropped and refused at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{MaxOutboxPackets: 2})
			c := r.join()
			s := socketOf(t, r.Of("/"))
			synctest.Wait() // the reply is off the server's hands
			c.pipe.Stall(true)
			emit(t, s, "one")
			emit(t, s, "two")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			for target, want := range map[*core.Target]error{
				new(r.Of("/").To().Volatile()):                core.ErrDropped,
				new(r.Of("/").To().Overflow(core.Refuse)):     core.ErrOutboxFull,
				new(r.Of("/").To().Overflow(core.DropNewest)): core.ErrDropped,
			} {
				for reply, err := range ask.CallAll(ctx, *target, "?") {
					if !errors.Is(err, want) || reply.SocketID != s.ID() {
						t.Errorf("%v: %v, want %v", reply, err, want)
					}
				}
			}
			if !time.Now().Equal(began) {
				t.Error("it waited for answers that could not come")
			}
		})
	})
	t.Run("what cannot be encoded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, core.Options{})
			r.join()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			n := 0
			for reply, err := range r.Of("/").To().CallAll(ctx, "ask", []any{make(chan int)}) {
				if n++; err == nil || reply.SocketID != "" {
					t.Errorf("%+v, %v", reply, err)
				}
			}
			if n != 1 {
				t.Errorf("%d yields", n)
			}
		})
	})
}

// C46, C19: whole targets join, leave and are sent away.
func TestTargetOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		r.Of("/other")
		reasons := make(chan core.Reason, 4)
		n.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { reasons <- core.ReasonOf(cause) })
		a, b, c := r.join(), r.join(), r.join()
		synctest.Wait()
		if err := n.To().Join(t.Context(), "all", "some"); err != nil {
			t.Error(err)
		}
		if err := n.Except(n.Sockets()[0].ID()).Leave(t.Context(), "some"); err != nil {
			t.Error(err)
		}
		if all, some := n.To("all").Sockets(), n.To("some").Sockets(); len(all) != 3 || len(some) != 1 {
			t.Errorf("%d in all, %d in some", len(all), len(some))
		}
		if rooms := n.Rooms(); len(rooms) != 2 || !slices.Contains(rooms, "all") {
			t.Errorf("rooms %q", rooms)
		}
		b.send("0/other,")
		b.next()
		for _, x := range []*client{a, c} {
			x.send("0/other,")
			x.next()
		}
		n.To("some").Disconnect()
		n.To("all").CloseSessions()
		synctest.Wait()
		if n.Len() != 0 || r.Sessions() != 1 || r.Of("/other").Len() != 1 {
			t.Errorf("%d sockets, %d sessions, %d in the other namespace", n.Len(), r.Sessions(), r.Of("/other").Len())
		}
		close(reasons)
		for reason := range reasons {
			if reason != core.ServerDisconnect {
				t.Errorf("reason %q", reason)
			}
		}
		if len(n.Rooms()) != 0 {
			t.Errorf("rooms %q are left", n.Rooms())
		}
	})
}

func TestCompressFlag(t *testing.T) { // C35
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		c := r.join()
		s := socketOf(t, r.Of("/"))
		for _, to := range []core.Target{s.Self(), r.Of("/").To()} {
			for _, compress := range []bool{true, false} {
				emit(t, to.Compress(compress), "e")
				if p := c.receive(); p.NoCompress == compress {
					t.Errorf("Compress(%v) sets NoCompress %v", compress, p.NoCompress)
				}
			}
		}
	})
}

// Who sends everybody more than an outbox holds is told, as who sends it to one.
func TestBroadcastTooLarge(t *testing.T) {
	for name, recovery := range map[string]*core.Recovery{"plain": nil, "with recovery": {}} {
		inBubble(t, name, func(t *testing.T) {
			r := newRig(t, core.Options{MaxOutboxBytes: 1000, Recovery: recovery})
			c := r.join()
			synctest.Wait()
			if err := r.Of("/").Emit(t.Context(), "e", strings.Repeat("x", 1000)); !errors.Is(err, core.ErrTooLarge) {
				t.Errorf("Emit: %v", err)
			}
			if kept := r.Stats().RecoveryBytes; kept != 0 {
				t.Errorf("%d bytes are kept", kept)
			}
			emit(t, r.Of("/"), "next")
			if m := c.next(); !strings.HasPrefix(m, `2["next"`) {
				t.Errorf("received %.20s", m)
			}
		})
	}
}
