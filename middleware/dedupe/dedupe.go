// Package dedupe handles an event once that a client sends again because its answer
// was lost: the answer of the first time is given again.
//
//	orders := ns.Group(dedupe.New(dedupe.Options{
//		Key:  dedupe.Field("id"), // of the first argument; the client makes it up
//		User: func(s *core.Socket) string { return session.User(s) },
//	}))
//	core.On(orders, "order", place)
//
// With a client that sends again until it is answered, as the official one does
// with its option "retries", each order is placed once. What is remembered is in
// memory, of this server, for a time: a handler that must not run twice after that,
// or after a restart, needs its database to say so.
package dedupe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// Options say what is the same and for how long. Key must be set.
type Options struct {
	// Key is what a client calls the event: the same each time it sends it, and
	// never the same for two events. ok is false for an event that has no key; it
	// is handled each time. Keys of different events do not meet.
	Key func(r *core.Request) (key string, ok bool)
	// User says whose key it is: keys of different users do not meet, and what a
	// user has had answered no other can get. It has to be the same when a client
	// comes back. Default: the socket's id, which is the same only for clients that
	// recovery brings back.
	User func(s *core.Socket) string
	// Window is how long a key is remembered after its event was handled. Default
	// 5 minutes.
	Window time.Duration
	// MaxKeys is how many keys of one user are remembered; the oldest are
	// forgotten. Default 1,000.
	MaxKeys int
	// MaxKeysInAll is the same for all users together. Default 100,000.
	MaxKeysInAll int
	// MaxKeyBytes is how long a key may be. A longer one is answered with the code
	// "bad_key". Default 128.
	MaxKeyBytes int
	// KeepErrors remembers errors, too. Default: an event that has failed is
	// handled again.
	KeepErrors bool
}

// CodeBadKey is what a client is told whose key is too long.
const CodeBadKey = "bad_key"

// New returns the middleware. What it remembers is shared by all that it wraps.
// Requests to connect are let through. It panics if there is no Key.
//
// An event that comes while the first of its kind is handled waits for that. The
// arguments are not compared: the first that comes with a key counts.
func New(o Options) core.Middleware {
	if o.Key == nil {
		panic("dedupe: Options.Key is nil") //nolint:forbidigo // a programmer's error, at registration
	}
	if o.User == nil {
		o.User = (*core.Socket).ID
	}
	setDefault(&o.Window, 5*time.Minute)
	setDefault(&o.MaxKeys, 1000)
	setDefault(&o.MaxKeysInAll, 100_000)
	setDefault(&o.MaxKeyBytes, 128)
	m := newMemory(&o)
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if r.Connect() {
				return next(ctx, r)
			}
			key, ok := o.Key(r)
			switch {
			case !ok:
				return next(ctx, r)
			case len(key) > o.MaxKeyBytes:
				return core.Errorf(CodeBadKey, "a key is %d bytes at most", o.MaxKeyBytes)
			}
			return m.handle(ctx, r, r.Event+"\x00"+key, next)
		}
	}
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Field returns a Key: the member of that name of the event's first argument, which
// has to be text.
func Field(name string) func(r *core.Request) (key string, ok bool) {
	return func(r *core.Request) (string, bool) {
		var members map[string]codec.Raw
		if r.Args.Raw(0).Bind(&members) != nil || members[name].IsZero() {
			return "", false
		}
		var key string
		err := members[name].Bind(&key)
		return key, err == nil && key != ""
	}
}

// Argument returns a Key: the event's argument at index i, which has to be text.
func Argument(i int) func(r *core.Request) (key string, ok bool) {
	return func(r *core.Request) (string, bool) {
		var key string
		err := r.Args.Raw(i).Bind(&key)
		return key, err == nil && key != ""
	}
}

// handle handles r, or gives the answer that an earlier one with the same key had.
func (m *memory) handle(ctx context.Context, r *core.Request, key string, next core.Handler) error {
	user := m.options.User(r.Socket)
	for {
		e, first := m.enter(user, key)
		if first {
			return m.first(ctx, r, e, next)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return fmt.Errorf("dedupe: %w", context.Cause(ctx))
		}
		if e.kept {
			r.SetAnswer(e.answer...)
			return e.err
		}
		// The first has failed: this one is the first now.
	}
}

func (m *memory) first(ctx context.Context, r *core.Request, e *entry, next core.Handler) (err error) {
	handled := false
	defer func() { // also if the handler panics
		m.finish(e, handled && (err == nil || m.options.KeepErrors), slices.Clone(r.Answer()), err)
	}()
	err = next(ctx, r)
	handled = true
	return err
}
