package codec

import (
	"errors"
	"math"
	"strconv"
)

// ErrReservedEvent is what an error of CheckEvent is in the sense of
// errors.Is.
var ErrReservedEvent = errors.New("reserved event name")

// A reservedEventError is the refusal of one reserved name.
type reservedEventError string

func (e reservedEventError) Error() string { return `"` + string(e) + `" is a reserved event name` }

func (e reservedEventError) Is(target error) bool { return target == ErrReservedEvent }

// CheckEvent returns an error if name is one of those that Socket.IO keeps for
// itself and that no event on the wire may have. Every codec applies it to
// what it sends, through Packet.Validate, and to what it receives. The text
// of the error is that of the reference implementation:
// `"connect" is a reserved event name`.
func CheckEvent(name string) error {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return reservedEventError(name)
	}
	return nil
}

// NumericEvent is the event name that a number on the wire stands for: its
// shortest decimal text, as JavaScript would use it for a property key, so
// that 1, 1.0 and "1" name one event. ok is false for NaN and infinities.
func NumericEvent(number float64) (name string, ok bool) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return "", false
	}
	return string(appendFloat(nil, number)), true
}

// appendFloat appends a finite number the way JavaScript writes it.
func appendFloat(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // negative zero too
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// JavaScript pads no exponent: 1e-7, not 1e-07.
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
