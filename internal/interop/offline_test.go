package interop

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// with adds client options to those of a route.
func (way route) with(more map[string]any) map[string]any {
	options := maps.Clone(more)
	maps.Copy(options, way.options)
	return options
}

// What is sent before the client is connected arrives first and in order, but
// for what may be lost or was given up (C64, C65).
func TestSentBeforeConnected(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		c := n.open(t, "a", a.url, way.options, map[string]any{"idle": true})
		if got := c.run(t, `
			if (socket.connected || socket.id !== undefined) throw new Error("connected by itself");
			for (let i = 0; i < 3; i++) socket.emit("up", i);
			socket.volatile.emit("up", 97);
			socket.once("connect", () => socket.emit("up", 5));
			return await socket.timeout(1).emitWithAck("up", 98).catch((err) => err.message);`); got != "operation has timed out" {
			t.Errorf("given up with %v", got)
		}
		asked := c.running(t, `
			socket.emit("up", 3);
			socket.emit("up", 4);
			return await socket.timeout(30_000).emitWithAck("echo", "asked before");`)
		c.do(t, "connect", nil)
		if got := c.finished(t, asked); got != "asked before" {
			t.Errorf("answer %v", got)
		}
		c.event(t, "connect")
		wantNumbers(t, a, c, 6)
	})
}

// What becomes of the answers that a client waits for when it is disconnected:
// those with a time limit, and promises, fail; what was not sent yet is sent
// after it has come back (C65). Its id is the server's, and changes (C62).
func TestAsksAcrossDisconnect(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		reached := newJournal[string]()
		core.On(a.server.Of("/"), "stuck", func(ctx context.Context, s *core.Socket, _ core.None) (core.None, error) {
			reached.add(s.ID())
			<-ctx.Done()
			return core.None{}, nil
		})
		c, sid := connect(t, n, "a", a.url, way, nil)
		stuck := c.running(t, `
			socket.emit("stuck", () => report("plain"));
			const outcomes = [
				socket.timeout(30_000).emitWithAck("stuck"),
				socket.emitWithAck("stuck"),
				new Promise((end, fail) => socket.timeout(30_000).emit("stuck", (err) => (err ? fail(err) : end("answered")))),
			];
			return await Promise.all(outcomes.map((p) => p.catch((err) => err.message)));`)
		reached.await(t, "first event", func(id string) bool { return id == sid })
		a.disconnect(t, "/", sid)
		const gone = "socket has been disconnected"
		if d := diff(any([]any{gone, gone, gone}), c.finished(t, stuck)); d != "" {
			t.Errorf("outcomes (-want +got):\n%s", d)
		}
		c.event(t, "disconnect")
		if got := c.run(t, `return [socket.id, socket.active]`); !cmp.Equal(got, []any{undefined{}, false}) {
			t.Errorf("id and state %v", got)
		}
		kept := c.running(t, `return await new Promise((end) => socket.emit("echo", "kept", end))`)
		c.do(t, "connect", nil)
		if got := c.finished(t, kept); got != "kept" {
			t.Errorf("answer %v", got)
		}
		if got := c.event(t, "connect").SID; got == sid || a.server.Of("/").Socket(got) == nil {
			t.Errorf("id %s, was %s", got, sid)
		}
		if got := c.take(func(r report) bool { return r.Event == "plain" }); len(got) > 0 {
			t.Error("the one without a limit was answered")
		}
	})
}

