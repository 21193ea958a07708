package auth

import (
	"context"
	"errors"

	"github.com/upshift-go/upshift/core"
)

// Codes of the errors that clients get: in the data of a connect_error, and in
// the answer to an event. Of CodeUnauthorized the data has a reason besides.
const (
	// CodeUnauthorized: the client has not shown who it is. The reason is one
	// of "missing", "too_large", "invalid", "expired", "not_yet_valid",
	// "revoked" and "other_subject".
	CodeUnauthorized = "unauthorized"
	// CodeForbidden: it is known who the client is, and it may not do this.
	CodeForbidden = "forbidden"
)

// Why a client was refused, a renewal failed or a socket was closed. Test with
// errors.Is: the errors of connects, and the causes of disconnects, wrap them.
// A Verify function may return them, or errors that wrap them, and what it
// returns else counts as ErrInvalid.
var (
	// ErrMissing: there is no token, or nobody was identified.
	ErrMissing = errors.New("auth: no token")
	// ErrTooLarge: the token is longer than Options.MaxTokenBytes.
	ErrTooLarge = errors.New("auth: token is too large")
	// ErrInvalid: the token is not one, or its signature or a claim is wrong.
	ErrInvalid = errors.New("auth: token is not valid")
	// ErrNotYetValid: the token will be valid.
	ErrNotYetValid = errors.New("auth: token is not valid yet")
	// ErrExpired: the token has been valid. It is the cause of a socket that
	// was closed because it was not renewed in time.
	ErrExpired = errors.New("auth: token has expired")
	// ErrRevoked: Revoke was called for the subject, after the token was
	// issued. It is the cause of the sockets that Revoke has closed.
	ErrRevoked = errors.New("auth: subject has been revoked")
	// ErrOtherSubject: a token for somebody else cannot renew a socket.
	ErrOtherSubject = errors.New("auth: token is for another subject")
	// ErrUnavailable: it could not be found out whether the token is valid.
	// Clients are told "internal", and the error is logged.
	ErrUnavailable = errors.New("auth: tokens cannot be verified now")
)

// answers are what clients are told. The last is for all other errors.
var answers = []struct {
	cause           error
	reason, message string
}{
	{ErrMissing, "missing", "a token is needed"},
	{ErrTooLarge, "too_large", "the token is too large"},
	{ErrNotYetValid, "not_yet_valid", "the token is not valid yet"},
	{ErrExpired, "expired", "the token has expired"},
	{ErrRevoked, "revoked", "access was revoked"},
	{ErrOtherSubject, "other_subject", "the token is for somebody else"},
	{ErrInvalid, "invalid", "the token is not valid"},
}

// A detail is the data of an error for clients, and the argument of
// Options.ClosedEvent.
type detail struct {
	Code   string `json:"code"`
	Reason string `json:"reason,omitempty"`
}

// detailOf is what a client is told of err, and in words.
func detailOf(err error) (d detail, message string) {
	for _, a := range answers {
		if d, message = (detail{CodeUnauthorized, a.reason}), a.message; errors.Is(err, a.cause) {
			break
		}
	}
	return d, message
}

// A refusal is an error of which the client gets the answer, and the program the
// cause.
type refusal struct {
	answer *core.Error
	cause  error
}

// Error returns the text of the cause, which is not for clients.
func (r *refusal) Error() string { return r.cause.Error() }

// Unwrap returns what the client is told, and why.
func (r *refusal) Unwrap() []error { return []error{r.answer, r.cause} }

// unauthorized makes a refusal of err, unless it is one for clients already, or
// says nothing about them.
func unauthorized(err error) error {
	if err == nil || settled(err) {
		return err
	}
	d, message := detailOf(err)
	return &refusal{answer: &core.Error{Code: d.Code, Message: message, Data: d}, cause: err}
}

// forbidden does the same for a client that is known. Who is not known is
// unauthorized.
func forbidden(err error) error {
	switch {
	case settled(err):
		return err
	case errors.Is(err, ErrMissing):
		return unauthorized(err)
	}
	return &refusal{
		answer: &core.Error{Code: CodeForbidden, Message: "not allowed", Data: detail{Code: CodeForbidden}},
		cause:  err,
	}
}

func settled(err error) bool {
	if _, ok := errors.AsType[*core.Error](err); ok {
		return true
	}
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
