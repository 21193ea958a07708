// Package adminui lets the official Socket.IO Admin UI look at a server: its
// sessions, sockets, rooms and events, as they come and go, and make sockets
// join, leave and disconnect.
//
//	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost) // once; keep the hash
//	admin, err := adminui.Instrument(srv, adminui.Options{
//		Username: "admin", PasswordHash: string(hash),
//		Development: true,
//		Logger:      slog.Default(),
//	})
//	defer admin.Stop()
//
// The UI is a page of static files, hosted at https://admin.socket.io, or served
// from the folder ui/dist of the npm package @socket.io/admin-ui. It is an
// ordinary client of one namespace, "/admin", and connects with what its user
// types into a form. A page that comes from another origin than the server
// needs core.Options.CORS with that origin and with Credentials. Middleware that
// was added with Server.Use runs for its namespace, too.
//
// # Two modes
//
// By default the UI shows servers and figures: sessions, transports, bytes. With
// Options.Development it also shows every socket, room and event, which is
// good for some hundred sockets. Nothing of that is collected while nobody
// watches. What is shown waits in one bounded queue: what finds no room in it is
// dropped and counted, and the page gets the whole state anew.
//
// # Clusters
//
// Events reach pages that are connected to other servers through
// core.Options.Adapter, if they are instrumented with the same namespace and
// mode. So do commands, which have effect in all of the cluster, also on servers
// that are not instrumented.
//
// The others may be Node servers with @socket.io/admin-ui, whose page shows our
// sockets as ours shows theirs. A server that does not answer as ours do makes a
// page wait two seconds for the list of sockets. Logins are shared with Node only by a
// SessionStore that writes what Node's does.
package adminui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/upshift-go/upshift/core"
)

// Options configure Instrument. Credentials must be given, or be disabled; the
// zero value of every other field is its default.
type Options struct {
	// Username and PasswordHash are what the user of the UI must know. The
	// hash is one of bcrypt, as in "$2b$10$…".
	Username, PasswordHash string
	// WithoutAuthentication lets everybody in who can reach the server. It
	// cannot go together with credentials.
	WithoutAuthentication bool

	// Namespace is where the UI connects to. Default "/admin". It cannot be
	// "/", whose clients would get all that is meant for the UI.
	Namespace string
	// ReadOnly takes no commands from pages that are connected to this server.
	// Those of pages of other servers reach all sockets of the cluster.
	ReadOnly bool
	// Development shows every socket, room and event, rather than figures
	// only.
	Development bool
	// ServerID tells servers of a cluster apart. Default "host#pid".
	ServerID string

	// Sessions keep who has logged in, so that the page can be reloaded.
	// Servers of a cluster should share them. Default a MemorySessions of
	// this server.
	Sessions SessionStore
	// MaxFailures is how many attempts to log in may fail per minute from one
	// address; from all addresses together, ten times as many. Beyond, they
	// are refused without a look at the password. Those who have logged in
	// are not affected. Default 10.
	MaxFailures int
	// MaxChecks is how many passwords are checked at once, which is slow on
	// purpose; eight times as many may wait. Default 2.
	MaxChecks int
	// ClientAddress says for which address a failure counts. Behind a proxy
	// it is the place to read X-Forwarded-For, if the proxy is one to be
	// trusted. It must not block. Default: the address of the TCP peer, and of an
	// IPv6 address the network of 64 bits.
	ClientAddress func(h *core.Handshake) string

	// Redact are the names of headers and query parameters whose values the
	// UI does not get to see. Default: authorization, proxy-authorization,
	// cookie, token and access_token. A list that is not nil, even if it is
	// empty, replaces it.
	Redact []string
	// Data returns what the UI shows as the data of a socket. It must encode.
	// It is called when the socket connects and after Admin.Refresh, from any
	// goroutine, and must not block. Default: none.
	Data func(s *core.Socket) map[string]any
	// MaxArgsBytes is how much of the arguments of an event is shown, in bytes of
	// JSON. Longer ones are cut off and say so. Default 4,096.
	MaxArgsBytes int
	// MaxRecipients is for how many clients of one broadcast it is shown
	// that they were sent it. Default 20.
	MaxRecipients int
	// MaxQueuedBytes bounds what waits to be sent to the UI, counting 128
	// bytes for each event besides its text. Arguments of events get half of
	// it. Default 1 MiB.
	MaxQueuedBytes int
	// MaxStateBytes bounds the list of all sockets that a page gets when it
	// connects; sockets beyond are not shown. It must be well below
	// core.Options.MaxOutboxBytes. Default 2 MiB, enough for about 1,500
	// clients that are browsers.
	MaxStateBytes int

	// Logger takes an audit of logins (info), failed ones and commands (warn),
	// and what went wrong otherwise. Default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.WithoutAuthentication && (o.Username != "" || o.PasswordHash != ""):
		return o, errors.New("adminui: Options.WithoutAuthentication cannot go together with credentials")
	case o.WithoutAuthentication:
	case o.Username == "" || o.PasswordHash == "":
		return o, errors.New("adminui: Options.Username and Options.PasswordHash are needed, or WithoutAuthentication")
	default:
		if _, err := bcrypt.Cost([]byte(o.PasswordHash)); err != nil {
			return o, fmt.Errorf("adminui: Options.PasswordHash is not a hash of bcrypt: %w", err)
		}
	}
	if o.Namespace == "" {
		o.Namespace = "/admin"
	}
	o.Namespace = "/" + strings.TrimPrefix(o.Namespace, "/")
	if o.Namespace == "/" {
		return o, errors.New(`adminui: Options.Namespace cannot be "/"`)
	}
	if o.ServerID == "" {
		o.ServerID = fmt.Sprintf("%s#%d", hostname(), os.Getpid())
	}
	if o.Sessions == nil {
		o.Sessions = new(MemorySessions)
	}
	if o.ClientAddress == nil {
		o.ClientAddress = (*core.Handshake).PeerAddress
	}
	if o.Redact == nil {
		o.Redact = []string{"authorization", "proxy-authorization", "cookie", "token", "access_token"}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, limit := range []struct {
		name  string
		value *int
		unset int
	}{
		{"MaxFailures", &o.MaxFailures, 10},
		{"MaxChecks", &o.MaxChecks, 2},
		{"MaxArgsBytes", &o.MaxArgsBytes, 4096},
		{"MaxRecipients", &o.MaxRecipients, 20},
		{"MaxQueuedBytes", &o.MaxQueuedBytes, 1 << 20},
		{"MaxStateBytes", &o.MaxStateBytes, 2 << 20},
	} {
		if *limit.value < 0 {
			return o, fmt.Errorf("adminui: Options.%s is negative", limit.name)
		}
		if *limit.value == 0 {
			*limit.value = limit.unset
		}
	}
	return o, nil
}

