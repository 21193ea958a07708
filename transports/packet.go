package transports

import (
	"sync/atomic"
	"unicode/utf8"
)

// Type is the type of an Engine.IO packet. On text transports it is written
// as one ASCII digit in front of the data (engine.io-protocol v4, "Packet
// types").
type Type uint8

// The packet types of Engine.IO 4.
const (
	Open    Type = 0 // handshake data, server to client
	Close   Type = 1 // end of the session, where the transport has no end of its own
	Ping    Type = 2 // heartbeat, server to client; "probe" when a client tries an upgrade
	Pong    Type = 3 // answer to Ping
	Message Type = 4 // application data, text or binary
	Upgrade Type = 5 // the client commits to the probed transport
	Noop    Type = 6 // releases a parked poll
)

// String returns the protocol's name of the type.
func (t Type) String() string {
	names := [...]string{"open", "close", "ping", "pong", "message", "upgrade", "noop"}
	if int(t) < len(names) {
		return names[t]
	}
	return "invalid"
}

// Digit is the type as it is written on text transports.
func (t Type) Digit() byte { return '0' + byte(t) }

// A Packet is one Engine.IO packet.
type Packet struct {
	Type   Type
	Binary bool // Data is bytes, not UTF-8 text; Message only

	// NoCompress: the sender asked not to spend compression on this packet.
	NoCompress bool

	// Data is the content without the type digit. Who receives a Packet must
	// not change it.
	Data []byte

	// Shared is set on a packet that is sent to many sessions. A transport
	// may keep its encoded form there, so that it is made once.
	Shared *Shared

	// Buffer is what Data is in, if that is used again as soon as the Conn has
	// no part in the packet any more: see Conn.Send.
	Buffer *Buffer
}

// AppendText appends the text form of a packet that is not binary: the type
// digit and the data.
func (p Packet) AppendText(dst []byte) []byte {
	return append(append(dst, p.Type.Digit()), p.Data...)
}

// ParseText reads the text form of a packet. The packet's Data aliases text.
// The error is a *CloseError with reason ParseError that wraps ErrMalformed:
// empty text, a first byte that is no type, or invalid UTF-8.
func ParseText(text []byte) (Packet, error) {
	if len(text) == 0 {
		return Packet{}, Malformed("empty packet", 0)
	}
	t := Type(text[0] - '0')
	if t > Noop {
		return Packet{}, Malformed("unknown packet type", 0)
	}
	if !utf8.Valid(text) {
		return Packet{}, Malformed("invalid UTF-8", 0)
	}
	return Packet{Type: t, Data: text[1:]}, nil
}

// Shared caches the encoded forms of a packet that many connections send. The
// zero value is ready for use, from any number of goroutines.
type Shared struct {
	forms atomic.Pointer[form]
}

// A form is an immutable node of the list of encodings. There are one or two
// of them in practice, so a list beats a map.
type form struct {
	key, value any
	next       *form
}

// Form returns the encoding kept under key, calling encode to make it if
// there is none. Concurrent first calls may each encode; all get the same
// value. A key is a comparable value of a type of the transport's own, so
// that transports cannot collide.
func (s *Shared) Form(key any, encode func() any) any {
	head := s.forms.Load()
	if f := head.find(key); f != nil {
		return f.value
	}
	made := &form{key: key, value: encode()}
	for {
		made.next = head
		if s.forms.CompareAndSwap(head, made) {
			return made.value
		}
		head = s.forms.Load()
		if f := head.find(key); f != nil {
			return f.value
		}
	}
}

func (f *form) find(key any) *form {
	for ; f != nil; f = f.next {
		if f.key == key {
			return f
		}
	}
	return nil
}
