package interop

import (
	"context"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/redistest"
	"github.com/upshift-go/upshift/middleware/history"
	"github.com/upshift-go/upshift/middleware/presence"
)

// A pair is two servers that share a Redis. The first speaks JSON with its clients, the
// second MessagePack.
type pair [2]*app

func startPair(t *testing.T, setup func(a *app)) (p pair) {
	t.Helper()
	addr := redistest.Start(t).Addr
	for i, c := range []codec.Codec{codec.JSON(codec.JSONOptions{}), codec.MsgPack(codec.MsgPackOptions{})} {
		p[i] = startApp(t, doors[i], settings{codec: c, options: func(o *core.Options) {
			o.Adapter = redis.New(redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}})
		}})
		p[i].server.Of("/").OnServerSide("ready", func(context.Context, core.Args) (any, error) { return true, nil })
		setup(p[i])
	}
	for _, a := range p {
		await(t, "the other server", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			answers := 0
			for _, err := range a.server.Of("/").ServerSideCall(ctx, "ready") {
				if err == nil {
					answers++
				}
			}
			return answers == 1
		})
	}
	return p
}

// open connects a client to one of the servers, by that URL.
func (p pair) open(t *testing.T, n *node, at int, url string, way route, name string) *client {
	t.Helper()
	if at == 1 {
		way = speaking(way, "msgpack")
	}
	options := map[string]any{"auth": map[string]any{"name": name}, "reconnection": false}
	maps.Copy(options, way.options)
	c := n.open(t, name, url, options, nil)
	c.event(t, "connect")
	settle(t, c, way)
	return c
}

// payloads are the first arguments of events of one name that have come.
func (c *client) payloads(name string) []any {
	came := c.take(isMessage(name))
	all := make([]any, len(came))
	for i, r := range came {
		all[i] = r.Args[0]
	}
	return all
}

