package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/upshift-go/upshift/core"
)

// Require is middleware that asks allow about each event, and about the connect
// if it is used for a namespace rather than for a group of handlers; event is
// "" then. It runs on the goroutine of the handler, which it may block. A nil
// error lets the request through. An error answers it with the code "forbidden"
// and says no more to the client, unless it is a *core.Error, which the client
// gets, ErrMissing, which is "unauthorized", or ErrUnavailable, which is
// "internal".
//
// It runs inside Guard.Middleware. What is asked for is looked at for each
// event, so a renewal that takes roles or scopes away has its effect at once.
func Require(allow func(ctx context.Context, s *core.Socket, event string) error) core.Middleware {
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if err := allow(ctx, r.Socket, r.Event); err != nil {
				return forbidden(err)
			}
			return next(ctx, r)
		}
	}
}

// AnyRole is Require for clients that have at least one of the roles.
func AnyRole(roles ...string) core.Middleware {
	return Require(func(_ context.Context, s *core.Socket, _ string) error {
		id, ok := From(s)
		if !ok {
			return ErrMissing
		}
		if slices.ContainsFunc(roles, id.HasRole) {
			return nil
		}
		return fmt.Errorf("auth: %q has none of the roles %q", id.Subject, roles)
	})
}

// AllScopes is Require for clients that have all of the scopes.
func AllScopes(scopes ...string) core.Middleware {
	return Require(func(_ context.Context, s *core.Socket, _ string) error {
		id, ok := From(s)
		if !ok {
			return ErrMissing
		}
		for _, scope := range scopes {
			if !id.HasScope(scope) {
				return fmt.Errorf("auth: %q lacks the scope %q", id.Subject, scope)
			}
		}
		return nil
	})
}
