package core

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// Names of the layers below that programs on this one need.
type (
	// CORS says pages of which other origins may connect.
	CORS = session.CORS
	// Cookie carries the session id for load balancers.
	Cookie = session.Cookie
	// Handshake is what is known from the request that opened a session.
	Handshake = transports.Handshake
	// RequestError is an HTTP request that was refused.
	RequestError = session.RequestError
)

// Options configure a Server. The zero value works; the zero value of each
// field is its default.
type Options struct {
	// Path is where the server is mounted. It must match the client's path
	// option. Default "/socket.io/". A missing slash at either end is added;
	// requests without the one at the end are served too.
	Path string

	// Transports that clients may use, in order of preference for nobody:
	// the client chooses. Default: polling and WebSocket with their
	// defaults.
	Transports []transports.Transport
	// Codec of the server. Clients must use the same; others are closed with
	// their first packet. Default: JSON, which is what official clients use
	// unless told otherwise.
	Codec codec.Codec

	// PingInterval is the time between a client's pong and the next ping.
	// Default 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a client may take to answer a ping. Default
	// 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long moving to another transport may take.
	// Default 10 s.
	UpgradeTimeout time.Duration
	// DisableUpgrades keeps sessions on the transport they opened on.
	DisableUpgrades bool
	// ConnectTimeout is how long a client may stay without having joined a
	// namespace, and how long connect middleware may take. Default 45 s.
	ConnectTimeout time.Duration

	// AllowEIO3 lets clients of Socket.IO 2 in, which speak revision 3 of
	// Engine.IO: the last of them are apps and browsers' copies of the client
	// that nobody can update. They have no part in Recovery. Default: they
	// are refused with the code 5, "Unsupported protocol version".
	AllowEIO3 bool

	// MaxPayload is the largest message, in bytes, that a client may send.
	// Default 1,000,000. It is announced to clients.
	MaxPayload int64
	// MaxOutboxBytes bounds what may wait for one client, counting 64 bytes
	// for each packet besides its data. What happens when an event finds no
	// room, Target.Overflow says: unless it was told otherwise, the client is
	// closed as a slow consumer. Default 4 MiB.
	MaxOutboxBytes int
	// MaxOutboxPackets bounds the same in packets; an event is one, and one
	// more for each of its attachments. Default 65,536, which is what the
	// default MaxOutboxBytes has room for.
	MaxOutboxPackets int
	// MaxVolatileBytes is how much may wait for a client that is sent a
	// volatile event. Beyond it the event is dropped. Default 64 KiB.
	MaxVolatileBytes int
	// MaxQueuedBytes bounds the events of one socket that wait for their
	// handler, counting 192 bytes for each besides its payload. When they
	// reach it the client is not read from until there is room again.
	// Default 1 MiB.
	MaxQueuedBytes int
	// MaxNamespaces is how many namespaces one client may be connected to, or
	// on the way to, over one session. It is refused beyond, with the code
	// "too_many_namespaces". One that has left as many, which still have
	// events to handle, is not read from when it asks for another, until one
	// of them is through. Default 100.
	MaxNamespaces int
	// MaxDynamicNamespaces is how many namespaces of OfPattern and OfFunc
	// there may be at once. Clients are refused beyond, with the code
	// "too_many_namespaces". Default 10,000.
	MaxDynamicNamespaces int
	// MaxRooms is how many rooms one socket may be in, its own not counted.
	// Join returns ErrTooManyRooms beyond. Default 1,000.
	MaxRooms int
	// MaxSessions bounds the number of sessions. Handshakes beyond it are
	// refused with status 503 and ErrTooManySessions. Default 0: no limit.
	MaxSessions int
	// MaxSessionsPerAddress bounds the sessions of one address. Handshakes
	// beyond it are refused with status 429 and
	// ErrTooManySessionsFromAddress. Default 0: no limit.
	MaxSessionsPerAddress int
	// MaxConnectRate bounds handshakes per second. One second's worth, but at
	// least one, may come at once. Handshakes beyond it are refused with
	// status 503 and ErrConnectRate. Default 0: no limit.
	MaxConnectRate float64
	// MaxConnectRatePerAddress bounds the same for one address. Handshakes
	// beyond it are refused with status 429 and ErrConnectRateFromAddress.
	// Default 0: no limit.
	MaxConnectRatePerAddress float64
	// ClientAddress says which address a handshake counts for; "" is none.
	// It is called once for each handshake if there is a limit for addresses,
	// and must not block. Behind a proxy it is the place to read
	// X-Forwarded-For, if the proxy is one to be trusted. Default: the
	// address of the TCP peer without the port, and of an IPv6 address the
	// network of 64 bits.
	ClientAddress func(h *Handshake) string
	// ShutdownSpread is the time over which Shutdown spreads the closing of
	// the sessions, so that their clients do not all come back at once.
	// Default 0: they are closed at once.
	ShutdownSpread time.Duration

	// Adapter connects the server with the others of its cluster. Default:
	// none, the server is alone.
	Adapter Adapter
	// Recovery lets clients that have lost their connection come back to
	// where they were. Default: off.
	Recovery *Recovery

	// AllowRequest decides, once for each session, whether a handshake may go on.
	// Its error's text is sent to the client with status 403. It runs on the
	// request's goroutine and may block it. Use middleware to decide for each
	// namespace, with the client's auth payload. It may set h.Context, whose
	// values handlers then find in theirs. Default: all may.
	AllowRequest func(ctx context.Context, h *Handshake) error
	// CORS lets pages of other origins connect, on any transport. Default: none
	// may, only those of the server's own: the host that a page comes from and
	// the one that it asks have to be the same, so a proxy in front must pass Host
	// on as it is.
	CORS *CORS
	// Cookie carries the session id for load balancers that route by it.
	// Default: none.
	Cookie *Cookie
	// Headers is called before the head of each response to a handshake,
	// poll, data request or upgrade is written, and may set fields on it.
	// initial is true once for each session. Default: none.
	Headers func(ex transports.Exchange, initial bool)
	// GenerateID makes session ids; they must be unguessable and unique. An
	// error refuses the handshake. Default: 20 random characters.
	GenerateID func(h *Handshake) (string, error)
	// SessionTag is what session ids begin with, 4 characters of A-Z, a-z, 0-9,
	// - and _, so that the servers of a cluster can tell whose a session is: see
	// adapters/relay. The other 16 characters are random, 96 bits. Each server needs
	// a tag of its own. Not with GenerateID. Default: none.
	SessionTag string
	// OnReject is told of each request that is refused with an Engine.IO
	// error, on the request's goroutine. Default: nobody is.
	OnReject func(e *RequestError)

	// ClientDir is a directory with the bundles of the official client
	// (node_modules/socket.io-client/dist), served below Path as
	// socket.io.js, socket.io.min.js and so on. Default: none are served.
	ClientDir string

	// ErrorAnswer makes what a client gets as the answer to an event whose
	// handler failed. Default: {"error":{"code":…,"message":…,"data":…}}.
	ErrorAnswer func(e *Error) any

	// Logger takes what the server has to say: errors that handlers return
	// and panics at error level, refused requests and ended connections at
	// debug level. Payloads are not logged. Default: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Path == "" {
		o.Path = "/socket.io/"
	}
	o.Path = "/" + strings.Trim(o.Path, "/") + "/"
	if o.Path == "//" {
		o.Path = "/"
	}
	if o.Transports == nil {
		o.Transports = []transports.Transport{polling.New(polling.Options{}), ws.New(ws.Options{})}
	}
	if o.Codec == nil {
		o.Codec = codec.JSON(codec.JSONOptions{})
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 45 * time.Second
	}
	for field, value := range map[*int]int{
		&o.MaxOutboxBytes:       4 << 20,
		&o.MaxOutboxPackets:     1 << 16,
		&o.MaxQueuedBytes:       1 << 20,
		&o.MaxNamespaces:        100,
		&o.MaxDynamicNamespaces: 10_000,
		&o.MaxRooms:             1000,
	} {
		if *field < 0 {
			return o, errors.New("core: Options has a negative limit")
		}
		if *field == 0 {
			*field = value
		}
	}
	// As the layer below has them: recovery keeps events for as long as it
	// takes to notice a dead connection, and sends what an outbox can hold.
	if o.PingInterval == 0 {
		o.PingInterval = 25 * time.Second
	}
	if o.PingTimeout == 0 {
		o.PingTimeout = 20 * time.Second
	}
	if o.ErrorAnswer == nil {
		o.ErrorAnswer = defaultErrorAnswer
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ConnectTimeout < 0 {
		return o, errors.New("core: Options.ConnectTimeout is negative")
	}
	var err error
	o.Recovery, err = o.Recovery.withDefaults()
	return o, err
}

