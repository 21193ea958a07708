package interop

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// answering lets a client answer what it is asked with some values.
func (c *client) answering(t *testing.T, event string, values ...any) {
	t.Helper()
	c.run(t, `const [event, ...values] = args; socket.on(event, (...asked) => asked.at(-1)(...values))`, append([]any{event}, values...)...)
}

// The server asks one client, and answers it (C32).
func TestAskOne(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		c, sid := connect(t, n, "a", a.url, way, nil)
		s := a.socket(t, "/", sid)
		bytes := []byte{0, 1, 255}

		// None, several, with binary.
		c.answering(t, "none")
		if err := s.Call(t.Context(), "none", []any{1, nil, bytes}); err != nil {
			t.Error(err)
		}
		c.answering(t, "several", "text", 7, bytes)
		var (
			text   string
			number int
			data   []byte
		)
		if err := s.Call(t.Context(), "several", nil, &text, &number, &data); err != nil || text != "text" || number != 7 || !slices.Equal(data, bytes) {
			t.Errorf("answers %q, %d, %v: %v", text, number, data, err)
		}
		if got, err := core.NewEvent[core.Args2[int, []byte], core.Args3[string, int, []byte]]("several").
			Call(t.Context(), s, core.Args2[int, []byte]{A: 1, B: bytes}); err != nil || !cmp.Equal(got, core.Args3[string, int, []byte]{A: "text", B: 7, C: bytes}) {
			t.Errorf("typed: %v: %v", got, err)
		}

		// No answer in time; one that is late is nobody's.
		ctx, cancel := context.WithCancelCause(t.Context())
		waited := errors.New("waited long enough")
		ended := make(chan error, 1)
		go func() { ended <- s.Call(ctx, "slow", nil) }()
		slow := c.message(t, "slow")
		cancel(waited)
		if err := <-ended; !errors.Is(err, waited) {
			t.Errorf("Call ends with %v", err)
		}
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": slow.Ack, "args": []any{"late"}}))
		if err := s.Call(t.Context(), "several", nil, &text); err != nil || text != "text" {
			t.Errorf("the next answer is %q: %v", text, err)
		}

		// The client leaves.
		go func() { ended <- s.Call(context.Background(), "slow", nil) }()
		c.message(t, "slow")
		c.do(t, "disconnect", nil)
		if err := <-ended; !errors.Is(err, core.ErrDisconnected) || core.ReasonOf(err) != core.ClientDisconnect {
			t.Errorf("Call ends with %v", err)
		}
	})
}

