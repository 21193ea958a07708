package client

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// Errors of emits, calls and connecting. Test with errors.Is.
var (
	// ErrClosed: the socket was closed.
	ErrClosed = errors.New("client: socket is closed")
	// ErrDisconnected: the socket is not, or no longer, connected. What is
	// behind it is the *CloseError.
	ErrDisconnected = errors.New("client: socket has been disconnected")
	// ErrBufferFull: more waits to be sent than Options.MaxBufferedBytes.
	ErrBufferFull = errors.New("client: too much waits to be sent")
	// ErrTooLarge: a message is larger than the server takes.
	ErrTooLarge = errors.New("client: message is larger than the server takes")
	// ErrAckTimeout: the server has not answered within
	// SocketOptions.AckTimeout.
	ErrAckTimeout = errors.New("client: operation has timed out")
	// ErrGivenUp: Reconnection.Attempts have failed. What is behind it is
	// the error of the last one.
	ErrGivenUp = errors.New("client: gave up connecting")
	// ErrOldServer: the server speaks version 2 of Socket.IO or older.
	ErrOldServer = errors.New("client: the server speaks an older version of Socket.IO, which version 4 clients cannot talk to")
)

// An Error is what a handler of the server answers instead of a result; a
// handler of the client that returns one tells the server so. It is core.Error.
type Error = event.Error

// Errorf makes an Error with the given code and formatted message.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Codes of the errors that this package itself answers with.
const (
	CodeInternal   = "internal"    // the handler failed; the log says how
	CodeBadPayload = "bad_payload" // the arguments do not fit the handler's type
)

// A Reason says why a socket was disconnected, in the words that official
// clients use.
type Reason = transports.Reason

// A CloseError is why a connection ended: the Reason, and what is behind it.
type CloseError = transports.CloseError

// Reasons for which a socket is disconnected. After the first two it stays so
// until Connect is called.
const (
	ServerDisconnect Reason = "io server disconnect"    // the server has disconnected the socket
	ClientDisconnect Reason = "io client disconnect"    // Disconnect or Close was called
	PingTimeout             = transports.PingTimeout    // the server was not heard in time
	TransportClose          = transports.TransportClose // the connection was closed or lost
	TransportError          = transports.TransportError // the transport failed
	ParseError              = transports.ParseError     // the server has sent what cannot be read
	ForcedClose             = transports.ForcedClose    // the Manager was closed
)

// ReasonOf returns the reason in a disconnect cause.
func ReasonOf(cause error) Reason { return transports.AsCloseError(cause).Reason }

// A ConnectError is the refusal of a namespace by the server: by its
// middleware, or because there is no such namespace.
type ConnectError struct {
	// Namespace is what was refused.
	Namespace string
	// Message is the server's.
	Message string
	// Data is what the server adds, absent if it is nothing.
	Data codec.Raw
}

// Error names the namespace and gives the message.
func (e *ConnectError) Error() string { return "client: " + e.Namespace + ": " + e.Message }

// A RequestError is a request that the server has refused.
type RequestError struct {
	// Transport is the one that was to be opened, or that has failed.
	Transport string
	// Status is that of the HTTP response.
	Status int
	// Code and Message are those of Engine.IO, if the server is one:
	// 0 unknown transport, 1 unknown session, 2 bad method, 3 bad request,
	// 4 forbidden, 5 unsupported protocol. Otherwise, and if a WebSocket was
	// refused, Code is -1 and Message a line of text, if there is one.
	Code    int
	Message string
}

// Error gives the status and the message.
func (e *RequestError) Error() string {
	switch {
	case e.Code < 0 && e.Message == "":
		return fmt.Sprintf("client: %s: HTTP status %d", e.Transport, e.Status)
	case e.Code < 0:
		return fmt.Sprintf("client: %s: HTTP status %d: %s", e.Transport, e.Status, e.Message)
	}
	return fmt.Sprintf("client: %s: HTTP status %d: %s (code %d)", e.Transport, e.Status, e.Message, e.Code)
}

// A disconnectedError is ErrDisconnected with its cause.
type disconnectedError struct{ cause error }

func (e *disconnectedError) Error() string { return ErrDisconnected.Error() + ": " + e.cause.Error() }

func (e *disconnectedError) Unwrap() []error { return []error{ErrDisconnected, e.cause} }

// handlerError returns what the server may know of err.
func handlerError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if _, ok := errors.AsType[*event.PayloadError](err); ok {
		return &Error{Code: CodeBadPayload, Message: "payload does not fit"}
	}
	return &Error{Code: CodeInternal, Message: "internal error"}
}

func defaultErrorAnswer(e *Error) any {
	return struct {
		Error *Error `json:"error"`
	}{e}
}

// defaultAnswerError reads what core.Options.ErrorAnswer has by default.
func defaultAnswerError(answer codec.Args) error {
	// Both codecs write the names of members as they are.
	if answer.Len() != 1 || !bytes.Contains(firstBytes(answer.Raw(0).Bytes()), []byte("error")) {
		return nil
	}
	var members map[string]codec.Raw
	if answer.Raw(0).Bind(&members) != nil || len(members) != 1 {
		return nil
	}
	var e struct {
		Code    *string   `json:"code"`
		Message string    `json:"message"`
		Data    codec.Raw `json:"data"`
	}
	if raw, ok := members["error"]; !ok || raw.Bind(&e) != nil || e.Code == nil {
		return nil
	}
	err := &Error{Code: *e.Code, Message: e.Message}
	if !e.Data.IsZero() {
		err.Data = e.Data
	}
	return err
}

// firstBytes is where the only member of an object has its name.
func firstBytes(data []byte) []byte { return data[:min(len(data), 16)] }
