package core_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
)

func TestBroadcast(t *testing.T) { // C42, appendix A
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		r.Of("/other")
		clients := make(map[string]*client)
		sockets := make(map[string]*core.Socket)
		n.OnConnect(func(_ context.Context, s *core.Socket) error {
			sockets["new"] = s
			return nil
		})
		for name, rooms := range map[string][]string{"a": {"r1"}, "b": {"r1", "r2"}, "c": {"r2", "r3"}, "d": nil} {
			c := r.join()
			c.send(`0/other,`)
			c.next()
			synctest.Wait()
			clients[name], sockets[name] = c, sockets["new"]
			if err := sockets[name].Join(t.Context(), rooms...); err != nil {
				t.Fatal(err)
			}
		}
		a := sockets["a"]
		for i, test := range []struct {
			name   string
			target core.Target
			want   string
		}{
			{"everybody", n.To(), "abcd"},
			{"a room", n.To("r1"), "ab"},
			{"several rooms, each client once", n.To("r1", "r2"), "abc"},
			{"the same room twice", n.To("r1").In("r1"), "ab"},
			{"everybody but a room", n.Except("r1"), "cd"},
			{"rooms but a room", n.To("r1", "r2").Except("r3"), "ab"},
			{"one client by id", n.To(a.ID()), "a"},
			{"a room and an id in it", n.To("r1", a.ID()), "ab"},
			{"everybody but an id", n.Except(a.ID()), "bcd"},
			{"no such room", n.To("none"), ""},
			{"from a socket: everybody else", a.Broadcast(), "bcd"},
			{"from a socket: a room", a.To("r1"), "b"},
			{"from a socket: but a room", a.Except("r2"), "d"},
			{"from a socket: to another", a.To(sockets["c"].ID()), "c"},
			{"from a socket: to itself", a.To(a.ID()), ""},
		} {
			mark := `2["done",` + strconv.Itoa(i) + `]`
			if err := test.target.Emit(t.Context(), "x", i); err != nil {
				t.Fatal(err)
			}
			if err := n.Emit(t.Context(), "done", i); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, name := range []string{"a", "b", "c", "d"} {
				for m := clients[name].next(); m != mark; m = clients[name].next() {
					got.WriteString(name)
				}
			}
			if got.String() != test.want {
				t.Errorf("%s: reached %q, want %q", test.name, got.String(), test.want)
			}
		}
	})
}

func TestTargetIsAValue(t *testing.T) { // C43, B28
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		c := r.join()
		s := n.Sockets()[0]
		base := n.To("r1")
		_, _ = base.To("r2"), base.Except("r1")
		if err := s.Join(t.Context(), "r2"); err != nil {
			t.Fatal(err)
		}
		if got := len(base.Sockets()); got != 0 {
			t.Errorf("a stored target grew: %d", got)
		}
		if err := s.Join(t.Context(), "r1"); err != nil {
			t.Fatal(err)
		}
		if got := len(base.Sockets()); got != 1 {
			t.Errorf("a stored target has lost its room: %d", got)
		}
		c.send(`1`)
	})
}

func TestRooms(t *testing.T) { // C44
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		n := r.Of("/")
		c := r.join()
		s := n.Sockets()[0]
		ctx := t.Context()
		expect := func(want ...string) {
			t.Helper()
			if got := strings.Join(s.Rooms(), " "); got != strings.Join(want, " ") {
				t.Errorf("rooms %q, want %q", got, want)
			}
		}
		expect(s.ID())
		for range 2 {
			if err := s.Join(ctx, "a", "b", "a"); err != nil {
				t.Fatal(err)
			}
		}
		expect(s.ID(), "a", "b")
		if err := s.Leave(ctx, "a", "unknown"); err != nil {
			t.Fatal(err)
		}
		expect(s.ID(), "b")
		if err := s.Leave(ctx, s.ID()); err != nil {
			t.Fatal(err)
		}
		expect("b")
		if len(n.To(s.ID()).Sockets()) != 0 || len(n.To().Sockets()) != 1 || len(s.Broadcast().Sockets()) != 1 {
			t.Error("a socket that left its own room is addressed by it")
		}
		if err := s.Join(ctx, s.ID()); err != nil {
			t.Fatal(err)
		}
		expect(s.ID(), "b")
		other := r.join()
		synctest.Wait()
		for _, o := range n.Sockets() {
			if o != s {
				if err := o.Join(ctx, s.ID()); err != nil { // an id is a room like any other
					t.Fatal(err)
				}
			}
		}
		if got := len(n.To(s.ID()).Sockets()); got != 2 {
			t.Errorf("%d sockets in the room of an id that another joined", got)
		}
		c.send(`1`)
		synctest.Wait()
		if err := s.Leave(ctx, "b"); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("Leave after the end: %v", err)
		}
		expect(s.ID(), "b")
		other.send(`1`)
	})
}

func TestBroadcastEncodesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		clients := make([]*client, 20)
		for i := range clients {
			clients[i] = r.join()
		}
		encoded := 0
		if err := r.Of("/").Emit(t.Context(), "x", counted{&encoded}); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.expect(`2["x",1]`)
		}
		if encoded != 1 {
			t.Errorf("encoded %d times", encoded)
		}
	})
}

// counted counts how often it is encoded.
type counted struct{ n *int }

func (c counted) MarshalJSON() ([]byte, error) {
	*c.n++
	return []byte("1"), nil
}

func TestEmitRefusesWhatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		c := r.join()
		s := r.Of("/").Sockets()[0]
		for name, emit := range map[string]func() error{
			"a channel":       func() error { return s.Emit(t.Context(), "x", make(chan int)) },
			"a reserved name": func() error { return s.Emit(t.Context(), "disconnect") },
			"a broadcast":     func() error { return r.Of("/").Emit(t.Context(), "x", func() {}) },
		} {
			if err := emit(); err == nil {
				t.Errorf("%s was emitted", name)
			}
		}
		if err := s.Emit(t.Context(), "y"); err != nil {
			t.Fatal(err)
		}
		c.expect(`2["y"]`)
	})
}
