// Package accesslog writes a record for each connect, disconnect and refusal, and, if
// asked, for events.
//
//	stop := accesslog.Attach(srv, accesslog.Options{Logger: logger})
//
// What a record holds is for a person who looks for the reason of a complaint: who,
// from where, on what transport, for how long, how much was carried, why it ended.
// It holds no payloads and no whole session ids, which are secrets.
//
// The messages are "connect", "connect refused", "disconnect", "session closed",
// "request refused" and "event". A client has one session and, in each namespace it
// connects to, a socket; "client" is what they have in common.
package accesslog

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/core"
)

// Options say what is written. The zero value writes to slog.Default everything but
// events.
type Options struct {
	// Logger takes the records: those of what was refused, of what ended for a
	// fault and of events that failed at warn level, all others at info level.
	// Default: slog.Default, as it is when Attach is called.
	Logger *slog.Logger
	// Events says of how many events of a name one has a record: 1 is each, 10 is
	// about every tenth, 0 is none. Those that fail have one unless it is 0.
	// Clients make up names, so decide by those you know. Default: none.
	Events func(namespace, event string) int
	// Payload makes what a record says of an event's payload. What it returns is
	// logged as it is: leave out what is nobody's business. Default: nothing is
	// said but the size.
	Payload func(s *core.Socket, event string, args core.Args) slog.Value
	// Attrs adds to the records of a socket: who the user is, for example. It is
	// called for each record. Default: nothing is added.
	Attrs func(s *core.Socket) []slog.Attr
}

// A log is what Attach has attached.
type log struct {
	Options
	stopped atomic.Bool
}

// since is when a socket has connected.
var since = core.NewKey[time.Time]("accesslog: connected")

// Attach writes records of what happens on srv from now on, until stop is called. Its
// middleware for events is added to what srv.Use has already, and so does not see
// what those refuse: attach it first.
func Attach(srv *core.Server, o Options) (stop func()) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &log{Options: o}
	unobserve := srv.Observe(core.Hooks{
		SessionClosed:  l.sessionClosed,
		RequestRefused: l.requestRefused,
		Connected:      l.connected,
		ConnectRefused: l.connectRefused,
		Disconnected:   l.disconnected,
	})
	if o.Events != nil {
		srv.Use(l.events)
	}
	return func() {
		l.stopped.Store(true)
		unobserve()
	}
}

func (l *log) write(level slog.Level, message string, attrs ...slog.Attr) {
	l.Logger.LogAttrs(context.Background(), level, message, attrs...)
}

// client is what the records of one session have in common: enough of its id to
// find them, and too little to take it over.
func client(s *core.Session) []slog.Attr {
	return []slog.Attr{
		slog.String("client", s.ID()[:min(8, len(s.ID())/2)]),
		slog.String("remote", s.Handshake().RemoteAddr),
		slog.String("transport", s.Transport()),
	}
}

// socket is what the records of a socket have in common.
func (l *log) socket(s *core.Socket) []slog.Attr {
	attrs := append(client(s.Session()), slog.String("namespace", s.Namespace().Name()), slog.String("socket", s.ID()))
	if l.Attrs != nil {
		attrs = append(attrs, l.Attrs(s)...)
	}
	return attrs
}

func (l *log) connected(s *core.Socket) {
	since.Set(s, time.Now())
	l.write(slog.LevelInfo, "connect", append(l.socket(s), slog.Bool("recovered", s.Recovered()))...)
}

func (l *log) connectRefused(session *core.Session, namespace string, _ *core.Socket, err error) {
	l.write(slog.LevelWarn, "connect refused", append(client(session),
		slog.String("namespace", cut(namespace)), slog.String("code", code(err)), slog.Any("error", err))...)
}

func (l *log) disconnected(s *core.Socket, cause *core.CloseError) {
	began, _ := since.Get(s)
	l.write(level(cause), "disconnect", append(l.socket(s),
		slog.Duration("duration", time.Since(began)), slog.String("reason", string(cause.Reason)), slog.Any("cause", cause.Err))...)
}

func (l *log) sessionClosed(s *core.Session, cause *core.CloseError) {
	h, carried := s.Handshake(), s.Traffic()
	l.write(level(cause), "session closed", append(client(s),
		slog.Bool("upgraded", h.Query.Get("transport") != "" && h.Query.Get("transport") != s.Transport()),
		slog.Duration("duration", time.Since(h.Time)),
		slog.String("reason", string(cause.Reason)), slog.Any("cause", cause.Err),
		slog.Uint64("packets_in", carried.PacketsIn), slog.Uint64("bytes_in", carried.BytesIn),
		slog.Uint64("packets_out", carried.PacketsOut), slog.Uint64("bytes_out", carried.BytesOut),
		slog.String("user_agent", cut(h.Header.Get("User-Agent"))))...)
}

func (l *log) requestRefused(e *core.RequestError) {
	l.write(slog.LevelWarn, "request refused",
		slog.Int("code", int(e.Code)), slog.String("context", e.Context),
		slog.String("transport", cut(e.Transport)), slog.Any("error", e.Err))
}

// events is the middleware.
func (l *log) events(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		if r.Connect() || l.stopped.Load() {
			return next(ctx, r)
		}
		namespace, event, args := r.Socket.Namespace().Name(), r.Event, r.Args // middleware may change them
		one := l.Events(namespace, event)
		if one <= 0 {
			return next(ctx, r)
		}
		began := time.Now()
		err := next(ctx, r)
		if err == nil && one > 1 && rand.N(one) != 0 { //nolint:gosec // nothing is at stake
			return nil
		}
		at := slog.LevelInfo
		attrs := append(l.socket(r.Socket), slog.String("event", cut(event)),
			slog.Duration("duration", time.Since(began)), slog.Bool("ack", r.WantsAnswer()), slog.Int("bytes", args.Size()))
		if l.Payload != nil {
			attrs = append(attrs, slog.Attr{Key: "payload", Value: l.Payload(r.Socket, event, args)})
		}
		if err != nil {
			at = slog.LevelWarn
			attrs = append(attrs, slog.String("code", code(err)), slog.Any("error", err))
		}
		l.write(at, "event", attrs...)
		return err
	}
}

// level is that of an end: faults are worth a second look, farewells are not.
func level(cause *core.CloseError) slog.Level {
	if cause.Err != nil || cause.Reason == core.PingTimeout || cause.Reason == core.TransportError {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// code is what the client was told.
func code(err error) string {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e.Code
	}
	return core.CodeInternal
}

// cut bounds what a client has made up.
func cut(text string) string {
	const most = 200
	return text[:min(most, len(text))]
}
