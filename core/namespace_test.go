package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
)

func TestConnect(t *testing.T) {
	inBubble(t, "C1 the reply has the sid alone, and auth reaches the server", func(t *testing.T) {
		r := newRig(t, core.Options{})
		custom := r.Of("custom")
		custom.OnConnect(func(ctx context.Context, s *core.Socket) error {
			auth := map[string]any{}
			if err := s.Auth(&auth); err != nil {
				return err
			}
			return s.Emit(ctx, "auth", auth)
		})
		c := r.dial()
		c.send(`0/custom,{"token":"x"}`)
		reply := strings.TrimPrefix(c.next(), "0/custom,")
		var fields map[string]string
		if err := json.Unmarshal([]byte(reply), &fields); err != nil || len(fields) != 1 || len(fields["sid"]) != 20 {
			t.Errorf("reply %s: %v", reply, err)
		}
		c.expect(`2/custom,["auth",{"token":"x"}]`)
		d := r.dial()
		d.send(`0/custom`)
		d.next()
		d.expect(`2/custom,["auth",{}]`)
	})
	inBubble(t, "C2 an unknown namespace is refused, and the session lives", func(t *testing.T) {
		r := newRig(t, core.Options{})
		c := r.dial()
		c.send(`0/random`)
		c.expect(`4/random,{"message":"Invalid namespace"}`)
		c.send(`0`)
		c.next()
	})
	inBubble(t, "several namespaces on one session, each with its own id", func(t *testing.T) {
		r := newRig(t, core.Options{})
		r.Of("/a")
		c := r.join()
		c.send(`0/a,`)
		if reply := c.next(); !strings.HasPrefix(reply, `0/a,{"sid":"`) || strings.Contains(reply, r.Of("/").Sockets()[0].ID()) {
			t.Errorf("reply %s", reply)
		}
		c.send(`1/a,`) // C4
		synctest.Wait()
		if n := r.Of("/a").Len(); n != 0 {
			t.Errorf("%d sockets after the client left", n)
		}
		c.send(`21["x"]`)
		c.expect(`31[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`)
		c.send(`0/a,`) // and may come back
		if reply := c.next(); !strings.HasPrefix(reply, `0/a,{"sid":"`) {
			t.Errorf("reply %s", reply)
		}
	})
	inBubble(t, "C3 C18 a session that joins nothing ends with the connect timeout", func(t *testing.T) {
		r := newRig(t, core.Options{ConnectTimeout: time.Second})
		c := r.dial()
		joined := r.join()
		<-time.After(2 * time.Second)
		c.expectEnd()
		joined.send(`1`) // leaving does not start it anew (B13)
		<-time.After(2 * time.Second)
		joined.send(`0`)
		joined.next()
	})
	for name, messages := range map[string][]string{
		"B12 an event before CONNECT":       {`2["x"]`},
		"C3 garbage instead of CONNECT":     {`abc`},
		"C16 a second CONNECT":              {`0`, `0`},
		"a CONNECT_ERROR from the client":   {`0`, `4{"message":"x"}`},
		"C6 an unknown packet type":         {`0`, `9`},
		"C6 an event that is no array":      {`0`, `2{}`},
		"C6 an ack id that is none":         {`0`, `2abc["x"]`},
		"a reserved event name":             {`0`, `2["disconnect"]`},
		"C17 a binary header without count": {`0`, `5woooot`},
		"binary without header":             {`0`, `binary:x`},
		"an event for another namespace":    {`0`, `2/a,["x"]`},
	} {
		inBubble(t, name+" closes the session", func(t *testing.T) {
			r := newRig(t, core.Options{})
			r.Of("/a")
			var cause error
			r.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, c error) { cause = c })
			c := r.dial()
			for i, m := range messages {
				c.send(m)
				if i == 0 && len(messages) > 1 {
					c.next()
				}
			}
			c.expectEnd()
			synctest.Wait()
			if len(messages) > 1 && core.ReasonOf(cause) != core.ForcedClose {
				t.Errorf("cause %v", cause)
			}
			if n := r.Sessions(); n != 0 {
				t.Errorf("%d sessions left", n)
			}
		})
	}
}

