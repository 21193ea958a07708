package core_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

// inBubble runs a test on a fake clock.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestAnswers(t *testing.T) {
	type in struct {
		N    int    `json:"n"`
		Data []byte `json:"data"`
	}
	inBubble(t, "a returned value is the ack", func(t *testing.T) {
		r := newRig(t, core.Options{})
		core.On(r.Of("/"), "double", func(_ context.Context, _ *core.Socket, v in) (int, error) { return 2 * v.N, nil })
		c := r.join()
		c.send(`20["double",{"n":21}]`, `27["double",{"n":1},"surplus"]`, `28["double"]`)
		c.expect(`30[42]`, `37[2]`, `38[0]`)
	})
	inBubble(t, "none, two and three arguments", func(t *testing.T) {
		r := newRig(t, core.Options{})
		core.On(r.Of("/"), "none", func(context.Context, *core.Socket, core.None) (core.None, error) { return core.None{}, nil })
		core.On(r.Of("/"), "swap", func(_ context.Context, _ *core.Socket, v core.Args2[int, string]) (core.Args2[string, int], error) {
			return core.Args2[string, int]{A: v.B, B: v.A}, nil
		})
		core.On(r.Of("/"), "three", func(_ context.Context, _ *core.Socket, v core.Args3[int, int, int]) (core.Args3[int, int, int], error) {
			return core.Args3[int, int, int]{A: v.C, B: v.B, C: v.A}, nil
		})
		c := r.join()
		c.send(`21["none"]`, `22["swap",1,"a"]`, `23["three",1,2,3]`)
		c.expect(`31[]`, `32["a",1]`, `33[3,2,1]`)
	})
	inBubble(t, "no ack unless the client wants one", func(t *testing.T) {
		r := newRig(t, core.Options{})
		core.On(r.Of("/"), "x", func(context.Context, *core.Socket, core.None) (int, error) { return 1, nil })
		c := r.join()
		c.send(`2["x"]`, `2["unknown"]`, `21["x"]`)
		c.expect(`31[1]`)
	})
	inBubble(t, "binary both ways", func(t *testing.T) {
		r := newRig(t, core.Options{})
		core.On(r.Of("/"), "echo", func(_ context.Context, _ *core.Socket, v in) (in, error) { return v, nil })
		c := r.join()
		c.send(`51-3["echo",{"n":1,"data":{"_placeholder":true,"num":0}}]`, "binary:\x01\x02")
		c.expect(`61-3[{"n":1,"data":{"_placeholder":true,"num":0}}]`, "binary:\x01\x02")
	})
	inBubble(t, "errors", func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		core.On(n, "refuse", func(context.Context, *core.Socket, core.None) (int, error) {
			return 0, fmt.Errorf("wrapped: %w", core.Errorf("not_member", "not in %q", "room"))
		})
		core.On(n, "data", func(context.Context, *core.Socket, core.None) (int, error) {
			return 0, &core.Error{Code: "c", Message: "m", Data: 7}
		})
		core.On(n, "secret", func(context.Context, *core.Socket, core.None) (int, error) {
			return 0, errors.New("password is hunter2")
		})
		core.On(n, "panic", func(context.Context, *core.Socket, core.None) (int, error) { panic("boom") })
		core.On(n, "typed", func(context.Context, *core.Socket, in) (int, error) { return 1, nil })
		core.On(n, "nan", func(context.Context, *core.Socket, core.None) (float64, error) { return math.NaN(), nil })
		c := r.join()
		c.send(`21["refuse"]`, `22["data"]`, `23["secret"]`, `24["panic"]`, `25["typed","no"]`, `26["unknown"]`, `27["nan"]`, `2["panic"]`)
		internal := `[{"error":{"code":"internal","message":"internal error"}}]`
		c.expect(
			`31[{"error":{"code":"not_member","message":"not in \"room\""}}]`,
			`32[{"error":{"code":"c","message":"m","data":7}}]`,
			`33`+internal, `34`+internal,
			`35[{"error":{"code":"bad_payload","message":"payload does not fit"}}]`,
			`36[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`,
			`37`+internal,
		)
		synctest.Wait()
		for _, want := range []string{"hunter2", "boom", "event_test.go"} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("the log does not tell of %s:\n%s", want, r.log)
			}
		}
		if strings.Contains(r.log.String(), "not_member") {
			t.Error("the log has an error that was meant for the client")
		}
	})
	inBubble(t, "the shape of errors can be changed", func(t *testing.T) {
		r := newRig(t, core.Options{ErrorAnswer: func(e *core.Error) any { return []string{e.Code} }})
		c := r.join()
		c.send(`21["unknown"]`)
		c.expect(`31[["unknown_event"]]`)
	})
}