// Clients of all servers hear who is in their room, who comes and who goes, as ordinary
// events; one with a tab on each server is one.
func TestPresence(t *testing.T) {
	counts := make(map[*app]func(room string) int)
	all := startPair(t, func(a *app) {
		n := a.server.Of("/")
		p, err := presence.New(a.server, n, presence.Options{Who: func(s *core.Socket, room string) (presence.Member, bool) {
			return presence.Member{Key: nameOf(s), Meta: map[string]any{"title": "the " + nameOf(s)}}, room == "red"
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		counts[a] = p.Count
		core.On(n, "list", func(_ context.Context, _ *core.Socket, room string) ([]presence.Member, error) {
			return p.Members(room), nil
		})
	})
	members := func(names ...string) []any {
		list := make([]any, len(names))
		for i, name := range names {
			list[i] = map[string]any{"key": name, "meta": map[string]any{"title": "the " + name}}
		}
		return list
	}
	// agree waits until all servers know how many are there.
	agree := func(want int) {
		t.Helper()
		for _, a := range all {
			await(t, "the members", func() bool { return counts[a]("red") == want })
		}
	}
	enter := func(c *client, names ...string) {
		t.Helper()
		c.call(t, "join", "red")
		c.seen(t, 1, "state", isMessage(presence.StateEvent))
		want := []any{map[string]any{"room": "red", "count": float64(len(names)), "members": members(names...)}}
		if d := diff(want, c.payloads(presence.StateEvent)); d != "" {
			t.Errorf("state for %s (-want +got):\n%s", c.name, d)
		}
		agree(len(names))
	}
	change := func(count int, joined []any, left ...any) any {
		return map[string]any{"room": "red", "count": float64(count), "joined": joined, "left": append([]any{}, left...)}
	}

	n := startNode(t)
	ann := all.open(t, n, 0, all[0].url, routes[0], "ann")
	ann.call(t, "join", "blue") // does not count
	enter(ann, "ann")
	bob := all.open(t, n, 1, all[1].url, routes[1], "bob")
	enter(bob, "ann", "bob")
	ann.seen(t, 2, "changes", isMessage(presence.DiffEvent))
	wire := startLink(t, all[0].addr)
	tab := all.open(t, n, 0, wire.url, routes[2], "bob")
	enter(tab, "ann", "bob")
	for _, c := range []*client{ann, bob, tab} {
		if d := diff([]any{members("ann", "bob")}, c.call(t, "list", "red")); d != "" {
			t.Errorf("list for %s (-want +got):\n%s", c.name, d)
		}
	}
	// One tab leaves, then the other is lost: only now has he gone.
	bob.call(t, "leave", "red")
	wire.cut()
	agree(1)
	ann.seen(t, 3, "changes", isMessage(presence.DiffEvent))
	carl := all.open(t, n, 1, all[1].url, routes[0], "carl")
	enter(carl, "ann", "carl")
	ann.seen(t, 4, "changes", isMessage(presence.DiffEvent))
	carl.do(t, "disconnect", nil)
	agree(1)
	ann.seen(t, 5, "changes", isMessage(presence.DiffEvent))
	want := []any{
		change(1, members("ann")), change(2, members("bob")), change(1, members(), "bob"),
		change(2, members("carl")), change(1, members(), "carl"),
	}
	if d := diff(want, ann.payloads(presence.DiffEvent)); d != "" {
		t.Errorf("changes for ann (-want +got):\n%s", d)
	}
}

// Who joins late gets what was sent to the room last, from any server, and what is sent
// later as itself; what came before can be asked for page by page.
func TestHistory(t *testing.T) {
	all := startPair(t, func(a *app) {
		n := a.server.Of("/")
		h, err := history.New(a.server, n, history.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		core.On(n, "enter", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
			return core.None{}, h.Join(ctx, s, room)
		})
		core.On(n, "publish", func(ctx context.Context, s *core.Socket, in core.Args2[string, any]) (core.None, error) {
			return core.None{}, h.Emit(ctx, in.A, "message", nameOf(s), in.B)
		})
		core.On(n, "page", func(ctx context.Context, _ *core.Socket, in core.Args3[string, string, int]) ([]history.Entry, error) {
			kept := h.Last(ctx, in.A, math.MaxInt)
			if i := slices.IndexFunc(kept, func(e history.Entry) bool { return e.ID == in.B }); i >= 0 {
				kept = kept[:i]
			}
			return append([]history.Entry{}, kept[max(0, len(kept)-in.C):]...), nil
		})
	})
	n := startNode(t)
	ann := all.open(t, n, 0, all[0].url, routes[1], "ann")
	bob := all.open(t, n, 1, all[1].url, routes[1], "bob")
	var want []any // the arguments of what was sent
	publish := func(c *client, v any) {
		t.Helper()
		<-time.After(time.Millisecond) // what two servers send in the same one has no order
		c.call(t, "publish", "red", v)
		want = append(want, []any{c.name, v})
	}
	enter := func(c *client) []any {
		t.Helper()
		c.call(t, "enter", "red")
		greeting, _ := c.message(t, history.Event).Args[0].(map[string]any)
		if greeting["room"] != "red" {
			t.Errorf("%s is greeted with %v", c.name, greeting)
		}
		events, _ := greeting["events"].([]any)
		return events
	}
	args := func(events []any) []any {
		list := make([]any, len(events))
		for i, e := range events {
			e, _ := e.(map[string]any)
			if e["event"] != "message" || e["id"] == "" || e["time"] == 0.0 {
				t.Errorf("%+v", e)
			}
			list[i] = e["args"]
		}
		return list
	}
	for _, c := range []*client{ann, bob} {
		if events := enter(c); len(events) > 0 {
			t.Errorf("%s is greeted with %v", c.name, events)
		}
	}
	for _, c := range []*client{ann, bob, ann} {
		for _, v := range []any{"ünïcödé", 1.5, []byte{0, 1, 255}, map[string]any{"deep": []any{nil, []byte("inside"), true}}} {
			publish(c, v)
		}
		// The next one sends from another server.
		for _, other := range []*client{ann, bob} {
			other.seen(t, len(want), "messages", isMessage("message"))
		}
	}
	publish(bob, "last")
	for _, c := range []*client{ann, bob} {
		var got []any
		for _, r := range c.messages(t, "message", len(want)) {
			got = append(got, r.Args)
		}
		if d := diff(want, got); d != "" {
			t.Errorf("%s has heard (-want +got):\n%s", c.name, d)
		}
	}

	for at, way := range []route{routes[2], routes[0]} {
		late := all.open(t, n, at, all[at].url, way, "late")
		events := enter(late)
		if d := diff(want, args(events)); d != "" {
			t.Errorf("who is late at server %d gets (-want +got):\n%s", at, d)
		}
		publish(ann, "later")
		if d := diff([]any{"ann", "later"}, late.message(t, "message").Args); d != "" {
			t.Errorf("later (-want +got):\n%s", d)
		}
		if extra := late.take(func(r report) bool { return r.Event == "message" }); len(extra) > 0 {
			t.Errorf("twice: %+v", extra)
		}
		// Back, page by page, from what came later.
		var got []any
		for before := ""; ; {
			page, _ := late.call(t, "page", "red", before, 5)[0].([]any)
			if len(page) == 0 {
				break
			}
			got = append(args(page), got...)
			before, _ = page[0].(map[string]any)["id"].(string)
		}
		if d := diff(want, got); d != "" {
			t.Errorf("page by page at server %d (-want +got):\n%s", at, d)
		}
		late.do(t, "disconnect", nil)
	}
}