func TestMiddleware(t *testing.T) {
	step := func(trace *[]string, name string) core.Middleware {
		return func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				*trace = append(*trace, name+":"+r.Event)
				err := next(ctx, r)
				if err != nil {
					*trace = append(*trace, name+" saw "+err.Error())
				} else if len(r.Answer()) > 0 {
					r.SetAnswer(name, r.Answer()[0])
				}
				return err
			}
		}
	}
	inBubble(t, "runs outermost first, for connects and events, and sees error and answer", func(t *testing.T) {
		r := newRig(t, core.Options{})
		var trace []string
		n := r.Of("/")
		core.On(n.Group(step(&trace, "group")), "ok", func(context.Context, *core.Socket, core.None) (int, error) { return 1, nil })
		core.On(n, "bad", func(context.Context, *core.Socket, core.None) (int, error) { return 0, errors.New("x") })
		n.Use(step(&trace, "namespace"))
		r.Use(step(&trace, "server"))
		c := r.join()
		c.send(`21["ok"]`, `2["bad"]`, `2["none"]`)
		c.expect(`31["server","namespace"]`)
		synctest.Wait()
		want := []string{
			"server:", "namespace:", "server:ok", "namespace:ok", "group:ok",
			"server:bad", "namespace:bad", "namespace saw x", "server saw x", "server:none", "namespace:none",
		}
		if !slices.Equal(trace, want) {
			t.Errorf("trace %q, want %q", trace, want)
		}
	})
	inBubble(t, "C29 refuses with message and data, and nothing is left", func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		connects := 0
		n.OnConnect(func(context.Context, *core.Socket) error { connects++; return nil })
		n.OnDisconnect(func(context.Context, *core.Socket, error) { connects++ })
		var refuse error = &core.Error{Code: "unauthorized", Message: "no", Data: []int{1}}
		n.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				if !req.Connect() {
					return next(ctx, req)
				}
				if req.Socket.Connected() {
					t.Error("connected during middleware")
				}
				if err := req.Socket.Join(ctx, "room"); err != nil {
					return err
				}
				if err := n.To("room").Emit(ctx, "not for those who are not connected"); err != nil {
					return err
				}
				return refuse
			}
		})
		c := r.dial()
		c.send(`0`)
		c.expect(`4{"message":"no","data":[1]}`)
		refuse = core.Errorf("unauthorized", "still no")
		c.send(`0`)
		c.expect(`4{"message":"still no","data":{"code":"unauthorized"}}`)
		refuse = errors.New("hunter2")
		c.send(`0`)
		c.expect(`4{"message":"internal error","data":{"code":"internal"}}`)
		refuse = nil
		c.send(`0`)
		if reply := c.next(); !strings.HasPrefix(reply, `2["not for`) && !strings.HasPrefix(reply, `0{"sid"`) {
			t.Errorf("reply %s", reply)
		}
		synctest.Wait()
		if connects != 1 || len(n.To("room").Except().In().Sockets()) != 1 { // C30
			t.Errorf("%d calls", connects)
		}
	})
	inBubble(t, "a panic refuses", func(t *testing.T) {
		r := newRig(t, core.Options{})
		r.Use(func(core.Handler) core.Handler {
			return func(context.Context, *core.Request) error { panic("boom") }
		})
		c := r.dial()
		c.send(`0`)
		c.expect(`4{"message":"internal error","data":{"code":"internal"}}`)
	})
	inBubble(t, "that ignores its context is refused at the timeout", func(t *testing.T) {
		r := newRig(t, core.Options{ConnectTimeout: time.Second})
		n := r.Of("/slow")
		n.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				<-time.After(time.Minute)
				return next(ctx, req)
			}
		})
		c := r.join()
		c.send(`0/slow,`)
		if got := c.next(); !strings.HasPrefix(got, `4/slow,`) {
			t.Errorf("answer %s", got)
		}
	})
	inBubble(t, "C29 a client that leaves meanwhile never connects", func(t *testing.T) {
		r := newRig(t, core.Options{})
		gate := make(chan struct{})
		ended := false
		r.Of("/").OnConnect(func(context.Context, *core.Socket) error { t.Error("connected"); return nil })
		r.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { t.Error("disconnected") })
		r.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				<-ctx.Done()
				ended = true
				<-gate
				return next(ctx, req)
			}
		})
		c := r.dial()
		c.send(`0`)
		synctest.Wait()
		_ = c.pipe.Close()
		synctest.Wait()
		if !ended {
			t.Error("the middleware's context has not ended")
		}
		close(gate)
	})
}

