package codec

import (
	"bytes"
	"math"
	"strconv"
)

// A msgpackDecoder reads packets of the form
//
//	{"type": 0..4, "data": …, "id": 0…, "nsp": "/…"}
//
// in any order of the members, with others between them that are of no
// interest: JavaScript clients leak one that is named options. Strings that
// repeat from packet to packet are kept, so that the same event costs them
// once.
type msgpackDecoder struct {
	maxDepth  int
	event     string
	namespace string
}

var _ Decoder = (*msgpackDecoder)(nil)

// Reset has nothing to do: no packet is ever half there.
func (d *msgpackDecoder) Reset() {}

func (d *msgpackDecoder) Decode(f Frame) (Received, bool, error) {
	if !f.Binary {
		return Received{}, false, &DecodeError{
			Reason: "text message on a msgpack connection", Hint: "the client uses another codec", Err: ErrUnexpectedText,
		}
	}
	if int64(len(f.Data)) > math.MaxUint32 {
		return Received{}, false, NewDecodeError(ErrInvalidPayload, 0)
	}
	p := packetReader{scan: packScanner{data: f.Data, maxDepth: d.maxDepth}}
	err := p.read()
	if err == nil {
		err = p.check(d)
	}
	if err != nil {
		return Received{}, false, err
	}
	return p.received, true, nil
}

// A packetReader reads one message: first what is there, then whether that is a
// packet, as the reference implementation does it.
type packetReader struct {
	scan     packScanner
	received Received

	kind, namespace, data, id packMember
	// The first element of data, if that is an array and whole is not set;
	// the others are the arguments.
	first    span
	whole    bool // all elements of data are arguments, as in an ack
	from, to int  // the arguments
}

// A packMember is where a member of the packet has its value. It is not there
// if end is zero.
type packMember struct{ start, end int }

// malformed is what the reference implementation says to bytes that are no
// MessagePack.
const malformed = "Could not parse"

// read finds the members of the packet and validates all of the message.
func (p *packetReader) read() error {
	s := &p.scan
	h, ok := readHead(s.data, 0)
	if !ok {
		return &DecodeError{Reason: malformed, Err: ErrInvalidPayload}
	}
	if h.kind != packMap {
		return invalidType(0) // what has no members has no type
	}
	at := h.end
	for range h.n {
		name, start := s.key(at)
		if start < 0 {
			return s.decodeError()
		}
		var other packMember
		m := p.member(name)
		if m == nil {
			m = &other
		}
		if m.end > 0 {
			// Which of the two counts is not for the peer to play with.
			return NewDecodeError(ErrInvalidPayload, at)
		}
		if m == &p.data && packedAs(s.data, start, packArray) {
			at = p.elements(start)
		} else {
			at = s.value(start, 1)
		}
		if at < 0 {
			return s.decodeError()
		}
		m.start, m.end = start, at
	}
	if rest := len(s.data) - at; rest > 0 {
		return &DecodeError{Reason: strconv.Itoa(rest) + " trailing bytes", Offset: at, Err: ErrInvalidPayload}
	}
	return nil
}

// member returns the member with a name, nil if it is none of ours.
func (p *packetReader) member(name []byte) *packMember {
	switch string(name) {
	case "type":
		return &p.kind
	case "nsp":
		return &p.namespace
	case "data":
		return &p.data
	case "id":
		return &p.id
	}
	return nil
}

// elements reads data that is an array. Peers write the type before it.
func (p *packetReader) elements(start int) (end int) {
	t, ok := p.packetType()
	p.whole = ok && t == Ack
	head := &p.first
	if p.whole {
		head = nil
	}
	p.received.Args.spans = spans{}
	p.from, p.to = p.scan.elements(start, head, &p.received.Args.spans)
	return p.to
}

// packetType returns the type of the packet, if it has been read and is one.
func (p *packetReader) packetType() (Type, bool) {
	if p.kind.end == 0 {
		return 0, false
	}
	h, _ := readHead(p.scan.data, p.kind.start)
	t, ok := h.integer()
	if !ok || t > uint64(ConnectError) {
		return 0, false
	}
	return Type(t), true
}