// An Admin is what the UI connects to. Its methods are safe for concurrent use.
type Admin struct {
	options   Options
	server    *core.Server
	namespace *core.Namespace
	features  []string
	alone     bool // there are no other servers

	throttle *throttle
	checks   chan struct{} // holds one for each password that is being checked
	waiting  chan struct{} // the same for those that are to be

	ctx     context.Context //nolint:containedctx // an Admin is a life, and this is how long it lasts
	stop    context.CancelFunc
	unhook  func()
	running sync.WaitGroup // the goroutine of run
	wake    chan struct{}  // something is in the queue

	watched atomic.Bool // the same as queue.watched, to be asked for each event
	counts  struct{ failures, refused, dropped, cut atomic.Uint64 }
	tally   tally
	model   model // used by the goroutine of run only

	queue queue
}

// Stats are counts of what an Admin has done. All but Pages only grow.
type Stats struct {
	// Pages is how many pages of the UI are connected to this server.
	Pages int
	// FailedLogins is how many attempts to log in have failed.
	FailedLogins uint64
	// RefusedLogins is how many of those were refused without a look at the
	// password, for MaxFailures or MaxChecks.
	RefusedLogins uint64
	// Dropped is how many events did not reach the pages because the queue
	// was full.
	Dropped uint64
	// Cut is how many events were shown in part only, for MaxArgsBytes.
	Cut uint64
}

// Instrument lets the Admin UI connect to srv. It fails if the options are wrong.
// A namespace can be instrumented once, and admits nobody after Stop.
func Instrument(srv *core.Server, o Options) (*Admin, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Admin{
		options:   o,
		server:    srv,
		namespace: srv.Of(o.Namespace),
		throttle:  newThrottle(o.MaxFailures),
		checks:    make(chan struct{}, o.MaxChecks),
		waiting:   make(chan struct{}, 9*o.MaxChecks),
		features:  features(o),
		wake:      make(chan struct{}, 1),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.queue.init(o.MaxQueuedBytes)
	if o.WithoutAuthentication {
		o.Logger.LogAttrs(a.ctx, slog.LevelWarn, "the admin UI asks nobody for a password", slog.String("namespace", o.Namespace))
	}
	a.tally.start(srv)
	a.join()
	a.observe()
	a.namespace.OnConnect(a.greet)
	a.namespace.OnDisconnect(func(_ context.Context, s *core.Socket, _ error) { a.leave(s) })
	if !o.ReadOnly {
		a.handleCommands()
	}
	a.namespace.Use(a.guard)
	a.addEarlier()
	a.running.Go(a.run)
	return a, nil
}

// Stop disconnects the pages and ends everything that Instrument has begun. It
// waits for it, so it must not be called by an Options.Data function. Calling
// it again does nothing.
func (a *Admin) Stop() {
	a.stop()
	a.unhook()
	a.queue.end()
	a.namespace.To().Local().Disconnect()
	a.running.Wait()
}

// Stats returns the counts.
func (a *Admin) Stats() Stats {
	return Stats{
		Pages:         a.queue.pageCount(),
		FailedLogins:  a.counts.failures.Load(),
		RefusedLogins: a.counts.refused.Load(),
		Dropped:       a.counts.dropped.Load(),
		Cut:           a.counts.cut.Load(),
	}
}

// interval is how often the UI expects to hear of a server.
const interval = 2 * time.Second

// run sends what is in the queue, and the figures, until Stop.
func (a *Admin) run() {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-a.wake:
			a.drain()
		case <-ticker.C:
			a.tick()
		}
	}
}

// features are what the UI is told that it can do.
func features(o Options) []string {
	list := []string{"AGGREGATED_EVENTS"}
	if o.Development {
		list = append(list, "ALL_EVENTS")
	}
	if !o.ReadOnly {
		list = append(list, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	return list
}

// hostname is the name of this machine, as far as it has one.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// emit sends an event to every page, also those of other servers.
func (a *Admin) emit(target core.Target, event string, args ...any) {
	if err := target.Emit(a.ctx, event, args...); err != nil {
		a.options.Logger.LogAttrs(a.ctx, slog.LevelDebug, "event for the admin UI not sent",
			slog.String("event", event), slog.Any("error", err))
	}
}

// moment writes a time as the UI reads it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
