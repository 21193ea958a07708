package core_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A namespace has its own clients, handlers, middleware and rooms.
func ExampleNamespace() {
	srv := newDemo(core.Options{})
	defer srv.close()
	for _, name := range []string{"/chat", "/admin"} {
		core.On(srv.Of(name), "where", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
			return s.Namespace().Name(), nil
		})
	}
	fmt.Println(srv.join("/chat", nil).ask("where"))
	fmt.Println(srv.join("/admin", nil).ask("where"))
	fmt.Println(srv.join("/nowhere", nil).refused)
	// Output:
	// "/chat"
	// "/admin"
	// {"message":"Invalid namespace"}
}

// Namespaces that are made when a client asks for them.
func ExampleServer_OfPattern() {
	srv := newDemo(core.Options{})
	defer srv.close()
	rooms := srv.OfPattern("/rooms/{room}")
	core.On(rooms, "say", func(ctx context.Context, s *core.Socket, text string) (string, error) {
		return s.Namespace().Param("room"), s.Broadcast().Emit(ctx, "said", text)
	})

	ann, bob := srv.join("/rooms/42", nil), srv.join("/rooms/42", nil)
	fmt.Println(ann.ask("say", "hello"))
	fmt.Println(bob.next())
	fmt.Println(len(rooms.Namespaces()))
	_ = rooms.Emit(context.Background(), "closing time") // all of them
	fmt.Println(bob.next())
	// Output:
	// "42"
	// said "hello"
	// 1
	// closing time
}

// Where a pattern does not say enough, a function decides. It may look into a
// database.
func ExampleServer_OfFunc() {
	srv := newDemo(core.Options{})
	defer srv.close()
	tenants := map[string]bool{"acme": true}
	srv.OfFunc(func(_ context.Context, r *core.NamespaceRequest) bool {
		tenant, ok := strings.CutPrefix(r.Name, "/tenants/")
		return ok && tenants[tenant]
	})
	fmt.Println(srv.join("/tenants/acme", nil).refused == "")
	fmt.Println(srv.join("/tenants/other", nil).refused)
	// Output:
	// true
	// {"message":"Invalid namespace"}
}

// user is what connect middleware leaves for handlers.
var user = core.NewKey[string]("user")

// authenticate lets clients in that know the word.
func authenticate(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		if r.Connect() {
			var auth struct{ Name, Word string }
			if err := r.Socket.Auth(&auth); err != nil || auth.Word != "swordfish" {
				return core.Errorf("unauthorized", "wrong word")
			}
			user.Set(r.Socket, auth.Name)
		}
		return next(ctx, r)
	}
}

// timed reports how long handlers take.
func timed(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		start := time.Now()
		err := next(ctx, r)
		if !r.Connect() {
			fmt.Println(r.Event, "took less than a minute:", time.Since(start) < time.Minute, "error:", err)
		}
		return err
	}
}

// One type of middleware, for connects and for events.
func ExampleMiddleware() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.Use(timed, authenticate)
	core.On(ns, "whoami", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
		name, _ := user.Get(s)
		return name, nil
	})

	fmt.Println(srv.join("/", map[string]string{"word": "guess"}).refused)
	client := srv.join("/", map[string]string{"name": "Ann", "word": "swordfish"})
	fmt.Println(client.ask("whoami"))
	// Output:
	// {"message":"wrong word","data":{"code":"unauthorized"}}
	// whoami took less than a minute: true error: <nil>
	// "Ann"
}

// A value for each socket, with its type.
func ExampleKey() {
	srv := newDemo(core.Options{})
	defer srv.close()
	visits := core.NewKey[int]("visits")
	core.On(srv.Of("/"), "visit", func(_ context.Context, s *core.Socket, _ core.None) (int, error) {
		n, _ := visits.Get(s)
		visits.Set(s, n+1)
		return n + 1, nil
	})
	client := srv.join("/", nil)
	fmt.Println(client.ask("visit"), client.ask("visit"))
	// Output: 1 2
}

// Handlers that share middleware which the rest of the namespace does without.
func ExampleNamespace_Group() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	admin := core.NewKey[bool]("admin")

	admins := ns.Group(func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if yes, _ := admin.Get(r.Socket); !yes {
				return core.Errorf("forbidden", "admins only")
			}
			return next(ctx, r)
		}
	})
	core.On(ns, "login", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
		admin.Set(s, true)
		return "welcome", nil
	})
	core.On(admins, "reboot", func(context.Context, *core.Socket, core.None) (string, error) {
		return "rebooting", nil
	})

	client := srv.join("/", nil)
	fmt.Println(client.ask("reboot"))
	fmt.Println(client.ask("login"))
	fmt.Println(client.ask("reboot"))
	// Output:
	// {"error":{"code":"forbidden","message":"admins only"}}
	// "welcome"
	// "rebooting"
}

// A client whose connection is lost comes back to its id, its rooms and its
// values, and gets what it has missed.
func ExampleRecovery() {
	srv := newDemo(core.Options{Recovery: &core.Recovery{Window: time.Minute}})
	defer srv.close()
	ns := srv.Of("/")
	ctx := context.Background()
	ns.OnConnect(func(ctx context.Context, s *core.Socket) error {
		if s.Recovered() {
			return nil // its rooms are those it had
		}
		if err := s.Join(ctx, "news"); err != nil {
			return err
		}
		return s.Emit(ctx, "welcome")
	})

	client := srv.join("/", nil)
	fmt.Println(client.next())
	id := client.sid
	client.pipe.Cut() // the network is gone
	_ = ns.To("news").Emit(ctx, "news", "first")
	_ = ns.To("news").Emit(ctx, "news", "second")
	for _, event := range client.comeBack() { // the official clients do it by themselves
		fmt.Println("missed:", event)
	}
	fmt.Println(client.recovered, client.sid == id)
	// Output:
	// welcome
	// missed: news "first"
	// missed: news "second"
	// true true
}
