package interop

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
)

// A crowd is some clients of one app, each with a socket at the server.
type crowd struct {
	clients map[string]*client
	sockets map[string]*core.Socket
}

// gather connects a client for each name, and puts it into rooms.
func gather(t *testing.T, n *node, a *app, way route, rooms map[string][]string) crowd {
	t.Helper()
	all := crowd{map[string]*client{}, map[string]*core.Socket{}}
	for name := range rooms {
		all.clients[name] = n.open(t, name, a.url, way.options, nil)
	}
	for name, c := range all.clients {
		s := a.socket(t, "/", c.event(t, "connect").SID)
		if err := s.Join(t.Context(), rooms[name]...); err != nil {
			t.Fatal(err)
		}
		all.sockets[name] = s
	}
	return all
}

// nameOf is the client that has a socket.
func (all crowd) nameOf(id string) string {
	for name, s := range all.sockets {
		if s.ID() == id {
			return name
		}
	}
	return id
}

// Every form of sending in appendix A, each to whom it says and nobody else,
// once, in the order of sending (C24, C42, C43).
func TestSendForms(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		all := gather(t, n, a, way, map[string][]string{"ann": {"r1"}, "ben": {"r1", "r2"}, "cleo": {"r3", "r4"}, "dan": nil})
		ns, s, dan := a.server.Of("/"), all.sockets["ann"], all.sockets["dan"]
		family := a.server.OfPattern("/family/{child}")
		for name, more := range map[string]map[string]any{
			"eve": {"shares": all.clients["dan"], "namespace": "/chat"},
			"fay": {"shares": all.clients["dan"], "namespace": "/family/1"},
			"gus": {"shares": all.clients["cleo"], "namespace": "/family/2"},
		} {
			c, sid := connect(t, n, name, "", route{}, more)
			all.clients[name] = c
			if name == "gus" {
				if err := a.server.Of("/family/2").Socket(sid).Join(t.Context(), "r1"); err != nil {
					t.Fatal(err)
				}
			}
		}
		stored := ns.To("r1")
		_ = stored.To("r3").Except("r2").Compress(false) // leaves it alone

		for _, form := range []struct {
			what string
			to   interface {
				Emit(ctx context.Context, event string, args ...any) error
			}
			gets string
		}{
			{"one client", s, "ann"},
			{"one client, with modifiers", s.Self().Compress(false), "ann"},
			{"one client by id", ns.To(s.ID()), "ann"},
			{"all of the namespace", ns, "ann ben cleo dan"},
			{"all but the sender", s.Broadcast(), "ben cleo dan"},
			{"a room", ns.To("r1"), "ann ben"},
			{"a room but the sender", s.To("r1"), "ben"},
			{"several rooms", ns.To("r1", "r2", "r3"), "ann ben cleo"},
			{"several rooms, one after the other", ns.To("r1").In("r2").To("r2", "r3"), "ann ben cleo"},
			{"several rooms but the sender", s.To("r1", "r3"), "ben cleo"},
			{"everybody but a room", ns.Except("r1"), "cleo dan"},
			{"everybody but a room and the sender", s.Except("r3"), "ben dan"},
			{"everybody but an id", ns.Except(s.ID()), "ben cleo dan"},
			{"rooms but a room", ns.To("r1", "r2", "r3").Except("r4"), "ann ben"},
			{"rooms but a room and the sender", s.To("r1", "r2", "r3").Except("r4"), "ben"},
			{"a private message", s.To(dan.ID()), "dan"},
			{"a private message to oneself", s.To(s.ID()), ""},
			{"the sender as well as its room", ns.To("r2", s.ID()), "ann ben"},
			{"an empty room", ns.To("none"), ""},
			{"another namespace", a.server.Of("/chat"), "eve"},
			{"a room of this name elsewhere", a.server.Of("/chat").To("r1"), ""},
			{"a family", family, "fay gus"},
			{"a room of a family", family.To("r1"), "gus"},
			{"a family but a room", family.Except("r1"), "fay"},
			{"only this server", ns.To().Local(), "ann ben cleo dan"},
			{"only this server, from a socket", s.To("r1").Local(), "ben"},
			{"not compressed", ns.To("r3").Compress(false), "cleo"},
			{"what was stored", stored, "ann ben"},
		} {
			// Once as text and once with an attachment.
			for _, args := range [][]any{{form.what}, {form.what, []byte(form.what), nil}} {
				if err := form.to.Emit(t.Context(), "news", args...); err != nil {
					t.Errorf("%s: %v", form.what, err)
				}
			}
			for name, c := range all.clients {
				if slices.Contains(strings.Fields(form.gets), name) {
					got := c.messages(t, "news", 2)
					if d := diff([]any{form.what}, got[0].Args); d != "" {
						t.Errorf("%s (-want +got):\n%s", name, d)
					}
					if d := diff([]any{form.what, []byte(form.what), nil}, got[1].Args); d != "" {
						t.Errorf("%s (-want +got):\n%s", name, d)
					}
				}
			}
		}
		// What nobody should have got would have come before this.
		for name, c := range all.clients {
			if name != "fay" && name != "gus" { // nobody answers there
				c.call(t, "echo", nil)
			}
			if extra := c.take(isMessage("news")); len(extra) > 0 {
				t.Errorf("%s received what was not for it: %v", name, extra)
			}
		}
	})
}