// The server asks many: each is in the result once, whoever answers (C45).
func TestAskMany(t *testing.T) {
	ask := core.NewEvent[string, string]("ask")
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		all := gather(t, n, a, way, map[string][]string{"ann": {"red"}, "ben": {"red"}, "cleo": {"red"}, "dan": nil})
		ns := a.server.Of("/")
		for _, name := range []string{"ann", "ben", "dan"} {
			all.clients[name].answering(t, "ask", name, "and more")
			all.clients[name].answering(t, "bytes", []byte(name))
		}
		// question asks a target and gives up when so many have answered. It
		// returns the answers by name, and the error of who has none.
		question := func(to core.Target, enough int) map[string]any {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := map[string]any{}
			for r, err := range ask.CallAll(ctx, to, "?") {
				name := all.nameOf(r.SocketID)
				if _, twice := got[name]; twice {
					t.Errorf("%s is there twice", name)
				}
				switch {
				case err == nil:
					got[name] = r.Value
				case errors.Is(err, core.ErrDisconnected):
					got[name] = "has left"
				default:
					got[name] = err.Error()
				}
				if len(got) == enough {
					cancel()
				}
			}
			return got
		}
		for _, q := range []struct {
			what   string
			to     core.Target
			enough int
			want   map[string]any
		}{
			{"all answer", ns.Except(all.sockets["cleo"].ID()), 0, map[string]any{"ann": "ann", "ben": "ben", "dan": "dan"}},
			{"a room, one is silent", ns.To("red"), 2, map[string]any{"ann": "ann", "ben": "ben", "cleo": "context canceled"}},
			{"from a socket", all.sockets["ann"].To("red").Except(all.sockets["cleo"].ID()), 0, map[string]any{"ben": "ben"}},
			{"by id", ns.To(all.sockets["dan"].ID()), 0, map[string]any{"dan": "dan"}},
			{"nobody", ns.To("none"), 0, map[string]any{}},
		} {
			if d := diff(q.want, question(q.to, q.enough)); d != "" {
				t.Errorf("%s (-want +got):\n%s", q.what, d)
			}
		}
		for r, err := range ns.To("red").CallAll(t.Context(), "ask", nil) {
			if !errors.Is(err, core.ErrNoDeadline) {
				t.Errorf("without a deadline: %v, %v", r, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for r, err := range ns.To(all.sockets["ann"].ID()).CallAll(ctx, "bytes", []any{[]byte("?")}) {
			var data []byte
			if err == nil {
				err = r.Answer.Bind(&data)
			}
			if string(data) != "ann" || err != nil {
				t.Errorf("binary: %q: %v", data, err)
			}
		}

		// One leaves instead of answering.
		all.clients["cleo"].run(t, `socket.on("ask", () => socket.disconnect())`)
		if d := diff(map[string]any{"ann": "ann", "ben": "ben", "cleo": "has left"}, question(ns.To("red"), 0)); d != "" {
			t.Errorf("one leaves (-want +got):\n%s", d)
		}
	})
}

// The client asks, with and without patience, in all the ways it has (C32, C33).
func TestAskServer(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		gate := make(chan struct{})
		ns := a.server.Of("/")
		core.On(ns, "slow", func(context.Context, *core.Socket, core.None) (string, error) {
			<-gate
			return "late", nil
		})
		core.On(ns, "several", func(_ context.Context, _ *core.Socket, in core.Args2[int, []byte]) (core.Args3[int, []byte, string], error) {
			return core.Args3[int, []byte, string]{A: in.A, B: in.B, C: "more"}, nil
		})
		core.On(ns, "message", func(_ context.Context, _ *core.Socket, text string) (string, error) { return text, nil })
		c, _ := connect(t, n, "a", a.url, way, nil)
		for body, want := range map[string]any{
			`return await socket.emitWithAck("echo", args[0])`:                                []byte("bytes"),
			`return await socket.timeout(30_000).emitWithAck("echo", args[0])`:                []byte("bytes"),
			`return await new Promise((end) => socket.emit("echo", args[0], end))`:            []byte("bytes"),
			`return await new Promise((end) => socket.send("text", end))`:                     "text",
			`return await new Promise((end) => socket.emit("join", "red", (...a) => end(a)))`: []any{},
			`return await new Promise((end) => socket.emit("several", 1, args[0], (...a) => end(a)))`: []any{
				1.0, []byte("bytes"), "more",
			},
			`return await new Promise((end) => socket.timeout(30_000).emit("several", 1, args[0], (...a) => end(a)))`: []any{
				nil, 1.0, []byte("bytes"), "more",
			},
			// The reference never answers these; here nobody waits in vain.
			`return (await socket.timeout(30_000).emitWithAck("nobody")).error.code`: core.CodeUnknownEvent,
			`return (await socket.emitWithAck("several", "?")).error.code`:           core.CodeBadPayload,
		} {
			if d := diff(want, c.run(t, body, []byte("bytes"))); d != "" {
				t.Errorf("%s (-want +got):\n%s", body, d)
			}
		}
		const expired = "operation has timed out"
		if got := c.fails(t, `await socket.timeout(0).emitWithAck("slow")`); got != expired {
			t.Errorf("timeout 0: %q", got)
		}
		if got := c.fails(t, `await socket.timeout(20).emitWithAck("slow")`); got != expired {
			t.Errorf("no answer: %q", got)
		}
		close(gate) // the answer is late, and does no harm
		c.call(t, "echo", "still here")
	})
}
