package auth

import (
	"slices"
	"time"

	"github.com/upshift-go/upshift/core"
)

// An Identity is who a client is, as far as a Verify or Identify function has
// found out. It is a value; its slices and Claims are shared by everybody who
// asks for it, and must not be changed.
type Identity struct {
	// Subject is the user, for Revoke and for the comparison of a renewal. An
	// identity without one cannot be revoked or renewed.
	Subject string
	// Roles and Scopes are what AnyRole and AllScopes look at.
	Roles, Scopes []string
	// Issued is when the token was made, or when the user has logged in. It
	// tells what a revocation concerns from what came after it: without it
	// the subject stays out for as long as the revocation is remembered.
	Issued time.Time
	// Expires is when the client's sockets are closed. The zero value is
	// never.
	Expires time.Time
	// Claims is anything else that is known of the client. See Claims.
	Claims any
}

// HasRole reports whether name is among the roles.
func (i Identity) HasRole(name string) bool { return slices.Contains(i.Roles, name) }

// HasScope reports whether name is among the scopes.
func (i Identity) HasScope(name string) bool { return slices.Contains(i.Scopes, name) }

// expired reports whether the identity has ended by now.
func (i *Identity) expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// memberKey keeps what a Guard knows of a socket.
var memberKey = core.NewKey[*member]("auth")

// From returns the identity of a socket: what it has connected or been renewed
// with last. ok is false if it has passed no Guard. It may be called from any
// goroutine.
func From(s *core.Socket) (id Identity, ok bool) {
	m, ok := memberKey.Get(s)
	if !ok {
		return Identity{}, false
	}
	return m.current(), true
}

// Claims returns Identity.Claims of a socket if it is a T, which is what the
// program's Verify function has put there. It may be called from any goroutine.
func Claims[T any](s *core.Socket) (claims T, ok bool) {
	id, _ := From(s)
	claims, ok = id.Claims.(T)
	return claims, ok
}
