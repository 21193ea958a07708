package transports

import (
	"errors"
	"fmt"
)

// A Reason says why a session or a socket ended, in the words that the
// reference implementation passes to applications. Dashboards and client code
// compare them, so they are kept to the letter.
type Reason string

// The reasons of the Engine.IO layer.
const (
	TransportClose Reason = "transport close" // the peer closed, or the connection was lost
	TransportError Reason = "transport error" // the transport failed or was misused
	PingTimeout    Reason = "ping timeout"    // no pong in time
	ParseError     Reason = "parse error"     // a packet could not be read
	ForcedClose    Reason = "forced close"    // this side closed
)

// What can be behind a close. Test with errors.Is.
var (
	// ErrPayloadTooLarge: the peer sent more than MaxPayload.
	ErrPayloadTooLarge = errors.New("payload too large")
	// ErrMalformed: the peer sent something that is no packet.
	ErrMalformed = errors.New("malformed packet")
	// ErrTooManyPackets: the peer sent more packets at once than the
	// transport allows. It wraps ErrMalformed.
	ErrTooManyPackets = fmt.Errorf("%w: too many packets in a payload", ErrMalformed)
	// ErrOverlap: a second poll, or a second data request, came while one
	// was under way.
	ErrOverlap = errors.New("overlap from client")
	// ErrClientGone: the client went away in the middle of a request.
	ErrClientGone = errors.New("connection closed prematurely")
	// ErrInvalidContent: the content type of a request is not one that the
	// protocol allows.
	ErrInvalidContent = errors.New("invalid content")
	// ErrSlowConsumer: the peer did not read fast enough and its outbox
	// reached its limit.
	ErrSlowConsumer = errors.New("slow consumer")
)

// ErrRetired is returned by Conn.Send after Retire.
var ErrRetired = errors.New("transports: conn is retired")

// A CloseError is why a connection, session or socket ended.
//
// errors.Is(err, &CloseError{Reason: r}) is true for every CloseError with
// that reason; errors.Is with one of the sentinels of this package looks at
// what is behind it.
type CloseError struct {
	// Reason is what the application on the other side would be told.
	Reason Reason
	// Err is what really happened. It may be nil.
	Err error
}

// Error returns the reason and what is behind it.
func (e *CloseError) Error() string {
	if e.Err == nil {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Err.Error()
}

// Unwrap returns what is behind the close.
func (e *CloseError) Unwrap() error { return e.Err }

// Is reports whether target is a CloseError with the same reason and nothing
// behind it.
func (e *CloseError) Is(target error) bool {
	t, ok := target.(*CloseError)
	return ok && t.Reason == e.Reason && t.Err == nil
}

// Malformed returns the close of a peer that sent something unreadable at
// byte offset of a message.
func Malformed(what string, offset int) *CloseError {
	return &CloseError{Reason: ParseError, Err: fmt.Errorf("%w: %s at byte %d", ErrMalformed, what, offset)}
}

// AsCloseError returns the CloseError in err's chain, or err as a
// TransportError. A nil err is a TransportClose.
func AsCloseError(err error) *CloseError {
	if err == nil {
		return &CloseError{Reason: TransportClose}
	}
	if ce, ok := errors.AsType[*CloseError](err); ok {
		return ce
	}
	return &CloseError{Reason: TransportError, Err: err}
}
