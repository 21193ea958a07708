package interop

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	jwtlib "github.com/golang-jwt/jwt/v5"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/auth/jwt"
)

// Auth as an official client goes through it: let in by a token, told before it
// expires, renewed by an event, closed when it is not, and refused with a code.
func TestAuth(t *testing.T) {
	secret := []byte("a secret that only the issuer has")
	token := func(t *testing.T, subject string, life time.Duration) string {
		t.Helper()
		now := time.Now()
		text, err := jwtlib.NewWithClaims(jwtlib.SigningMethodHS256, jwtlib.MapClaims{
			"sub": subject, "iat": float64(now.UnixMicro()) / 1e6, "exp": now.Add(life).Unix(),
		}).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	test := func(t *testing.T, n *node, a *app, way route) {
		tokens, err := jwt.New(jwt.Options{Algorithms: []string{"HS256"}, Key: secret})
		if err != nil {
			t.Fatal(err)
		}
		guard, err := auth.New(a.server, auth.Options{Verify: tokens.Verify, Lead: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		causes := newJournal[error]()
		ns := a.server.Of("/guarded")
		ns.Use(guard.Middleware)
		ns.OnDisconnect(func(_ context.Context, _ *core.Socket, cause error) { causes.add(cause) })
		core.On(ns, "whoami", func(_ context.Context, s *core.Socket, _ core.None) (string, error) {
			id, _ := auth.From(s)
			return id.Subject, nil
		})
		in := func(name, token string) *client {
			options := map[string]any{"auth": map[string]any{"token": token}}
			maps.Copy(options, way.options)
			return n.open(t, name, a.url, options, map[string]any{"namespace": "/guarded", "idle": true})
		}
		unauthorized := func(reason string) any { return map[string]any{"code": "unauthorized", "reason": reason} }
		refused := func(c *client, reason string) {
			t.Helper()
			if got := c.event(t, "connect_error"); diff(unauthorized(reason), got.Data) != "" || got.Message == "" {
				t.Errorf("refused with %q, %v, want %s", got.Message, got.Data, reason)
			}
		}
		closed := func(c *client, reason string, cause error) {
			t.Helper()
			if got := c.message(t, "auth:closed").Args; diff([]any{unauthorized(reason)}, got) != "" {
				t.Errorf("closed with %v, want %s", got, reason)
			}
			if got := c.event(t, "disconnect").Reason; got != "io server disconnect" {
				t.Errorf("disconnected for %q", got)
			}
			_ = causes.await(t, "its cause", func(err error) bool { return errors.Is(err, cause) })
		}

		late := in("late", token(t, "ann", -time.Minute))
		late.do(t, "connect", nil)
		refused(late, "expired")

		// The first token is renewed as it is told in the documentation, the
		// second is not.
		ann := in("ann", token(t, "ann", 12*time.Second))
		ann.run(t, `
			socket.once("auth:expiring", async ({ in: left }) => {
				report("wrong", { data: await socket.emitWithAck("auth:renew", args[0]) });
				report("renewed", { data: await socket.emitWithAck("auth:renew", args[1]) });
			});
			socket.connect()`, token(t, "bob", time.Hour), token(t, "ann", 15*time.Second))
		sid := ann.event(t, "connect").SID
		ann.message(t, "auth:expiring")
		wrong, _ := ann.event(t, "wrong").Data.(map[string]any)
		if got, _ := wrong["error"].(map[string]any); got["code"] != "unauthorized" || diff(unauthorized("other_subject"), got["data"]) != "" {
			t.Errorf("another's token: %v", wrong)
		}
		renewed, _ := ann.event(t, "renewed").Data.(map[string]any)
		told, _ := ann.message(t, "auth:expiring").Args[0].(map[string]any)
		if renewed["expires"] == nil || renewed["expires"] != told["expires"] {
			t.Errorf("renewed until %v, told %v", renewed, told)
		}
		if got := ann.call(t, "whoami"); diff([]any{"ann"}, got) != "" {
			t.Errorf("it is %v", got)
		}
		if ns.Socket(sid) == nil {
			t.Error("not the socket that has connected")
		}
		closed(ann, "expired", auth.ErrExpired)

		// It comes back with a new token, until it is revoked.
		again := token(t, "ann", time.Hour)
		ann.do(t, "connect", map[string]any{"auth": map[string]any{"token": again}})
		ann.event(t, "connect")
		if err := guard.Revoke(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		closed(ann, "revoked", auth.ErrRevoked)
		ann.do(t, "connect", nil)
		refused(ann, "revoked")
	}
	n := startNode(t)
	for i, way := range routes {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			var set settings
			if way.ends == "polling" { // it takes seconds: each codec once will do
				set.codec, way = codec.MsgPack(codec.MsgPackOptions{}), speaking(way, "msgpack")
			}
			test(t, n, startApp(t, doors[i%len(doors)], set), way)
		})
	}
}
