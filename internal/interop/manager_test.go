package interop

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/core"
)

// Which sockets of a client share a connection, and what becomes of it (C20,
// C21, C58, C60).
func TestManagers(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		if a.server.Of("") != a.server.Of("/") || a.server.Of("chat") != a.server.Of("/chat") {
			t.Error("a name without its slash is another namespace")
		}
		c, _ := connect(t, n, "a", a.url, way, nil)
		got := c.run(t, `
			const url = args[0];
			const options = { ...socket.io.opts, autoConnect: true, forceNew: false };
			const opened = [];
			const open = async (...more) => {
				const s = io(...more);
				opened.push(s);
				if (!s.connected) await new Promise((end, fail) => s.once("connect", end).once("connect_error", fail));
				return s;
			};
			try {
				const main = await open(url, options);
				const chat = await open(url + "/chat", options); // after the connection is there
				const again = await open(url + "/", options);
				const apart = await open(url + "/chat", { ...options, forceNew: true });
				const alone = await open(url + "/admin", { ...options, multiplex: false, auth: { token: "secret" } });
				const out = {
					shares: main.io === chat.io,
					own: new Set([main, again, apart, alone].map((s) => s.io)).size,
					ids: new Set(opened.map((s) => s.id)).size,
				};
				main.disconnect();
				out.stays = await chat.emitWithAck("echo", "still here");
				main.connect(); // on the connection of the other
				out.back = await main.emitWithAck("echo", "back");
				out.stillShares = main.io.engine === chat.io.engine && main.io.engine.readyState;
				return out;
			} finally {
				for (const s of opened) s.disconnect();
			}`, a.url)
		want := map[string]any{"shares": true, "own": 4.0, "ids": 5.0, "stays": "still here", "back": "back", "stillShares": "open"}
		if d := diff(any(want), got); d != "" {
			t.Errorf("managers (-want +got):\n%s", d)
		}
		// The last socket takes the connection with it.
		await(t, "end of the other sessions", func() bool { return a.server.Sessions() == 1 })
	})
}

// A client that is not let in tries again and counts (C59, C61).
func TestRefusedHandshakes(t *testing.T) {
	var (
		mu   sync.Mutex
		seen = map[string]int{} // handshakes, by who comes
	)
	set := settings{options: func(o *core.Options) {
		o.AllowRequest = func(_ context.Context, h *core.Handshake) error {
			mu.Lock()
			defer mu.Unlock()
			who := h.Query.Get("who")
			if seen[who]++; seen[who] <= 3 {
				return errors.New("not yet")
			}
			return nil
		}
	}}
	eachCodec(t, set, func(t *testing.T, n *node, a *app, way route) {
		// open connects a client that may try again so many times.
		open := func(name string, attempts int) *client {
			c := n.open(t, name, a.url, way.with(map[string]any{
				"query": map[string]any{"who": t.Name() + name}, "reconnectionAttempts": attempts, "reconnectionDelay": 1, "reconnectionDelayMax": 5,
			}), map[string]any{"idle": true})
			c.run(t, `
				for (const event of ["reconnect_attempt", "reconnect_error", "reconnect", "reconnect_failed"]) {
					socket.io.on(event, (n) => report("manager", { name: event, args: typeof n === "number" ? [n] : [] }));
				}
				socket.connect();`)
			return c
		}
		managers := func(c *client) (all []heard) {
			for _, r := range c.take(func(r report) bool { return r.Event == "manager" }) {
				all = append(all, heard{r.Name, r.Args})
			}
			return all
		}
		patient := open("patient", 10)
		patient.event(t, "connect")
		want := []heard{
			{"reconnect_attempt", []any{1.0}},
			{"reconnect_error", []any{}},
			{"reconnect_attempt", []any{2.0}},
			{"reconnect_error", []any{}},
			{"reconnect_attempt", []any{3.0}},
			{"reconnect", []any{3.0}},
		}
		patient.call(t, "echo", nil)
		if d := diff(want, managers(patient)); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
		message := "xhr poll error"
		if way.name == "websocket" {
			message = "websocket error"
		}
		for _, r := range patient.awaitN(t, 3, "refusal", func(r report) bool { return r.Event == "connect_error" }) {
			if r.Message != message {
				t.Errorf("refused with %q, want %q", r.Message, message)
			}
		}

		hasty := open("hasty", 1)
		hasty.seen(t, 1, "end of trying", func(r report) bool { return r.Name == "reconnect_error" })
		want = []heard{{"reconnect_attempt", []any{1.0}}, {"reconnect_failed", []any{}}, {"reconnect_error", []any{}}}
		if d := diff(want, managers(hasty)); d != "" {
			t.Errorf("events (-want +got):\n%s", d)
		}
		hasty.run(t, `socket.io.reconnectionAttempts(5); socket.disconnect().connect()`)
		hasty.awaitN(t, 3, "refusal", func(r report) bool { return r.Event == "connect_error" })
		hasty.event(t, "connect")
	})
}

