package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
)

func TestPattern(t *testing.T) {
	inBubble(t, "C24 names that match", func(t *testing.T) {
		r := newRig(t, core.Options{})
		d := r.OfPattern("/orgs/{org}/rooms/{room}")
		files := r.OfPattern("/files/{path...}")
		for name, want := range map[string]string{
			"/orgs/7/rooms/a b": "7 a b ", "/orgs/%2F/rooms/}": "%2F } ",
			"/files/a": "  a", "/files/a/b/": "  a/b/",
			"/orgs/7/rooms/": "", "/orgs//rooms/a": "", "/orgs/7/rooms/a/b": "", "/orgs/7/room/a": "", "/orgs/7": "",
			"/files/": "", "/files": "", "/x": "",
		} {
			c := r.dial()
			c.send("0" + name)
			reply := c.next()
			if want == "" {
				if reply != "4"+name+`,{"message":"Invalid namespace"}` {
					t.Errorf("%s: %s", name, reply)
				}
				continue
			}
			if !strings.HasPrefix(reply, "0"+name+`,{"sid":"`) {
				t.Errorf("%s: %s", name, reply)
				continue
			}
			synctest.Wait()
			n := slices.Concat(d.Namespaces(), files.Namespaces())[0]
			if got := n.Param("org") + " " + n.Param("room") + " " + n.Param("path"); got != want || n.Name() != name {
				t.Errorf("%s: got %q in %s, want %q", name, got, n.Name(), want)
			}
			c.pipe.Cut()
			synctest.Wait()
		}
	})
	for _, bad := range []string{
		"", "rooms/{room}", "/rooms", "/a,b/{x}", "/{}", "/{x", "/x}", "/a{x}", "/{x}y", "/{x}/{x}", "/{x...}/y", "/{{x}}",
	} {
		t.Run("malformed "+bad, func(t *testing.T) {
			srv, err := core.New(core.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if recover() == nil {
					t.Errorf("%q is taken for a pattern", bad)
				}
			}()
			srv.OfPattern(bad)
		})
	}
}

// Families share what is registered, before and after their namespaces are
// made, and each namespace has rooms of its own.
func TestDynamic(t *testing.T) {
	inBubble(t, "C24 C27 handlers, rooms, broadcasts", func(t *testing.T) {
		r := newRig(t, core.Options{})
		d := r.OfPattern("/rooms/{room}")
		r.OfPattern("/{any...}").Use(func(core.Handler) core.Handler {
			return func(context.Context, *core.Request) error { return core.Errorf("wrong", "the first family has it") }
		})
		d.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "lobby") })
		core.On(d, "where", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
			return s.Namespace().Param("room"), nil
		})
		own := r.Of("/rooms/own")
		core.On(own, "own", func(context.Context, *core.Socket, core.None) (string, error) { return "yes", nil })
		all := make([]*client, 0, 3)
		for _, name := range []string{"a", "b", "own"} {
			c := r.dial()
			c.send("0/rooms/" + name)
			c.next()
			c.send("2/rooms/"+name+`,0["where"]`, "2/rooms/"+name+`,1["own"]`, "2/rooms/"+name+`,2["later"]`)
			c.expect("3/rooms/" + name + `,0["` + name + `"]`)
			want := `[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`
			if name == "own" {
				want = `["yes"]`
			}
			c.expect("3/rooms/"+name+",1"+want, "3/rooms/"+name+`,2[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`)
			all = append(all, c)
		}
		core.On(d.Group(), "later", func(context.Context, *core.Socket, core.None) (string, error) { return "later", nil })
		r.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				err := next(ctx, req)
				if answer := req.Answer(); len(answer) == 1 {
					req.SetAnswer(fmt.Sprint(answer[0], "!"))
				}
				return err
			}
		})
		for i, name := range []string{"a", "b", "own"} {
			all[i].send("2/rooms/" + name + `,3["later"]`)
			all[i].expect("3/rooms/" + name + `,3["later!"]`)
		}
		emit(t, d, "everybody")
		emit(t, d.To("lobby").Except(own.Sockets()[0].ID()), "lobby")
		for i, name := range []string{"a", "b"} {
			all[i].expect("2/rooms/"+name+`,["everybody"]`, "2/rooms/"+name+`,["lobby"]`)
		}
		all[2].expect(`2/rooms/own,["everybody"]`)
		if n := len(d.To().Sockets()); n != 3 {
			t.Errorf("%d sockets in the family", n)
		}
	})
	inBubble(t, "C24 by function, which may ask elsewhere", func(t *testing.T) {
		r := newRig(t, core.Options{})
		var asked []string
		d := r.OfFunc(func(ctx context.Context, req *core.NamespaceRequest) bool {
			asked = append(asked, req.Name)
			if req.Name == "/panic" {
				panic("of the program")
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			var auth struct{ Token string }
			return req.Auth(&auth) == nil && auth.Token == "let me in" && req.Handshake.Header.Get("User-Agent") == "test"
		})
		r.Of("/static")
		c := r.join()
		c.send(`0/x,{"token":"let me in"}`, `0/static,`) // the answer to the second does not wait for the first
		if reply := c.next(); !strings.HasPrefix(reply, "0/static,") {
			t.Errorf("reply %s", reply)
		}
		if reply := c.next(); !strings.HasPrefix(reply, "0/x,") {
			t.Errorf("reply %s", reply)
		}
		c.send(`0/y,{"token":"?"}`)
		c.expect(`4/y,{"message":"Invalid namespace"}`)
		c.send(`0/panic,`)
		c.expect(`4/panic,{"message":"Invalid namespace"}`)
		if !slices.Equal(asked, []string{"/x", "/y", "/panic"}) || len(d.Namespaces()) != 1 {
			t.Errorf("asked for %q, %d namespaces", asked, len(d.Namespaces()))
		}
		c.send(`0/slow,`, `0/slow,`) // twice is once too often, also while it is being decided
		c.expectEnd()
	})
	inBubble(t, "the client leaves while it is decided", func(t *testing.T) {
		r := newRig(t, core.Options{})
		ended := false
		d := r.OfFunc(func(ctx context.Context, _ *core.NamespaceRequest) bool {
			<-ctx.Done()
			ended = true
			return true
		})
		c := r.join()
		c.send(`0/x,`)
		synctest.Wait()
		c.pipe.Cut()
		synctest.Wait()
		if !ended || len(d.Namespaces()) != 0 {
			t.Errorf("ended %v, %d namespaces are left", ended, len(d.Namespaces()))
		}
	})
	inBubble(t, "C25 two clients at once make one namespace", func(t *testing.T) {
		r := newRig(t, core.Options{})
		d := r.OfFunc(func(context.Context, *core.NamespaceRequest) bool {
			<-time.After(time.Second)
			return true
		})
		a, b := r.dial(), r.dial()
		a.send("0/x")
		b.send("0/x")
		a.next()
		b.next()
		synctest.Wait()
		if n := d.Namespaces(); len(n) != 1 || n[0].Len() != 2 {
			t.Fatalf("%d namespaces", len(n))
		}
		emit(t, d, "both")
		a.expect(`2/x,["both"]`)
		b.expect(`2/x,["both"]`)
	})
}

