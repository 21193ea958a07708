package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/upshifttest"
)

// verify stands for whoever knows the tokens.
func verify(_ context.Context, token string) (auth.Identity, error) {
	switch token {
	case "ann's":
		return auth.Identity{Subject: "ann", Roles: []string{"admin"}, Expires: time.Now().Add(time.Hour)}, nil
	case "old":
		return auth.Identity{}, auth.ErrExpired
	default:
		return auth.Identity{}, auth.ErrInvalid
	}
}

// Clients show a token, handlers know whose it is, and a user who has to go is
// gone.
func Example() {
	srv, err := core.New(core.Options{Transports: memory})
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := auth.New(srv, auth.Options{Verify: verify})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.Use(guard.Middleware)

	chat := srv.Of("/chat")
	core.On(chat, "whoami", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
		id, _ := auth.From(s)
		return id.Subject, nil
	})
	admins := chat.Group(auth.AnyRole("admin"))
	core.On(admins, "kick", func(ctx context.Context, _ *core.Socket, user string) (core.None, error) {
		return core.None{}, guard.Revoke(ctx, user)
	})
	chat.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { fmt.Println(cause) })

	exampletest.Run(func(tb testing.TB) {
		refusal := upshifttest.Refused(tb, srv, "/chat", upshifttest.Options{Auth: map[string]any{"token": "old"}})
		fmt.Println(refusal)

		ann := upshifttest.Dial(tb, srv, "/chat", upshifttest.Options{Auth: map[string]any{"token": "ann's"}})
		var name string
		fmt.Println(ann.Call(context.Background(), "whoami", nil, &name), name)
		_ = ann.Emit(context.Background(), "kick", "ann")
		ann.WaitDisconnect()
	})
	stop(srv)
	// Output:
	// the token has expired
	// <nil> ann
	// server namespace disconnect: auth: subject has been revoked
}

// The middleware that finds the user of a web page finds the one of a socket.
func ExampleSession() {
	type user struct{}
	login := func(next http.Handler) http.Handler { // the site's, as it is
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cookie, err := r.Cookie("session")
			if err != nil {
				http.Error(w, "log in first", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), user{}, cookie.Value)))
		})
	}
	srv, err := core.New(core.Options{Transports: memory, AllowRequest: auth.Session(login)})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.Of("/").OnConnect(func(ctx context.Context, _ *core.Socket) error {
		fmt.Println("connected:", ctx.Value(user{}))
		return nil
	})
	exampletest.Run(func(tb testing.TB) {
		fmt.Println(upshifttest.Refused(tb, srv, "/", upshifttest.Options{}))
		upshifttest.Dial(tb, srv, "/", cookie("session=ann"))
	})
	stop(srv)
	// Output:
	// session: Forbidden: Unauthorized
	// connected: ann
}
