package auth

import (
	"context"
	"time"

	"github.com/upshift-go/upshift/core"
)

// A renewed is the answer to Options.RenewEvent.
type renewed struct {
	Expires int64 `json:"expires,omitempty"` // in milliseconds since 1970; absent for never
}

// renew handles a RenewEvent. What is wrong with the new token does no harm to
// the old one.
func (g *Guard) renew(ctx context.Context, r *core.Request) error {
	m, ok := memberKey.Get(r.Socket)
	if !ok || m.guard != g {
		return unauthorized(ErrMissing)
	}
	var token string
	if err := r.Bind(&token); err != nil {
		return core.Errorf(core.CodeBadPayload, "the token must be a string")
	}
	if token == "" {
		return unauthorized(ErrMissing)
	}
	after, err := g.verify(ctx, token)
	if err == nil {
		err = m.renew(ctx, after)
	}
	if err != nil {
		return unauthorized(err)
	}
	var answer renewed
	if !after.Expires.IsZero() {
		answer.Expires = after.Expires.UnixMilli()
	}
	r.SetAnswer(answer)
	return nil
}

// renew replaces the identity.
func (m *member) renew(ctx context.Context, after Identity) error {
	if after.Subject == "" || after.Subject != m.subject {
		return ErrOtherSubject
	}
	m.guard.mu.Lock()
	err := m.guard.revoked.check(&after, time.Now())
	m.guard.mu.Unlock()
	if err != nil {
		return err
	}
	if m.guard.options.OnRenew != nil {
		if err := m.guard.options.OnRenew(ctx, m.socket, m.current(), after); err != nil {
			return forbidden(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.cause != nil: // it has expired, or was revoked, meanwhile
		return m.cause
	case after.expired(time.Now()): // while OnRenew ran
		return ErrExpired
	}
	m.takeLocked(after)
	m.scheduleLocked()
	return nil
}
