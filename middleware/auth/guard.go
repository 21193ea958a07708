package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// Options configure a Guard. One of Verify and Identify is needed; the zero
// value of each other field is its default.
type Options struct {
	// Verify says whose a token is, or why it is nobody's. It is called for a
	// connect and for a renewal, on a goroutine of the socket that it may
	// block, and must return when ctx ends. Of its error the client learns
	// what the table of this package's errors says; a *core.Error reaches it
	// as it is. Package jwt has one.
	Verify func(ctx context.Context, token string) (Identity, error)
	// Identify says who a client without a token is, from its Handshake or
	// from the values of ctx, where Session has put them. The zero Identity
	// lets in somebody who is nobody in particular. Default: it is refused
	// with ErrMissing.
	Identify func(ctx context.Context, s *core.Socket) (Identity, error)

	// Sources are where the token may be; the first that has one counts.
	// Default: Payload("token"), then Bearer(). Cookies and the query are
	// looked at only if they are named.
	Sources []Source
	// MaxTokenBytes is how long a token may be. Default 8,192.
	MaxTokenBytes int
	// VerifyTimeout is how long Verify and Identify may take. Default 10 s.
	VerifyTimeout time.Duration

	// Name comes before the names of events that are not set, and tells guards
	// of one server apart. The servers of a cluster must agree on it. Default
	// "auth".
	Name string
	// ExpiringEvent tells a client that its identity is about to expire. Its
	// argument is {"expires": …, "in": …}: when, and in how long, both in
	// milliseconds. Default Name + ":expiring".
	ExpiringEvent string
	// Lead is how long before. A client whose identity lasts less than twice
	// as long is told after half of the time. Default 1 minute.
	Lead time.Duration
	// RenewEvent is what a client sends with a new token to stay. The answer
	// is {"expires": …} in milliseconds, absent for never, or an error.
	// Default Name + ":renew".
	RenewEvent string
	// OnRenew is called before a renewal takes effect; an error refuses it,
	// and the client keeps what it had. It is the place to look again at what
	// the client was let into. Default: none.
	OnRenew func(ctx context.Context, s *core.Socket, before, after Identity) error
	// ClosedEvent is the last that a client is sent before a guard disconnects
	// it. Its argument is {"code": "unauthorized", "reason": …}, the reason
	// "expired" or "revoked". Default Name + ":closed".
	ClosedEvent string

	// TokenLife is how long a token can be valid, and so how long a revocation
	// is remembered. If tokens live longer, those that were issued before a
	// revocation that is forgotten are refused, whosever they are. Default
	// 24 h.
	TokenLife time.Duration
	// MaxRevocations is how many are remembered. When there are more, the
	// oldest is forgotten before its time, with the same effect. Default
	// 100,000.
	MaxRevocations int
}

func (o Options) withDefaults() (Options, error) {
	if o.Verify == nil && o.Identify == nil {
		return o, errors.New("auth: Options has neither Verify nor Identify")
	}
	if o.Sources == nil {
		o.Sources = []Source{Payload("token"), Bearer()}
	}
	for field, value := range map[*time.Duration]time.Duration{
		&o.VerifyTimeout: 10 * time.Second, &o.Lead: time.Minute, &o.TokenLife: 24 * time.Hour,
	} {
		if *field < 0 {
			return o, errors.New("auth: Options has a negative duration")
		}
		if *field == 0 {
			*field = value
		}
	}
	for field, value := range map[*int]int{&o.MaxTokenBytes: 8192, &o.MaxRevocations: 100_000} {
		if *field < 0 {
			return o, errors.New("auth: Options has a negative limit")
		}
		if *field == 0 {
			*field = value
		}
	}
	if o.Name == "" {
		o.Name = "auth"
	}
	for field, suffix := range map[*string]string{
		&o.ExpiringEvent: ":expiring", &o.RenewEvent: ":renew", &o.ClosedEvent: ":closed",
	} {
		if *field == "" {
			*field = o.Name + suffix
		}
		if err := codec.CheckEvent(*field); err != nil {
			return o, fmt.Errorf("auth: Options names an event: %w", err)
		}
	}
	return o, nil
}

// A Guard lets clients in who can show who they are, and keeps an eye on them
// from then on. Its methods are safe for concurrent use.
type Guard struct {
	options Options
	server  *core.Server

	mu       sync.Mutex         // guards what follows, and the lists of members
	subjects map[string]*member // the first of each subject
	revoked  revocations
}

// New makes a Guard for the clients of srv. It does nothing to them until its
// Middleware is used. The error says what is wrong with the options.
func New(srv *core.Server, o Options) (*Guard, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Guard{
		options: o, server: srv,
		subjects: make(map[string]*member),
		revoked:  newRevocations(o.TokenLife, o.MaxRevocations),
	}
	srv.Of("/").OnServerSide(g.revokeEvent(), g.revokedElsewhere)
	// Sockets that are recovered may come past middleware, and a socket cannot
	// be told anything before it is connected.
	srv.Observe(core.Hooks{Connected: g.connected})
	return g, nil
}

// Middleware is core.Middleware, for Server.Use or Namespace.Use: it refuses
// connects and handles renewals. Use it before whatever wants to know who the
// client is. A socket may pass one Guard only. It does nothing to sockets that
// have connected before.
func (g *Guard) Middleware(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		switch {
		case r.Connect():
			m, err := g.admit(ctx, r.Socket)
			if err != nil {
				return unauthorized(err)
			}
			if err := next(ctx, r); err != nil {
				return err
			}
			return unauthorized(m.ended()) // Revoke may have been called meanwhile
		case r.Event == g.options.RenewEvent:
			return g.renew(ctx, r)
		}
		return next(ctx, r)
	}
}

var errTwoGuards = fmt.Errorf("%w: a socket cannot pass two guards", ErrUnavailable)

// admit finds out who a client is that wants to connect.
func (g *Guard) admit(ctx context.Context, s *core.Socket) (*member, error) {
	before, recovered := memberKey.Get(s)
	if recovered && before.socket == s {
		return nil, errTwoGuards
	}
	id, err := g.identify(ctx, s)
	if err != nil {
		return nil, err
	}
	if recovered && before.subject != id.Subject {
		// It would come back to the rooms, and get the events, of another.
		return nil, ErrOtherSubject
	}
	return g.enter(s, id)
}

// identify asks the program's functions.
func (g *Guard) identify(ctx context.Context, s *core.Socket) (Identity, error) {
	token, err := g.find(s)
	switch {
	case err != nil:
		return Identity{}, err
	case token != "":
		return g.verify(ctx, token)
	case g.options.Identify == nil:
		return Identity{}, ErrMissing
	}
	ctx, cancel := context.WithTimeout(ctx, g.options.VerifyTimeout)
	defer cancel()
	id, err := g.options.Identify(ctx, s)
	return checked(ctx, id, err)
}

func (g *Guard) verify(ctx context.Context, token string) (Identity, error) {
	switch {
	case len(token) > g.options.MaxTokenBytes:
		return Identity{}, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(token))
	case g.options.Verify == nil:
		return Identity{}, fmt.Errorf("%w: nothing verifies tokens", ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(ctx, g.options.VerifyTimeout)
	defer cancel()
	id, err := g.options.Verify(ctx, token)
	return checked(ctx, id, err)
}

// checked is what a function of the program has found out, if it has done so in
// time.
func checked(ctx context.Context, id Identity, err error) (Identity, error) {
	switch {
	case ctx.Err() != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case err != nil:
		return Identity{}, err
	case id.expired(time.Now()):
		return Identity{}, ErrExpired
	}
	return id, nil
}
