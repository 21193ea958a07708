package interop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// eachCodec runs a test for every route and both codecs.
func eachCodec(t *testing.T, test func(t *testing.T, n *node, a *app, way route)) {
	n := startNode(t)
	for _, way := range routes {
		for parser, c := range map[string]codec.Codec{
			"": codec.JSON(codec.JSONOptions{}), "msgpack": codec.MsgPack(codec.MsgPackOptions{}),
		} {
			t.Run(strings.TrimSuffix(way.name+"/"+parser, "/"), func(t *testing.T) {
				t.Parallel()
				test(t, n, startApp(t, "own", settings{codec: c}), speaking(way, parser))
			})
		}
	}
}

// A crowd is three clients: ann is in the red room, ben in red and blue, cleo in
// blue.
type crowd struct {
	t       *testing.T
	app     *app
	clients map[string]*client
	sockets map[string]*core.Socket
}

func gather(t *testing.T, n *node, a *app, way route) *crowd {
	t.Helper()
	c := &crowd{t: t, app: a, clients: make(map[string]*client), sockets: make(map[string]*core.Socket)}
	for name, rooms := range map[string][]string{"ann": {"red"}, "ben": {"red", "blue"}, "cleo": {"blue"}} {
		member, id := connect(t, n, name, a.url, way, nil)
		c.clients[name], c.sockets[name] = member, a.socket(t, "/", id)
		if err := c.sockets[name].Join(t.Context(), rooms...); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// received takes the events of a name, and returns who has received them, with
// their arguments.
func (c *crowd) received(event string) map[string][][]any {
	c.t.Helper()
	got := make(map[string][][]any)
	for name, member := range c.clients {
		member.call(c.t, "echo", nil) // what was sent before is there now
		for _, r := range member.take(isMessage(event)) {
			got[name] = append(got[name], r.Args)
		}
	}
	return got
}

// Appendix A; C34, C35, C42, C43: everybody who is meant has it once, and nobody
// else.
func TestTargets(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		c := gather(t, n, a, way)
		ns := a.server.Of("/")
		ann, ben, cleo := c.sockets["ann"], c.sockets["ben"], c.sockets["cleo"]
		red := ns.To("red")
		for i, form := range []struct {
			name   string
			target core.Target
			want   string
		}{
			{"everybody", ns.To(), "ann ben cleo"},
			{"everybody else", ann.Broadcast(), "ben cleo"},
			{"a room", red, "ann ben"},
			{"others in a room", ann.To("red"), "ben"},
			{"a room, from outside", cleo.To("red"), "ann ben"},
			{"a union", ns.To("red", "blue"), "ann ben cleo"},
			{"a union, by steps", ann.To("red").To("blue"), "ben cleo"},
			{"a room but another", red.Except("blue"), "ann"},
			{"all but a room", ns.Except("red"), "cleo"},
			{"all but one", ns.Except(ben.ID()), "ann cleo"},
			{"the same target, unchanged", red, "ann ben"},
			{"one", ns.To(cleo.ID()), "cleo"},
			{"itself", ann.Self(), "ann"},
			{"nobody", ns.To("green"), ""},
			{"volatile", ns.To("blue").Volatile(), "ben cleo"},
			{"uncompressed", ns.To("blue").Compress(false), "ben cleo"},
			{"local", ns.To("blue").Local(), "ben cleo"},
			{"latest", ns.To("blue").Latest("k"), "ben cleo"},
			{"all of it", ann.To("red", "blue").Except(cleo.ID()).Local().Compress(false).Overflow(core.Refuse), "ben"},
		} {
			args := []any{form.name, float64(i), []byte{0, byte(i)}, nil, map[string]any{"deep": []any{[]byte("x")}}}
			if err := form.target.Emit(t.Context(), "news", args...); err != nil {
				t.Errorf("%s: %v", form.name, err)
			}
			want := make(map[string][][]any)
			for name := range strings.FieldsSeq(form.want) {
				want[name] = [][]any{args}
			}
			got := c.received("news")
			if form.name == "volatile" && way.ends == "polling" {
				continue // who is between two polls does not get it
			}
			if d := diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", form.name, d)
			}
		}
	})
}

