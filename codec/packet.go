package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Type is the type of a packet. What the JSON wire has as types 5 and 6,
// events and acks with attachments, are Event and Ack here.
type Type uint8

// The packet types of Socket.IO protocol revision 5.
const (
	Connect      Type = 0 // request to join a namespace, and the answer
	Disconnect   Type = 1 // leaves a namespace
	Event        Type = 2 // an event, with an id if an ack is wanted
	Ack          Type = 3 // the answer to an event that has an id
	ConnectError Type = 4 // refusal to join a namespace, server to client
)

// String returns the protocol's name of the type.
func (t Type) String() string {
	names := [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR"}
	if int(t) < len(names) {
		return names[t]
	}
	return "invalid"
}

// MaxID is the largest ack id: the largest integer that every peer can hold
// exactly.
const MaxID = 1<<53 - 1

// A Packet is a packet to be sent.
type Packet struct {
	Type Type
	// Namespace starts with a slash and holds no comma. Empty means "/".
	Namespace string
	// ID is the ack id of an event or ack, if HasID. Zero is an id like any
	// other.
	ID    uint64
	HasID bool
	// Event is the name of an event. Names reserved by Socket.IO are
	// refused, see CheckEvent.
	Event string
	// Args are the arguments of an event, after the name, or of an ack. A
	// value of type Raw is passed on as it came; one of type Args stands for
	// all of its arguments.
	Args []any
	// Data is the payload of a CONNECT (an object, or nil for none) or a
	// CONNECT_ERROR (an object or a string). With the JSON codec byte slices
	// in it are left to the JSON library and do not become attachments.
	Data any
}

// A Received packet is one that has arrived. It is memory of its own and may
// be kept.
type Received struct {
	Type Type
	// Namespace starts with a slash.
	Namespace string
	// ID is the ack id of an event or ack, if HasID.
	ID    uint64
	HasID bool
	// Event is the name of an event; it is never a reserved one.
	Event string
	// Args are the arguments of an event, after the name, or of an ack.
	Args Args
	// Data is the payload of a CONNECT, absent or an object, or of a
	// CONNECT_ERROR, a string or an object.
	Data Raw
}

// Validate checks what can be checked without encoding: the type, namespace
// and id, the event name, and whether there is the kind of payload that the
// type asks for. Every codec calls it before it encodes.
func (p *Packet) Validate() error {
	if p.Type > ConnectError {
		return fmt.Errorf("codec: %w %d", ErrUnknownType, p.Type)
	}
	if ns := p.Namespace; ns != "" && ns != "/" &&
		(ns[0] != '/' || strings.IndexByte(ns, ',') >= 0 || !utf8.ValidString(ns)) {
		return fmt.Errorf("codec: %w %q", ErrInvalidNamespace, ns)
	}
	switch p.Type {
	case Event, Ack:
		return p.validateMessage()
	case Connect, Disconnect, ConnectError:
	}
	if len(p.Args) > 0 || !p.validData() {
		return fmt.Errorf("codec: %w: %s with data of type %T", ErrInvalidPayload, p.Type, p.Data)
	}
	return nil
}

// validateMessage is Validate for events and acks.
func (p *Packet) validateMessage() error {
	switch {
	case p.ID > MaxID:
		return fmt.Errorf("codec: %w: %d", ErrInvalidID, p.ID)
	case p.Type == Ack && !p.HasID:
		return fmt.Errorf("codec: %w: ack without id", ErrInvalidID)
	case p.Data != nil:
		return fmt.Errorf("codec: %w: %s takes arguments, not data", ErrInvalidPayload, p.Type)
	case p.Type == Event:
		return CheckEvent(p.Event)
	}
	return nil
}

// validData reports whether the data may become the payload that the type
// asks for. Types that marshal themselves are judged by what they write.
func (p *Packet) validData() bool {
	if p.Data == nil {
		return p.Type != ConnectError
	}
	if p.Type == Disconnect {
		return false
	}
	switch p.Data.(type) {
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	t := reflect.TypeOf(p.Data)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map, reflect.Struct, reflect.Interface:
		return true
	case reflect.String:
		return p.Type == ConnectError
	default:
		return false
	}
}