// sessionOptions are what of the options concerns the layer below.
func (srv *Server) sessionOptions() session.Options {
	o := &srv.options
	return session.Options{
		Transports:       o.Transports,
		PingInterval:     o.PingInterval,
		PingTimeout:      o.PingTimeout,
		UpgradeTimeout:   o.UpgradeTimeout,
		DisableUpgrades:  o.DisableUpgrades,
		AllowEIO3:        o.AllowEIO3,
		MaxPayload:       o.MaxPayload,
		MaxOutboxBytes:   o.MaxOutboxBytes,
		MaxOutboxPackets: o.MaxOutboxPackets,
		MaxVolatileBytes: o.MaxVolatileBytes,
		MaxSessions:      o.MaxSessions,

		MaxSessionsPerAddress:    o.MaxSessionsPerAddress,
		MaxConnectRate:           o.MaxConnectRate,
		MaxConnectRatePerAddress: o.MaxConnectRatePerAddress,
		ClientAddress:            o.ClientAddress,
		ShutdownSpread:           o.ShutdownSpread,

		AllowRequest: o.AllowRequest,
		GenerateID:   o.GenerateID,
		SessionTag:   o.SessionTag,
		Headers:      o.Headers,
		OnReject:     srv.requestRefused,
		OnUpgrade:    srv.upgraded,
		Cookie:       o.Cookie,
		CORS:         o.CORS,
		Logger:       o.Logger,
	}
}
