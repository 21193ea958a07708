package codec

import "errors"

// What can be wrong with a packet. The texts are those of the reference
// implementation, to the letter, where it has one. A *DecodeError wraps one of
// the first group; errors of Encode and Packet.Validate wrap one of either.
var (
	// ErrUnknownType: the packet type is none of the protocol's.
	ErrUnknownType = errors.New("unknown packet type")
	// ErrInvalidNamespace: the namespace does not start with a slash, holds
	// a comma, or is no UTF-8.
	ErrInvalidNamespace = errors.New("invalid namespace")
	// ErrInvalidID: the ack id is beyond MaxID, or an ack has none.
	ErrInvalidID = errors.New("invalid packet id")
	// ErrInvalidPayload: the payload is malformed, missing, nested too
	// deeply, or not of the shape that the packet type asks for.
	ErrInvalidPayload = errors.New("invalid payload")
	// ErrAttachmentCount: the header of a packet with attachments does not
	// say how many.
	ErrAttachmentCount = errors.New("Illegal attachments") //nolint:staticcheck // the reference's text: this one has a capital, the next one not
	// ErrAttachmentIndex: a placeholder names an attachment that is not
	// there.
	ErrAttachmentIndex = errors.New("illegal attachments")
	// ErrTooManyAttachments: the packet has more attachments than allowed.
	ErrTooManyAttachments = errors.New("too many attachments")
	// ErrUnexpectedText: text came where bytes were due: an attachment, or
	// any packet of a codec that is binary.
	ErrUnexpectedText = errors.New("got plaintext data when reconstructing a packet")
	// ErrUnexpectedBinary: bytes came where no attachment was due.
	ErrUnexpectedBinary = errors.New("got binary data when not reconstructing a packet")
	// ErrPendingTooLarge: a packet and its attachments exceed the limit.
	ErrPendingTooLarge = errors.New("packet with attachments too large")

	// ErrTooDeep: a value to be sent is nested too deeply or contains
	// itself.
	ErrTooDeep = errors.New("value nested too deeply")
	// ErrPlaceholder: data to be sent along with attachments has a member
	// named "_placeholder". The JSON wire has no way to tell it from a
	// reference to an attachment.
	ErrPlaceholder = errors.New(`"_placeholder" is not allowed as a member name beside binary values`)
	// ErrInvalidUTF8: JSON text that was made elsewhere (json.RawMessage, a
	// MarshalJSON method) is not UTF-8.
	ErrInvalidUTF8 = errors.New("invalid UTF-8 in JSON text")
)

// A DecodeError is a frame that the peer should not have sent. errors.Is with
// the sentinels of this package tells what was wrong with it.
type DecodeError struct {
	// Reason is what the reference implementation tells applications in this
	// case. It is safe to show.
	Reason string
	// Hint is what is probably behind it, for who reads the log. It is empty
	// if there is nothing to add.
	Hint string
	// Offset is the byte of the frame at which the decoder gave up.
	Offset int
	// Err is the sentinel.
	Err error
}

// Error returns the reason, and the hint behind a colon.
func (e *DecodeError) Error() string {
	if e.Hint == "" {
		return e.Reason
	}
	return e.Reason + ": " + e.Hint
}

// Unwrap returns the sentinel.
func (e *DecodeError) Unwrap() error { return e.Err }

// NewDecodeError returns a DecodeError whose reason is the text of err.
func NewDecodeError(err error, offset int) *DecodeError {
	return &DecodeError{Reason: err.Error(), Offset: offset, Err: err}
}