func TestDisconnect(t *testing.T) {
	type seen struct {
		reason core.Reason
		rooms  []string
		live   bool
	}
	watch := func(r *rig) *[]seen {
		var log []seen
		n := r.Of("/")
		n.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "room") })
		n.OnDisconnect(func(ctx context.Context, s *core.Socket, cause error) {
			rooms := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
			log = append(log, seen{core.ReasonOf(cause), rooms, ctx.Err() == nil && s.Context().Err() != nil && !s.Connected()})
			if err := s.Join(ctx, "late"); !errors.Is(err, core.ErrDisconnected) { // B23
				t.Errorf("Join after the end: %v", err)
			}
			if err := s.Emit(ctx, "late"); !errors.Is(err, core.ErrDisconnected) {
				t.Errorf("Emit after the end: %v", err)
			}
		})
		return &log
	}
	for name, test := range map[string]struct {
		leave func(t *testing.T, r *rig, c *client)
		want  core.Reason
	}{
		"client disconnect": {func(_ *testing.T, _ *rig, c *client) { c.send(`1`) }, core.ClientDisconnect},
		"server disconnect": {func(_ *testing.T, r *rig, c *client) {
			r.Of("/").Sockets()[0].Disconnect()
			c.expect(`1`)
		}, core.ServerDisconnect},
		"connection closed": {func(_ *testing.T, _ *rig, c *client) { _ = c.pipe.Close() }, core.TransportClose},
		"ping timeout":      {func(*testing.T, *rig, *client) { <-time.After(time.Minute) }, core.PingTimeout},
		"shutdown": {func(t *testing.T, r *rig, c *client) {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			c.expectEnd() // B43: no DISCONNECT packet, or clients would stay away
		}, core.ServerShuttingDown},
	} {
		inBubble(t, "C38 "+name, func(t *testing.T) {
			r := newRig(t, core.Options{})
			log := watch(r)
			c := r.join()
			synctest.Wait()
			test.leave(t, r, c)
			synctest.Wait()
			if len(*log) != 1 || (*log)[0].reason != test.want || !slices.Equal((*log)[0].rooms, []string{"room"}) || !(*log)[0].live {
				t.Errorf("seen %+v, want %s", *log, test.want)
			}
			if r.Of("/").Len() != 0 || len(r.Of("/").In("room").Sockets()) != 0 {
				t.Error("the socket is still there")
			}
		})
	}
	inBubble(t, "what had arrived is handled, then OnDisconnect comes", func(t *testing.T) {
		r := newRig(t, core.Options{})
		var order []string
		gate := make(chan struct{})
		core.On(r.Of("/"), "x", func(_ context.Context, _ *core.Socket, n string) (core.None, error) {
			<-gate
			order = append(order, n)
			return core.None{}, nil
		})
		r.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { order = append(order, "end") })
		c := r.join()
		c.send(`2["x","a"]`, `2["x","b"]`, `1`)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if got := strings.Join(order, " "); got != "a b end" {
			t.Errorf("order %q", got)
		}
	})
	inBubble(t, "what waits when the server disconnects is dropped", func(t *testing.T) {
		r := newRig(t, core.Options{})
		handled := 0
		core.On(r.Of("/"), "x", func(_ context.Context, s *core.Socket, _ core.None) (core.None, error) {
			handled++
			s.Disconnect()
			return core.None{}, nil
		})
		c := r.join()
		c.send(`21["x"]`, `22["x"]`, `23["x"]`)
		c.expect(`1`)
		c.send(`24["x"]`, `0`) // the first did not know yet; the second comes back
		if got := c.next(); !strings.HasPrefix(got, `0{"sid"`) {
			t.Errorf("received %s", got)
		}
		if handled != 1 {
			t.Errorf("%d events handled", handled)
		}
	})
	inBubble(t, "an error of OnConnect disconnects", func(t *testing.T) {
		r := newRig(t, core.Options{})
		log := watch(r)
		r.Of("/").OnConnect(func(context.Context, *core.Socket) error { return errors.New("x") })
		c := r.join()
		c.expect(`1`)
		synctest.Wait()
		if len(*log) != 1 || (*log)[0].reason != core.ServerDisconnect {
			t.Errorf("seen %+v", *log)
		}
	})
	inBubble(t, "a slow consumer is closed, with its cause", func(t *testing.T) {
		r := newRig(t, core.Options{MaxOutboxBytes: 4000})
		var cause error
		r.Of("/").OnDisconnect(func(_ context.Context, _ *core.Socket, c error) { cause = c })
		c := r.join()
		c.pipe.Stall(true)
		s := r.Of("/").Sockets()[0]
		var err error
		for err == nil {
			err = s.Emit(t.Context(), "x", strings.Repeat("x", 100))
		}
		synctest.Wait()
		if !errors.Is(err, core.ErrSlowConsumer) || !errors.Is(cause, core.ErrSlowConsumer) || core.ReasonOf(cause) != core.TransportError {
			t.Errorf("Emit %v, cause %v", err, cause)
		}
	})
}

func TestShutdownWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		finished := false
		core.On(r.Of("/"), "x", func(ctx context.Context, _ *core.Socket, _ core.None) (core.None, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			finished = true
			return core.None{}, nil
		})
		c := r.join()
		c.send(`2["x"]`)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if err := r.Shutdown(t.Context()); err != nil || !finished {
			t.Errorf("Shutdown: %v, finished: %v", err, finished)
		}
		if _, err := r.pipe.Dial(r.Server, transports.Handshake{}); err == nil {
			t.Error("a session opened after Shutdown")
		}
	})
}

func TestKeysAndHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		user, other := core.NewKey[string]("user"), core.NewKey[string]("user")
		r.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				user.Set(req.Socket, "ann")
				return next(ctx, req)
			}
		})
		r.join()
		s := r.Of("/").Sockets()[0]
		if v, ok := user.Get(s); v != "ann" || !ok {
			t.Errorf("Get: %q %v", v, ok)
		}
		if _, ok := other.Get(s); ok {
			t.Error("a key of the same name has a value")
		}
		if got := s.Handshake().Header.Get("user-agent"); got != "test" {
			t.Errorf("header %q", got)
		}
		if s.Transport() != "pipe" || s.Namespace() != r.Of("/") || r.Of("/").Socket(s.ID()) != s {
			t.Error("the socket does not know where it is")
		}
	})
}