// C45, and answers from one: how many there are, and who is missing.
func TestAnswers(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		c := gather(t, n, a, way)
		ns := a.server.Of("/")
		ask := core.NewEvent[string, core.Args2[string, []byte]]("ask")
		for _, silent := range []string{"", "ben"} {
			var answering sync.WaitGroup
			for name, member := range c.clients {
				if name == silent {
					continue
				}
				answering.Go(func() {
					question := member.message(t, "ask")
					member.do(t, "answer", map[string]any{"ack": question.Ack, "args": packAll([]any{name, []byte(name)})})
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if silent != "" {
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			}
			answers, missing := map[string]string{}, []string{}
			for reply, err := range ask.CallAll(ctx, ns.To("red", "blue"), "who?") {
				if err != nil {
					missing = append(missing, fmt.Sprint(reply.SocketID, errors.Is(err, context.DeadlineExceeded)))
					continue
				}
				answers[reply.Value.A] = string(reply.Value.B)
			}
			cancel()
			answering.Wait()
			want, wantMissing := map[string]string{"ann": "ann", "ben": "ben", "cleo": "cleo"}, []string{}
			if silent != "" {
				delete(want, silent)
				wantMissing = []string{c.sockets[silent].ID() + "true"}
			}
			if !cmp.Equal(answers, want) || !slices.Equal(missing, wantMissing) {
				t.Errorf("answers %v, missing %v, want %v and %v", answers, missing, want, wantMissing)
			}
		}

		// C33: a client that does not answer.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := ask.Call(ctx, c.sockets["ann"], "anybody?"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// C46, C19: whole targets join, leave and are disconnected.
func TestTargetsMove(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		c := gather(t, n, a, way)
		ns := a.server.Of("/")
		members := func(room string) (names []string) {
			for _, s := range ns.To(room).Sockets() {
				for name, socket := range c.sockets {
					if s == socket {
						names = append(names, name)
					}
				}
			}
			slices.Sort(names)
			return names
		}
		want := func(room string, names ...string) {
			t.Helper()
			if got := members(room); !slices.Equal(got, names) {
				t.Errorf("in %s are %v, want %v", room, got, names)
			}
		}
		if err := ns.To("red").Join(t.Context(), "green", "grey"); err != nil {
			t.Error(err)
		}
		want("green", "ann", "ben")
		if err := ns.To("blue").Leave(t.Context(), "green"); err != nil {
			t.Error(err)
		}
		want("green", "ann")
		want("grey", "ann", "ben")

		shared, _ := connect(t, n, "shared", "", route{}, map[string]any{"shares": c.clients["ben"], "namespace": "/chat"})
		ns.To("red").Except("blue").Disconnect()
		if got := c.clients["ann"].event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("ann says %q", got)
		}
		ns.To("red").CloseSessions()
		for _, member := range []*client{c.clients["ben"], shared} {
			if got := member.event(t, "disconnect").Reason; got != "io server disconnect" {
				t.Errorf("%s says %q", member.name, got)
			}
		}
		want("red")
		want("blue", "cleo")
		c.clients["cleo"].call(t, "echo", "still here")
	})
}

// C34: volatile events are not kept for a client that does not read; others are.
func TestVolatile(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		wire := startLink(t, a.addr)
		member, id := connect(t, n, "ann", wire.url, way, nil)
		settle(t, member, way)
		s := a.socket(t, "/", id)
		wire.stall()
		filler := strings.Repeat("x", 100_000)
		const count = 100
		dropped := a.server.Stats().VolatileDropped
		for i := range count { // far more than the network holds
			if err := s.Self().Volatile().Emit(t.Context(), "volatile", i, filler); err != nil {
				t.Error(err)
			}
		}
		if err := s.Emit(t.Context(), "kept", []byte("bytes")); err != nil {
			t.Error(err)
		}
		wire.resume()
		if d := diff([]any{[]byte("bytes")}, member.message(t, "kept").Args); d != "" {
			t.Errorf("kept (-want +got):\n%s", d)
		}
		got := uint64(len(member.take(isMessage("volatile"))))
		if lost := a.server.Stats().VolatileDropped - dropped; lost == 0 || got+lost != count {
			t.Errorf("%d volatile events arrived, %d were dropped, want %d in all", got, lost, count)
		}
		if err := s.Self().Volatile().Emit(t.Context(), "volatile", []byte{1}); err != nil {
			t.Error(err)
		}
		if way.ends == "websocket" { // which can take it at any time
			member.message(t, "volatile")
		}
	})
}

// C40: functions for every event, in and out.
func TestCatchAll(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		seen := newJournal[string]()
		ns := a.server.Of("/chat")
		ns.OnAny(func(_ context.Context, _ *core.Socket, event string, args core.Args) {
			var first any
			_ = args.Bind(&first)
			seen.add(fmt.Sprint("in ", event, " ", first))
		})
		ns.OnAnyOutgoing(func(_ *core.Socket, event string, args []any) { seen.add(fmt.Sprint("out ", event, " ", args)) })
		member, id := connect(t, n, "ann", a.url, way, map[string]any{"namespace": "/chat"})
		member.call(t, "echo", "x")
		member.emit(t, "unheard of", []byte("abc"))
		member.call(t, "up", 3)
		a.emit(t, "/chat", id, "told", "y")
		member.message(t, "told")
		want := []string{"in echo x", "in unheard of [97 98 99]", "in up 3", "out down [3]", "out told [y]"}
		if got := seen.all(); !slices.Equal(got, want) {
			t.Errorf("seen %q, want %q", got, want)
		}
	})
}

// What is said last is heard, though the session is closed right behind it.
func TestLastWords(t *testing.T) {
	eachCodec(t, func(t *testing.T, n *node, a *app, way route) {
		first, id := connect(t, n, "first", a.url, way, nil)
		s := a.socket(t, "/", id)
		for i := range 3 {
			a.emit(t, "/", id, "bye", i, []byte("bytes"))
		}
		s.CloseSession()
		first.messages(t, "bye", 3)
		if got := first.event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("client says %q", got)
		}

		second, id := connect(t, n, "second", a.url, way, nil)
		a.emit(t, "/", id, "bye")
		a.shutdown(t)
		second.message(t, "bye")
	})
}