// C26: namespaces that nobody is in are removed.
func TestDynamicCleanUp(t *testing.T) {
	for name, options := range map[string]core.Options{"plain": {}, "with recovery": {Recovery: &core.Recovery{Window: time.Minute}}} {
		inBubble(t, name, func(t *testing.T) {
			r := newRig(t, options)
			d := r.OfPattern("/rooms/{room}")
			refuse := false
			d.Use(func(next core.Handler) core.Handler {
				return func(ctx context.Context, req *core.Request) error {
					if refuse && req.Connect() {
						<-time.After(time.Second)
						return core.Errorf("no", "no")
					}
					return next(ctx, req)
				}
			})
			pinned := r.Of("/rooms/pinned")
			check := func(when string, want ...string) {
				t.Helper()
				synctest.Wait()
				all := d.Namespaces()
				names := make([]string, len(all))
				for i, n := range all {
					names[i] = strings.TrimPrefix(n.Name(), "/rooms/")
				}
				slices.Sort(names)
				if !slices.Equal(names, want) {
					t.Errorf("%s: namespaces %q, want %q", when, names, want)
				}
			}
			a, b := r.dial(), r.dial()
			a.send("0/rooms/1")
			a.next()
			b.send("0/rooms/1")
			b.next()
			a.send("0/rooms/pinned")
			a.next()
			check("two are in it", "1", "pinned")
			a.send("1/rooms/1")
			check("one is in it", "1", "pinned")

			refuse = true
			a.send("0/rooms/1")
			b.send("1/rooms/1")
			check("one is on its way", "1", "pinned")
			a.expect(`4/rooms/1,{"message":"no","data":{"code":"no"}}`)
			check("it was refused", "pinned")

			refuse = false
			a.send("0/rooms/1")
			a.next()
			check("it is made again", "1", "pinned")
			a.pipe.Cut()
			if options.Recovery != nil {
				check("the client may come back", "1", "pinned")
				<-time.After(2 * time.Minute)
			}
			check("the client is lost", "pinned")
			if r.Of("/rooms/pinned") != pinned {
				t.Error("the program's own namespace was replaced")
			}
		})
	}
}

// The key of Latest means the same each time a family is sent to, in whatever
// order its namespaces have their turn.
func TestFamilyLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const namespaces, emits = 5, 50
		r := newRig(t, core.Options{})
		d := r.OfPattern("/rooms/{room}")
		c := r.dial()
		for i := range namespaces {
			c.send(fmt.Sprint("0/rooms/", i))
			c.next()
		}
		c.pipe.Stall(true)
		emit(t, d, "filler", strings.Repeat("x", 100_000)) // the pipe is full
		synctest.Wait()
		for i := range emits {
			emit(t, d.To().Latest("EURUSD"), "price", i)
		}
		if n := r.Stats().Replaced; n != namespaces*(emits-1) {
			t.Errorf("replaced %d", n)
		}
	})
}