// Targets can be put into rooms and taken out, listed and disconnected (C44,
// C46), from the namespace or, all namespaces at once, from the server (C19).
func TestTargetForms(t *testing.T) {
	eachCodec(t, settings{}, func(t *testing.T, n *node, a *app, way route) {
		all := gather(t, n, a, way, map[string][]string{"ann": {"red"}, "ben": {"red"}, "cleo": nil})
		ns := a.server.Of("/")
		wantSockets := func(to core.Target, want ...string) {
			t.Helper()
			sockets := to.Sockets()
			got := make([]string, len(sockets))
			for i, s := range sockets {
				got[i] = all.nameOf(s.ID())
			}
			slices.Sort(got)
			if d := diff(want, got); d != "" {
				t.Errorf("sockets (-want +got):\n%s", d)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		wantSockets(ns.To(), "ann", "ben", "cleo")
		wantSockets(ns.To("red"), "ann", "ben")
		wantSockets(all.sockets["ann"].To("red"), "ben")

		must(ns.To("red").Join(t.Context(), "blue", "green"))
		must(ns.To().Leave(t.Context(), "green", "unknown"))
		must(ns.Except("red").Join(t.Context(), "yellow"))
		wantSockets(ns.To("blue"), "ann", "ben")
		wantSockets(ns.To("yellow"), "cleo")
		rooms := ns.Rooms()
		slices.Sort(rooms)
		if d := diff([]string{"blue", "red", "yellow"}, rooms); d != "" { // no empty one
			t.Errorf("rooms (-want +got):\n%s", d)
		}
		must(ns.To("blue").Emit(t.Context(), "blue"))
		all.clients["ann"].message(t, "blue")
		all.clients["ben"].message(t, "blue")

		// From the namespace: the client's others stay.
		chat, _ := connect(t, n, "chat", "", route{}, map[string]any{"shares": all.clients["ann"], "namespace": "/chat"})
		ns.To("red").Except(all.sockets["ben"].ID()).Disconnect()
		if got := all.clients["ann"].event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("ann is told %q", got)
		}
		chat.call(t, "echo", "still here")
		wantSockets(ns.To("red"), "ben")
		if err := all.sockets["ann"].Join(t.Context(), "late"); !errors.Is(err, core.ErrDisconnected) { // C37
			t.Errorf("Join after the end: %v", err)
		}
		all.clients["ann"].do(t, "connect", nil) // it does not by itself
		if again := all.clients["ann"].event(t, "connect").SID; again == all.sockets["ann"].ID() {
			t.Error("ann has come back with its old id")
		}

		// From the server.
		three := map[string]*client{"/": all.clients["ben"]}
		three["/chat"], _ = connect(t, n, "chat", "", route{}, map[string]any{"shares": three["/"], "namespace": "/chat"})
		three["/admin"], _ = connect(t, n, "admin", "", route{options: map[string]any{"auth": map[string]any{"token": "secret"}}},
			map[string]any{"shares": three["/"], "namespace": "/admin"})
		isEnd := func(s served) bool { return s.Kind == "disconnect" }
		a.await(t, "ann's end", isEnd)
		sessions := a.server.Sessions()
		ns.To("red").CloseSessions()
		for namespace, c := range three {
			if got := c.event(t, "disconnect").Reason; got != "io server disconnect" {
				t.Errorf("ben is told %q in %s", got, namespace)
			}
		}
		for _, end := range a.awaitN(t, 3, "end of ben's sockets", isEnd) {
			if end.Reason != "server namespace disconnect" {
				t.Errorf("socket of %s ends for %q", end.Namespace, end.Reason)
			}
		}
		await(t, "end of ben's session", func() bool { return a.server.Sessions() == sessions-1 })
		chat.call(t, "echo", "still here")
		all.clients["cleo"].call(t, "echo", "still here")
	})
}