func TestCall(t *testing.T) {
	inBubble(t, "a handler may ask its own client", func(t *testing.T) {
		r := newRig(t, core.Options{})
		ask := core.NewEvent[string, int]("ask")
		core.On(r.Of("/"), "start", func(ctx context.Context, s *core.Socket, _ core.None) (int, error) {
			return ask.Call(ctx, s, "how many?")
		})
		c := r.join()
		c.send(`21["start"]`, `22["start"]`)
		c.expect(`20["ask","how many?"]`)
		c.send(`30[5]`)
		c.expect(`31[5]`, `21["ask","how many?"]`)
		c.send(`39[9]`, `31[6]`, `31[7]`)
		c.expect(`32[6]`)
	})
	inBubble(t, "ends with its context", func(t *testing.T) {
		r := newRig(t, core.Options{})
		result := make(chan error, 1)
		r.Of("/").OnConnect(func(ctx context.Context, s *core.Socket) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			result <- s.Call(ctx, "ask", nil)
			return nil
		})
		c := r.join()
		c.expect(`20["ask"]`)
		if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
		c.send(`30["late"]`) // is ignored
	})
	inBubble(t, "ends when the client leaves", func(t *testing.T) {
		r := newRig(t, core.Options{})
		result := make(chan error, 1)
		r.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
			result <- s.Call(context.Background(), "ask", nil)
			return nil
		})
		c := r.join()
		c.expect(`20["ask"]`)
		_ = c.pipe.Close()
		err := <-result
		if !errors.Is(err, core.ErrDisconnected) || !errors.Is(err, &core.CloseError{Reason: core.TransportClose}) {
			t.Errorf("Call: %v", err)
		}
	})
	inBubble(t, "several answers, and a bad one", func(t *testing.T) {
		r := newRig(t, core.Options{})
		result := make(chan error, 1)
		core.On(r.Of("/"), "go", func(ctx context.Context, s *core.Socket, _ core.None) (core.None, error) {
			var a int
			var b string
			if err := s.Call(ctx, "ask", []any{1, "x"}, &a, &b); err != nil || a != 1 || b != "x" {
				t.Errorf("Call: %v %d %q", err, a, b)
			}
			result <- s.Call(ctx, "ask", nil, &a)
			return core.None{}, nil
		})
		c := r.join()
		c.send(`2["go"]`)
		c.expect(`20["ask",1,"x"]`)
		c.send(`30[1,"x","surplus"]`)
		c.expect(`21["ask"]`)
		c.send(`31["no number"]`)
		if err := <-result; err == nil {
			t.Error("a string was decoded into an int")
		}
	})
}

func TestOrderAndWaiting(t *testing.T) {
	inBubble(t, "events of one socket are handled in order, those of others do not wait", func(t *testing.T) {
		r := newRig(t, core.Options{})
		var order []int
		gate := make(chan struct{})
		core.On(r.Of("/"), "slow", func(_ context.Context, _ *core.Socket, n int) (int, error) {
			<-gate
			order = append(order, n)
			return n, nil
		})
		core.On(r.Of("/"), "fast", func(context.Context, *core.Socket, core.None) (core.None, error) { return core.None{}, nil })
		a, b := r.join(), r.join()
		for i := range 100 {
			a.send(fmt.Sprintf(`2["slow",%d]`, i))
		}
		b.send(`21["fast"]`)
		b.expect(`31[]`)
		close(gate)
		a.send(`29["fast"]`)
		a.expect(`39[]`)
		for i, n := range order {
			if i != n {
				t.Fatalf("order %v", order)
			}
		}
		if len(order) != 100 {
			t.Errorf("%d events handled", len(order))
		}
	})
	inBubble(t, "a blocked handler does not stall heartbeats", func(t *testing.T) {
		r := newRig(t, core.Options{})
		gate := make(chan struct{})
		core.On(r.Of("/"), "slow", func(context.Context, *core.Socket, core.None) (core.None, error) {
			<-gate
			return core.None{}, nil
		})
		c := r.join()
		c.send(`21["slow"]`)
		time.AfterFunc(10*time.Minute, func() { close(gate) })
		c.expect(`31[]`) // answers the pings on the way
	})
	inBubble(t, "events that wait are bounded, and the client with them", func(t *testing.T) {
		r := newRig(t, core.Options{MaxQueuedBytes: 1000})
		gate := make(chan struct{})
		handled := 0
		core.On(r.Of("/"), "slow", func(context.Context, *core.Socket, core.None) (core.None, error) {
			<-gate
			handled++
			return core.None{}, nil
		})
		c := r.join()
		sent := 0
		go func() {
			for range 1000 {
				c.send(`2["slow"]`)
				sent++
			}
		}()
		synctest.Wait()
		if sent > 50 {
			t.Errorf("%d events were taken while one was handled", sent)
		}
		<-time.After(10 * time.Minute) // the client is not blamed for missing pongs
		close(gate)
		synctest.Wait()
		if handled != 1000 {
			t.Errorf("%d events were handled", handled)
		}
	})
	inBubble(t, "B5.1.7 OnConnect comes before events, and its emits after the reply", func(t *testing.T) {
		r := newRig(t, core.Options{})
		gate := make(chan struct{})
		r.Of("/").OnConnect(func(ctx context.Context, s *core.Socket) error {
			<-gate
			return s.Emit(ctx, "hello")
		})
		core.On(r.Of("/"), "x", func(ctx context.Context, s *core.Socket, _ core.None) (core.None, error) {
			return core.None{}, s.Emit(ctx, "x")
		})
		c := r.join()
		c.send(`2["x"]`)
		synctest.Wait()
		close(gate)
		c.expect(`2["hello"]`, `2["x"]`)
	})
}