// A client with the retries option sends one event at a time, in order, until
// each is answered or has been tried often enough (C67).
func TestRetries(t *testing.T) {
	eachCodec(t, settings{pingInterval: time.Second, pingTimeout: 8 * time.Second}, func(t *testing.T, n *node, a *app, way route) {
		steps := newJournal[int]()
		gate := make(chan struct{})
		ns := a.server.Of("/")
		core.On(ns, "step", func(ctx context.Context, _ *core.Socket, number int) (int, error) {
			steps.add(number)
			select {
			case <-gate:
			case <-ctx.Done():
			}
			return number, nil
		})
		is := func(number int) func(int) bool { return func(got int) bool { return got == number } }
		wire := startLink(t, a.addr)
		c := n.open(t, "a", wire.url, way.with(map[string]any{
			"retries": 2, "ackTimeout": 60_000, "reconnectionDelay": 20, "reconnectionDelayMax": 100,
		}), map[string]any{"idle": true})
		wrote := func() (numbers []any) {
			for _, r := range c.take(func(r report) bool { return r.Event == "wrote" }) {
				numbers = append(numbers, r.Args...)
			}
			return numbers
		}
		c.run(t, `
			socket.onAnyOutgoing((event, number) => report("wrote", { args: [number] }));
			socket.once("connect", () => socket.emit("step", 2, () => report("done")));
			socket.emit("step", 0);
			socket.emit("step", 1, (err, number) => report("answered", { args: [err?.message ?? null, number] }));`)
		if got := wrote(); len(got) > 0 {
			t.Errorf("written while offline: %v", got)
		}
		c.do(t, "connect", nil)
		c.event(t, "connect")
		steps.await(t, "first step", is(0))
		if got := wrote(); !cmp.Equal(got, []any{0.0}) {
			t.Errorf("written before the first answer: %v", got)
		}

		// The connection is lost before the answer, so it is sent again.
		awaitPoll(t, wire, c)
		wire.snap(false)
		c.event(t, "disconnect")
		c.event(t, "connect")
		steps.await(t, "first step again", is(0))
		close(gate)
		if got := c.event(t, "answered").Args; !cmp.Equal(got, []any{nil, 1.0}) {
			t.Errorf("answered with %v", got)
		}
		steps.await(t, "last step", is(2))
		c.event(t, "done")
		if got := wrote(); !cmp.Equal(got, []any{0.0, 1.0, 2.0}) {
			t.Errorf("written: %v", got)
		}
		if d := diff([]int{1}, steps.all()); d != "" {
			t.Errorf("too much has arrived (-want +got):\n%s", d)
		}

		// No answer, three times; then the next.
		silent := make(chan struct{})
		tries := newJournal[string]()
		core.On(ns, "silent", func(context.Context, *core.Socket, core.None) (core.None, error) {
			<-silent
			tries.add("try")
			return core.None{}, nil
		})
		t.Cleanup(func() { close(silent) })
		given := c.running(t, `return await new Promise((end) => socket.timeout(20).emit("silent", (err) => end(err.message)))`)
		next := c.running(t, `return await new Promise((end) => socket.emit("echo", "next", (err, text) => end(text)))`)
		if got := c.finished(t, given); got != "operation has timed out" {
			t.Errorf("given up with %v", got)
		}
		for range 3 {
			silent <- struct{}{}
		}
		if got := c.finished(t, next); got != "next" {
			t.Errorf("answer %v", got)
		}
		if got := len(tries.all()); got != 3 {
			t.Errorf("%d tries, want 3", got)
		}
	})
}

// A client whose timers stood still, as in a laptop that was asleep, does not
// trust its connection: it keeps what it is to send and comes back first (C66).
func TestOverdueHeartbeat(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		c := n.open(t, "a", a.url, way.with(map[string]any{"reconnectionDelay": 20}), nil)
		sid := c.event(t, "connect").SID
		settle(t, c, way)
		if got := c.run(t, `
			socket.io.engine._pingTimeoutTime = Date.now() - 1;
			return await new Promise((end) => socket.emit("echo", "kept", end));`); got != "kept" {
			t.Errorf("answer %v", got)
		}
		if got := c.event(t, "disconnect").Reason; got != "ping timeout" {
			t.Errorf("disconnected for %q", got)
		}
		if got := c.event(t, "connect").SID; got == sid {
			t.Error("the same socket as before")
		}
	})
}

// A garbling codec writes one event in a way that no client reads.
type garbling struct{ codec.Codec }

func (g garbling) Encode(dst []codec.Frame, p *codec.Packet) ([]codec.Frame, error) {
	if p.Event == "garbage" {
		return append(dst, codec.Frame{Data: []byte("garbage")}), nil
	}
	return g.Codec.Encode(dst, p)
}

// A client that cannot read what it is sent ends the connection, and comes back
// (C69).
func TestGarbage(t *testing.T) {
	set := settings{codec: codec.JSON(codec.JSONOptions{}), options: func(o *core.Options) { o.Codec = garbling{o.Codec} }}
	eachCodec(t, set, func(t *testing.T, n *node, a *app, way route) {
		c := n.open(t, "a", a.url, way.with(map[string]any{"reconnectionDelay": 20}), nil)
		a.emit(t, "/", c.event(t, "connect").SID, "garbage")
		if got := c.event(t, "disconnect").Reason; got != "parse error" {
			t.Errorf("disconnected for %q", got)
		}
		c.event(t, "connect")
		c.call(t, "echo", "back again")
	})
}
