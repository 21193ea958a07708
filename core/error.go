package core

import (
	"errors"
	"fmt"

	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// An Error is meant for the client: a handler that returns one answers the
// event with it, connect middleware that returns one refuses the connection
// with it. Any other error is logged, and the client is told "internal".
type Error = event.Error

// Errorf makes an Error with the given code and formatted message. It does
// not wrap: what a client is told is all there is.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Codes of the errors that the framework itself answers with.
const (
	CodeInternal     = "internal"      // the handler failed; the log says how
	CodeBadPayload   = "bad_payload"   // the arguments do not fit the handler's type
	CodeUnknownEvent = "unknown_event" // no handler, and the client wanted an answer

	CodeTooManyNamespaces = "too_many_namespaces" // Options.MaxNamespaces or MaxDynamicNamespaces
)

// Errors of emits, calls and room operations. Test with errors.Is.
var (
	// ErrDisconnected: the socket is not, or no longer, connected.
	ErrDisconnected = errors.New("core: socket has been disconnected")
	// ErrSlowConsumer: the client does not read fast enough and has been
	// disconnected for it.
	ErrSlowConsumer = transports.ErrSlowConsumer
	// ErrOutboxFull: the client does not read fast enough, and the event was
	// sent with Refuse.
	ErrOutboxFull = session.ErrOutboxFull
	// ErrDropped: the event was sent in a way that lets it be dropped, and it
	// was. Emit does not return it, CallAll does.
	ErrDropped = session.ErrDropped
	// Why a handshake was refused; see RequestError.
	ErrTooManySessions            = session.ErrTooManySessions
	ErrTooManySessionsFromAddress = session.ErrTooManySessionsFromAddress
	ErrConnectRate                = session.ErrConnectRate
	ErrConnectRateFromAddress     = session.ErrConnectRateFromAddress
	ErrShutdown                   = session.ErrShutdown
	ErrOrigin                     = session.ErrOrigin
	// ErrNoDeadline: CallAll needs a context with a deadline.
	ErrNoDeadline = errors.New("core: CallAll needs a context with a deadline")
	// ErrTooManyRooms: the socket would be in more rooms than
	// Options.MaxRooms.
	ErrTooManyRooms = errors.New("core: too many rooms")
	// ErrTooLarge: one message is larger than Options.MaxOutboxBytes.
	ErrTooLarge = session.ErrTooLarge
)

// A Reason says why a socket was disconnected, in the words that Socket.IO
// uses on both ends.
type Reason = transports.Reason

// A CloseError is the cause that OnDisconnect handlers get and that a socket's
// context ends with: the Reason, and what is behind it.
type CloseError = transports.CloseError

// Reasons for which a socket is disconnected.
const (
	TransportClose            = transports.TransportClose
	TransportError            = transports.TransportError
	PingTimeout               = transports.PingTimeout
	ParseError                = transports.ParseError
	ForcedClose               = transports.ForcedClose // the client broke the protocol
	ForcedServerClose  Reason = "forced server close"  // the client joined no namespace in time
	ServerShuttingDown Reason = "server shutting down"
	ClientDisconnect   Reason = "client namespace disconnect"
	ServerDisconnect   Reason = "server namespace disconnect"
)

// ReasonOf returns the reason in a disconnect cause.
func ReasonOf(cause error) Reason { return transports.AsCloseError(cause).Reason }

// clientError returns what a client may know of err.
func clientError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error"}
}

func defaultErrorAnswer(e *Error) any {
	return struct {
		Error *Error `json:"error"`
	}{e}
}

// refusal is the payload of a CONNECT_ERROR, in the form that the client turns
// into an Error object with a data property.
func refusal(e *Error) any {
	data := e.Data
	if data == nil && e.Code != "" {
		data = map[string]string{"code": e.Code}
	}
	return struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{e.Message, data}
}
