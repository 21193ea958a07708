package adminui

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"

	"golang.org/x/crypto/bcrypt"

	"github.com/upshift-go/upshift/core"
)

// errCredentials is what the UI reopens its form on, by this very text.
var errCredentials = &core.Error{Code: "unauthorized", Message: "invalid credentials"}

// errTooMany is shown in the form, too.
var errTooMany = &core.Error{Code: "too_many_attempts", Message: "too many attempts, try again in a minute"}

var errStopped = &core.Error{Code: "stopped", Message: "the admin UI has been stopped"}

// admitted marks the pages that the guard has let in. Those that were in the
// namespace before it was there are not.
var admitted = core.NewKey[bool]("adminui admitted")

func (a *Admin) isAdmitted(s *core.Socket) bool {
	ok, _ := admitted.Get(s)
	return ok || a.options.WithoutAuthentication
}

// newSession is the id that a page which has just logged in is to be told.
var newSession = core.NewKey[string]("adminui session")

// Credentials that are longer are wrong. What bcrypt looks at ends at 72 bytes.
const maxCredential = 1024

// credentials are what the UI sends: the first after a reload, the others from
// its form.
type credentials struct {
	SessionID string `json:"sessionId"`
	Username  string `json:"username"`
	Password  string `json:"password"`
}

// guard lets those in who have logged in, or do. It is the middleware of the
// namespace.
func (a *Admin) guard(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		if a.ctx.Err() != nil {
			return errStopped
		}
		s := r.Socket
		switch {
		case a.isAdmitted(s):
			return next(ctx, r)
		case !r.Connect():
			return errCredentials // it has connected before there was a guard
		}
		c := credentialsOf(s)
		if c.SessionID != "" && a.isOpen(ctx, c.SessionID) {
			admitted.Set(s, true)
			return next(ctx, r)
		}
		forgive, ok := a.throttle.allow(a.options.ClientAddress(s.Handshake()))
		if !ok {
			return a.refuse(s, errTooMany)
		}
		good, err := a.check(ctx, c)
		if good || err != nil {
			forgive()
		}
		switch {
		case errors.Is(err, errTooMany):
			return a.refuse(s, errTooMany)
		case err != nil:
			return err
		case !good:
			return a.refuse(s, errCredentials)
		}
		admitted.Set(s, true)
		a.open(ctx, s)
		return next(ctx, r)
	}
}

// check looks at a password when its turn has come.
func (a *Admin) check(ctx context.Context, c credentials) (bool, error) {
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return false, errTooMany
	}
	select {
	case a.checks <- struct{}{}:
		defer func() { <-a.checks }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return a.matches(c), nil
}

// credentialsOf returns what the client has sent, as far as it is what it should
// be.
func credentialsOf(s *core.Socket) credentials {
	var c credentials
	if err := s.Auth(&c); err != nil {
		return credentials{}
	}
	if len(c.SessionID) > 128 {
		c.SessionID = ""
	}
	if len(c.Username) > maxCredential || len(c.Password) > maxCredential {
		return credentials{}
	}
	return c
}

// matches takes as long whether or not there is a user of that name.
func (a *Admin) matches(c credentials) bool {
	got, want := sha256.Sum256([]byte(c.Username)), sha256.Sum256([]byte(a.options.Username))
	user := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	password := bcrypt.CompareHashAndPassword([]byte(a.options.PasswordHash), []byte(c.Password)) == nil
	return user && password
}

// isOpen reports whether somebody has logged in with this id.
func (a *Admin) isOpen(ctx context.Context, id string) bool {
	ok, err := a.options.Sessions.Exists(ctx, id)
	if err != nil {
		a.options.Logger.LogAttrs(ctx, slog.LevelError, "admin UI: session not looked up", slog.Any("error", err))
		return false
	}
	return ok
}

// open gives a page that has logged in an id to come back with. Without one it
// must log in again after a reload, and nothing worse.
func (a *Admin) open(ctx context.Context, s *core.Socket) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	id := hex.EncodeToString(b[:])
	if err := a.options.Sessions.Save(ctx, id); err != nil {
		a.options.Logger.LogAttrs(ctx, slog.LevelError, "admin UI: session not saved", slog.Any("error", err))
	} else {
		newSession.Set(s, id)
	}
	a.options.Logger.LogAttrs(ctx, slog.LevelInfo, "admin UI: logged in", a.who(s)...)
}

// refuse counts and records a failed attempt.
func (a *Admin) refuse(s *core.Socket, why *core.Error) error {
	a.counts.failures.Add(1)
	if errors.Is(why, errTooMany) {
		a.counts.refused.Add(1)
	}
	a.options.Logger.LogAttrs(s.Context(), slog.LevelWarn, "admin UI: login failed",
		append(a.who(s), slog.String("why", why.Message))...)
	return why
}

// who are the attributes of a record that say whose doing it is about.
func (a *Admin) who(s *core.Socket) []slog.Attr {
	return []slog.Attr{
		slog.String("socket", s.ID()),
		slog.String("remote", s.Handshake().RemoteAddr),
		slog.String("address", a.options.ClientAddress(s.Handshake())),
	}
}
