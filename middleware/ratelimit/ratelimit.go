// Package ratelimit bounds how much clients may ask for: events or bytes per second,
// of a socket, an address, a user, or whatever else a request can be counted for.
//
//	srv.Use(ratelimit.New(ratelimit.Options{Rate: 50, Burst: 100}))                     // events of a socket
//	srv.Use(ratelimit.New(ratelimit.Options{Rate: 64 << 10, Unit: ratelimit.Bytes}))    // bytes of a socket
//	srv.Use(ratelimit.New(ratelimit.Options{Rate: 1, Burst: 10, Unit: ratelimit.Connects})) // connects of an address
//	core.On(ns.Group(ratelimit.New(ratelimit.Options{Rate: 0.2, Key: user})), "invite", invite)
//
// Each limit is a middleware, and a request has to pass all that it meets. It is a
// token bucket of golang.org/x/time/rate: Burst is what may come at once after a
// pause.
//
// A connect is one to a namespace; sessions, which are opened before, are limited
// by core.Options.MaxConnectRate and MaxConnectRatePerAddress.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/upshift-go/upshift/core"
)

// Code is what a client is told that asks for too much. The data of the error has
// retryAfter, in milliseconds, unless it will never be allowed.
const Code = "rate_limited"

// ErrExceeded is wrapped by the error that a request fails with, and is the cause of
// a socket that is disconnected for it.
var ErrExceeded = errors.New("ratelimit: exceeded")

// A Unit is what is counted.
type Unit uint8

const (
	// Events counts events, and lets connects through.
	Events Unit = iota
	// Bytes counts the bytes of their arguments, attachments included.
	Bytes
	// Connects counts connects to namespaces, and lets events through.
	Connects
)

// An Excess is what becomes of a request that is too much.
type Excess uint8

const (
	// Refuse answers it with an error.
	Refuse Excess = iota
	// Delay lets it wait for its turn, and the later events of its socket behind
	// it: in the end the client is not read from, and nothing is lost. One that
	// would wait for longer than MaxDelay is refused.
	Delay
	// Drop handles it no further. One whose client waits for an answer is refused.
	Drop
	// Disconnect refuses it and disconnects the socket.
	Disconnect
)

// Options say how much may come. Rate must be set.
type Options struct {
	// Rate is how much may come in a second, for each key: a positive number of
	// Units.
	Rate float64
	// Burst is how much may come at once. A request that is more than it by
	// itself, which may be if bytes are counted, never passes. Default: what
	// comes in a second, but at least 1, or for bytes 1,000,000.
	Burst int
	// Unit is what is counted. Default Events.
	Unit Unit
	// Key says whom a request counts for. Clients may make up names of events: a
	// limit by them is no limit without another. Default: the socket, and for
	// connects its Address.
	Key func(r *core.Request) string
	// Excess is what becomes of what is too much. Default Refuse.
	Excess Excess
	// MaxDelay is how long a request waits at most, with Delay. Default 5 s.
	MaxDelay time.Duration
	// MaxKeys is how many keys are known at once, when Key is set or connects are
	// counted. For a new one the one is forgotten that has asked for nothing for
	// longest, which begins anew with a full Burst. Default 100,000, of some 200
	// bytes each.
	MaxKeys int
	// OnExcess is told of each request that is too much, on the goroutine that
	// handles it. Default: nobody is.
	OnExcess func(ctx context.Context, r *core.Request)
}

// New returns the middleware. Wherever it is used it is one limit: two that are to
// be counted apart are made by two calls. It panics if Rate is not positive.
func New(o Options) core.Middleware {
	if !(o.Rate > 0) || math.IsInf(o.Rate, 1) { // also if it is no number
		panic("ratelimit: Options.Rate is not positive") //nolint:forbidigo // a programmer's error, at registration
	}
	if o.Burst <= 0 {
		least := 1.0
		if o.Unit == Bytes {
			least = 1_000_000
		}
		o.Burst = int(min(max(math.Ceil(o.Rate), least), math.MaxInt32))
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = 5 * time.Second
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = 100_000
	}
	if o.Key == nil && o.Unit == Connects {
		o.Key = Address
	}
	l := &limit{options: o}
	if o.Key == nil {
		l.ofSocket = core.NewKey[*rate.Limiter]("ratelimit")
	} else {
		l.buckets = newBuckets(o.MaxKeys)
	}
	return func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			if pass, err := l.ask(ctx, r); !pass {
				return err
			}
			return next(ctx, r)
		}
	}
}

// Address is a Key: Handshake.PeerAddress. Behind a proxy that is the proxy's: write a
// Key that reads what the proxy says then.
func Address(r *core.Request) string { return r.Socket.Handshake().PeerAddress() }

// SocketEvent is a Key: the socket and the name of the event.
func SocketEvent(r *core.Request) string { return r.Socket.ID() + r.Event }

// A limit is one of a program's.
type limit struct {
	options  Options
	ofSocket *core.Key[*rate.Limiter] // where the bucket is, if it is that of a socket
	buckets  *buckets                 // otherwise
}

func (l *limit) bucket(r *core.Request) *rate.Limiter {
	fresh := func() *rate.Limiter { return rate.NewLimiter(rate.Limit(l.options.Rate), l.options.Burst) }
	if l.ofSocket == nil {
		return l.buckets.get(l.options.Key(r), fresh)
	}
	// Events of a socket are handled one at a time, so nobody else makes it.
	b, ok := l.ofSocket.Get(r.Socket)
	if !ok {
		b = fresh()
		l.ofSocket.Set(r.Socket, b)
	}
	return b
}

// ask reports whether a request may pass, and if not, what it fails with.
func (l *limit) ask(ctx context.Context, r *core.Request) (pass bool, err error) {
	if r.Connect() != (l.options.Unit == Connects) {
		return true, nil
	}
	n := 1
	if l.options.Unit == Bytes {
		n = r.Args.Size()
	}
	b, now := l.bucket(r), time.Now()
	if b.AllowN(now, n) {
		return true, nil
	}
	if l.options.OnExcess != nil {
		l.options.OnExcess(ctx, r)
	}
	turn := b.ReserveN(now, n)
	wait := turn.DelayFrom(now)
	if l.options.Excess == Delay && turn.OK() && wait <= l.options.MaxDelay {
		return l.wait(ctx, turn, wait)
	}
	turn.CancelAt(now)
	switch {
	case l.options.Excess == Drop && !r.WantsAnswer() && !r.Connect():
		return false, nil
	case l.options.Excess == Disconnect && !r.Connect():
		r.Socket.DisconnectCause(ErrExceeded)
	}
	told := core.Errorf(Code, "too much at once")
	if turn.OK() {
		told.Data = map[string]any{"code": Code, "retryAfter": wait.Milliseconds() + 1}
	}
	return false, fmt.Errorf("%w: %w", ErrExceeded, told)
}

// wait waits for the turn of a request.
func (l *limit) wait(ctx context.Context, turn *rate.Reservation, wait time.Duration) (pass bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		turn.Cancel()
		return false, fmt.Errorf("ratelimit: %w", context.Cause(ctx))
	}
}
