package session

import "errors"

// A Code is an Engine.IO error code, sent to clients whose request is refused.
type Code int

// The codes of the reference implementation.
const (
	CodeUnknownTransport   Code = 0 // no such transport, or not enabled
	CodeUnknownSession     Code = 1 // no such session in this process
	CodeBadHandshakeMethod Code = 2 // no session named and not a GET
	CodeBadRequest         Code = 3 // mismatch, failed handshake, refused upgrade
	CodeForbidden          Code = 4 // AllowRequest said no, or the origin may not connect
	CodeUnsupportedVersion Code = 5 // not Engine.IO 4
)

// String returns the message that goes with the code on the wire.
func (c Code) String() string {
	messages := [...]string{
		"Transport unknown", "Session ID unknown", "Bad handshake method",
		"Bad request", "Forbidden", "Unsupported protocol version",
	}
	if c >= 0 && int(c) < len(messages) {
		return messages[c]
	}
	return "Unknown error"
}

// A RequestError is a request that was refused: what operators need to tell a
// missing sticky session from a proxy that strips headers.
type RequestError struct {
	Code Code
	// Context narrows Code down, in the reference's words where it has them:
	// INVALID_ORIGIN, TRANSPORT_MISMATCH, TRANSPORT_HANDSHAKE_ERROR,
	// ID_GENERATION_ERROR; and UPGRADE_REFUSED, UNAVAILABLE, ORIGIN_REFUSED.
	Context   string
	Transport string
	SessionID string // as the request named it
	Method    string // of a handshake
	Err       error  // what is behind it, or nil
}

// Error returns the code's message, the context and what is behind it.
func (e *RequestError) Error() string {
	text := "session: " + e.Code.String()
	if e.Context != "" {
		text += " (" + e.Context + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what is behind the refusal.
func (e *RequestError) Unwrap() error { return e.Err }

// message is what the client is told. Of what is behind an error it learns
// nothing, but for the text that AllowRequest returned for it.
func (e *RequestError) message() string {
	if e.Code == CodeForbidden && e.Err != nil && e.Err.Error() != "" {
		return e.Err.Error()
	}
	return e.Code.String()
}

func (e *RequestError) status() int {
	switch {
	case e.Code == CodeForbidden:
		return 403
	case errors.Is(e.Err, ErrShutdown), errors.Is(e.Err, ErrTooManySessions), errors.Is(e.Err, ErrConnectRate):
		return 503
	case errors.Is(e.Err, ErrTooManySessionsFromAddress), errors.Is(e.Err, ErrConnectRateFromAddress):
		return 429
	}
	return 400
}