// A client whose handshake nobody answers gives up after its timeout, and finds
// the server once the wire is there (C61).
func TestClientTimeout(t *testing.T) {
	eachCodec(t, settings{pingInterval: time.Second, pingTimeout: 3 * time.Second}, func(t *testing.T, n *node, a *app, way route) {
		wire := startLink(t, a.addr)
		wire.die()
		c := n.open(t, "a", wire.url, way.with(map[string]any{"timeout": 50, "reconnectionDelay": 20, "reconnectionDelayMax": 50}), nil)
		if got := c.event(t, "connect_error").Message; got != "timeout" {
			t.Errorf("gave up with %q", got)
		}
		c.run(t, `socket.io.timeout(30_000)`)
		wire.mend()
		c.event(t, "connect")
		c.call(t, "echo", "here")
	})
}

// Who looks at everything sees it on either side, in order, but for answers
// (C40); and names that are taken are taken on both sides (C28).
func TestCatchAll(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		ns := a.server.Of("/")
		seen := newJournal[heard]()
		ns.OnAny(func(_ context.Context, _ *core.Socket, event string, args core.Args) {
			var text string
			err := args.Bind(&text)
			seen.add(heard{"in " + event, []any{text, err}})
		})
		ns.OnAnyOutgoing(func(_ *core.Socket, event string, args []any) { seen.add(heard{"out " + event, args}) })
		c, sid := connect(t, n, "a", a.url, way, nil)
		c.run(t, `
			const log = [];
			socket.log = log;
			const never = () => log.push("never");
			socket.on("news", () => log.push("handler"));
			socket.onAny((event) => log.push("second " + event));
			socket.prependAny((event) => log.push("first " + event));
			socket.onAny(never).offAny(never);
			socket.onAnyOutgoing((event, ...args) => log.push("outgoing " + event + " " + args.filter((a) => typeof a !== "function").map(String)));
			socket.onAnyOutgoing(never).offAnyOutgoing(never);`)
		s := a.socket(t, "/", sid)
		mustEmit(t, s, "news", "direct")
		mustEmit(t, ns, "news", "all", []byte("bytes"))
		mustEmit(t, s.Broadcast(), "news", "nobody")
		c.answering(t, "ask", "answer")
		if err := s.Call(t.Context(), "ask", []any{"?"}); err != nil {
			t.Error(err)
		}
		if got := c.run(t, `
			const answer = await socket.emitWithAck("echo", "text");
			socket.volatile.emit("nobody", "b");
			await socket.emitWithAck("echo", "end");
			return [answer, ...socket.log];`); !cmp.Equal(got, []any{
			"text",
			"first news", "second news", "handler", "first news", "second news", "handler",
			"first ask", "second ask", "outgoing echo text", "outgoing nobody b", "outgoing echo end",
		}) && !cmp.Equal(got, []any{ // between two posts a polling client drops what is volatile
			"text",
			"first news", "second news", "handler", "first news", "second news", "handler",
			"first ask", "second ask", "outgoing echo text", "outgoing echo end",
		}) {
			t.Errorf("client saw %q", got)
		}
		got := seen.take(func(h heard) bool { return h.Name != "in nobody" })
		want := []heard{
			{"out news", []any{"direct"}},
			{"out news", []any{"all", []byte("bytes")}},
			{"out ask", []any{"?"}},
			{"in echo", []any{"text", nil}},
			{"in echo", []any{"end", nil}},
		}
		if d := diff(want, got); d != "" {
			t.Errorf("server saw (-want +got):\n%s", d)
		}

		for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
			if err := s.Emit(t.Context(), name); err == nil {
				t.Errorf("%s was sent to a socket", name)
			}
			if err := ns.Emit(t.Context(), name); err == nil {
				t.Errorf("%s was sent to a namespace", name)
			}
			if got := c.fails(t, `socket.emit(args[0])`, name); got != `"`+name+`" is a reserved event name` {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}