// check checks the members, in the order in which the reference implementation
// does it and with its words.
func (p *packetReader) check(d *msgpackDecoder) error {
	data, r := p.scan.data, &p.received
	var ok bool
	if r.Type, ok = p.packetType(); !ok {
		return invalidType(p.kind.start)
	}
	namespace, ok := p.text(p.namespace)
	if !ok || len(namespace) == 0 || namespace[0] != '/' || bytes.IndexByte(namespace, ',') >= 0 {
		return NewDecodeError(ErrInvalidNamespace, p.namespace.start)
	}
	r.Namespace = repeated(&d.namespace, namespace)
	if !p.checkData(d) {
		return NewDecodeError(ErrInvalidPayload, p.data.start)
	}
	if p.id.end > 0 && !packedAs(data, p.id.start, packUndefined) {
		h, _ := readHead(data, p.id.start)
		if r.ID, ok = h.integer(); !ok {
			return NewDecodeError(ErrInvalidID, p.id.start)
		}
		r.HasID = true
	}
	if r.Type != Event && r.Type != Ack {
		r.ID, r.HasID = 0, false // written by nobody
	}
	return nil
}

// checkData sets the payload, if it is of the shape that the type asks for.
func (p *packetReader) checkData(d *msgpackDecoder) bool {
	data, r := p.scan.data, &p.received
	is := func(kind packKind) bool { return p.data.end > 0 && packedAs(data, p.data.start, kind) }
	switch r.Type {
	case Event, Ack:
		return is(packArray) && p.checkMessage(d)
	case Connect, Disconnect, ConnectError:
	}
	r.Args = Args{}
	switch {
	case p.data.end == 0 || is(packUndefined):
		return r.Type != ConnectError
	case r.Type == Disconnect, !is(packMap) && (r.Type != ConnectError || !is(packStr)):
		return false
	}
	r.Data = packRaw(data[p.data.start:p.data.end])
	return true
}

// checkMessage sets the name and the arguments of an event or ack.
func (p *packetReader) checkMessage(d *msgpackDecoder) (ok bool) {
	data, r := p.scan.data, &p.received
	if p.whole != (r.Type == Ack) {
		// The type came after the data, or the data is that of an event.
		p.elements(p.data.start)
	}
	if r.Type == Event {
		if p.first.end == 0 {
			return false
		}
		if r.Event, ok = d.eventName(data[p.first.start:p.first.end]); !ok {
			return false
		}
	}
	r.Args.own(packedValues{}, data[p.from:p.to])
	return true
}

// eventName reads the name of an event.
func (d *msgpackDecoder) eventName(value []byte) (name string, ok bool) {
	h, _ := readHead(value, 0)
	switch h.kind {
	case packStr:
		name = repeated(&d.event, value[h.body:h.end])
	case packUint, packInt, packFloat:
		if name, ok = NumericEvent(h.float()); !ok {
			return "", false
		}
	default:
		return "", false
	}
	return name, CheckEvent(name) == nil
}

// text returns the string that a member is.
func (p *packetReader) text(m packMember) (text []byte, ok bool) {
	if m.end == 0 || !packedAs(p.scan.data, m.start, packStr) {
		return nil, false
	}
	h, _ := readHead(p.scan.data, m.start)
	return p.scan.data[h.body:h.end], true
}

// packedAs reports whether the value at i is of a kind.
func packedAs(data []byte, i int, kind packKind) bool {
	h, ok := readHead(data, i)
	return ok && h.kind == kind
}

func invalidType(offset int) *DecodeError {
	return &DecodeError{Reason: "invalid packet type", Offset: offset, Err: ErrUnknownType}
}

// decodeError is what to tell the peer's connection.
func (s *packScanner) decodeError() *DecodeError {
	e := NewDecodeError(ErrInvalidPayload, s.at)
	if _, ok := readHead(s.data, s.at); !ok {
		e.Reason = malformed
	}
	return e
}
