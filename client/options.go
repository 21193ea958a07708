package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports/ws"
)

// The transports that Options.Transports may name.
const (
	Polling   = "polling"
	WebSocket = "websocket"
)

// Options configure a Manager and its sockets. The zero value works; the zero
// value of each field is its default.
type Options struct {
	// Path is where the server is mounted. Default "/socket.io/".
	Path string
	// Query is added to the query of each request. That of the URL is too.
	Query url.Values
	// Header is added to the header of each request. Host is heeded. It is
	// not changed. Default: none.
	Header http.Header
	// HTTPClient makes the requests and opens the WebSockets. Idle
	// connections of it are its owner's, and are closed when a connection is
	// lost. Its Timeout is not heeded, since a poll takes as long as the
	// server has nothing to say. Default: one for each Manager, see the
	// package's documentation.
	HTTPClient *http.Client

	// Transports are tried in this order until one opens. Default: WebSocket,
	// Polling, which needs the fewest requests and no sticky sessions, and
	// still works where WebSocket is blocked. Official clients in browsers
	// have the other order: they open on Polling and upgrade.
	Transports []string
	// FirstTransportOnly tries the first of Transports alone.
	FirstTransportOnly bool
	// DisableUpgrade keeps a connection that has opened on Polling there,
	// also if WebSocket is among Transports and the server offers it.
	DisableUpgrade bool
	// RememberUpgrade tries WebSocket first once a connection has worked on
	// it, whatever the order of Transports.
	RememberUpgrade bool
	// Compression is about permessage-deflate. Default: not offered.
	Compression ws.Compression

	// Codec must be that of the server. Default: codec.JSON.
	Codec codec.Codec

	// Timeout is how long a transport may take to open a connection, and to
	// take over from another. Default 20 s.
	Timeout time.Duration
	// Reconnection says whether and when a lost connection is opened again.
	Reconnection Reconnection

	// MaxMessageBytes is the largest message that is taken from the server,
	// or, with Polling, the largest body of a response. Default 16 MiB.
	MaxMessageBytes int64
	// MaxBufferedBytes bounds what waits to be sent, for each socket while it
	// is not connected and for each connection, counting 64 bytes for each
	// packet besides its data. Emit returns ErrBufferFull beyond. Negative:
	// nothing waits for a connection, Emit returns ErrDisconnected without
	// one. Default 4 MiB.
	MaxBufferedBytes int
	// MaxQueuedBytes bounds the events of one socket that wait for their
	// handlers, counting 192 bytes for each besides its payload. When they
	// reach it the connection is not read from until there is room again.
	// Default 4 MiB.
	MaxQueuedBytes int

	// Socket are the options of the socket that Dial or New makes.
	Socket SocketOptions

	// ErrorAnswer makes what the server gets as the answer to an event whose
	// handler failed. Default: {"error":{"code":…,"message":…,"data":…}}.
	ErrorAnswer func(e *Error) any
	// AnswerError finds out whether an answer of the server is an error, and
	// returns it. Default: one of a single argument, of the shape above, is
	// an *Error.
	AnswerError func(answer codec.Args) error

	// Logger takes what the client has to say: errors that handlers return
	// and panics at error level, events that were given up at warning level,
	// failed attempts to connect and to upgrade at debug level. Payloads are
	// not logged. Default: nothing is logged.
	Logger *slog.Logger
}

// SocketOptions are those of one socket. The zero value works.
type SocketOptions struct {
	// Auth is the payload of the connect request, an object. Default: none.
	Auth any
	// AuthFunc makes it anew for every attempt to join the namespace, on a
	// goroutine of its own, which Close waits for. An error is reported like a failed attempt, and
	// AuthFunc is asked again after the delay of a reconnection. The context
	// ends with the attempt. It has precedence over Auth.
	AuthFunc func(ctx context.Context) (any, error)

	// AckTimeout bounds each Call, besides its context. Default 0: nothing
	// does, or 10 s if there are Retries.
	AckTimeout time.Duration
	// Retries is how many times an event is sent again that the server has
	// not acknowledged within AckTimeout, or before the connection was lost.
	// Events, but for volatile ones, are then sent one after another, each
	// with a request for an answer, and the server may get one more than
	// once: its handlers must answer all events, and not mind repetitions.
	// Default 0: none is sent again.
	Retries int
}

// Reconnection says whether and when a lost connection is opened again. The
// delay before attempt n, counted from zero, is Delay * 2^n, at most MaxDelay,
// more or less by a random part of up to Jitter of it; what would be beyond
// MaxDelay is as far below it.
type Reconnection struct {
	// Disabled: a lost connection stays lost.
	Disabled bool
	// Attempts is how many there are before the client gives up. Default 0:
	// it never does.
	Attempts int
	// Delay is the first delay. Default 1 s.
	Delay time.Duration
	// MaxDelay bounds them all. Default 5 s.
	MaxDelay time.Duration
	// Jitter is between 0 and 1. Default 0.5; negative: none.
	Jitter float64
}

const (
	defaultTimeout    = 20 * time.Second
	defaultAckTimeout = 10 * time.Second
	defaultDelay      = time.Second
	defaultMaxDelay   = 5 * time.Second
	defaultJitter     = 0.5
	defaultMessage    = 16 << 20
	defaultBuffered   = 4 << 20
	defaultQueued     = 4 << 20
)

func (o Options) withDefaults() (Options, error) {
	if o.Path == "" {
		o.Path = "/socket.io/"
	}
	if o.Transports == nil {
		o.Transports = []string{WebSocket, Polling}
	}
	o.Transports = slices.Clone(o.Transports)
	for _, name := range o.Transports {
		if name != Polling && name != WebSocket {
			return o, fmt.Errorf("client: Options.Transports: unknown transport %q", name)
		}
	}
	if len(o.Transports) == 0 {
		return o, errors.New("client: Options.Transports is empty")
	}
	if o.Codec == nil {
		o.Codec = codec.JSON(codec.JSONOptions{})
	}
	if o.MaxBufferedBytes == 0 {
		o.MaxBufferedBytes = defaultBuffered
	}
	if o.MaxQueuedBytes == 0 {
		o.MaxQueuedBytes = defaultQueued
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = defaultMessage
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Timeout < 0 || o.MaxMessageBytes < 0 || o.MaxQueuedBytes < 0 {
		return o, errors.New("client: Options has a negative limit")
	}
	if o.ErrorAnswer == nil {
		o.ErrorAnswer = defaultErrorAnswer
	}
	if o.AnswerError == nil {
		o.AnswerError = defaultAnswerError
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	o.Reconnection, err = o.Reconnection.withDefaults()
	return o, err
}

func (r Reconnection) withDefaults() (Reconnection, error) {
	if r.Delay == 0 {
		r.Delay = defaultDelay
	}
	if r.MaxDelay == 0 {
		r.MaxDelay = max(defaultMaxDelay, r.Delay)
	}
	switch {
	case r.Jitter == 0:
		r.Jitter = defaultJitter
	case r.Jitter < 0:
		r.Jitter = 0
	}
	if r.Delay < 0 || r.MaxDelay < 0 || r.Attempts < 0 || r.Jitter > 1 {
		return r, errors.New("client: Reconnection is out of range")
	}
	return r, nil
}

func (o SocketOptions) withDefaults() (SocketOptions, error) {
	if o.Retries < 0 || o.AckTimeout < 0 {
		return o, errors.New("client: SocketOptions has a negative value")
	}
	if o.Retries > 0 && o.AckTimeout == 0 {
		o.AckTimeout = defaultAckTimeout
	}
	return o, nil
}
