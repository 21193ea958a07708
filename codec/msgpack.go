package codec

import (
	"bytes"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// MsgPackOptions are the limits of the MessagePack codec. The zero value has
// sane ones.
type MsgPackOptions struct {
	// MaxDepth is how deeply arrays and objects of a payload may be nested,
	// both ways; the array of the arguments counts as the first level. Zero
	// and below mean 512, the maximum is 10000.
	MaxDepth int
}

// MsgPack returns a codec that speaks what the official socket.io-msgpack-parser
// speaks: each packet is one binary message, a MessagePack map. Clients have to
// be told to use that parser; one that is not is refused with its first
// message, see DecodeError.
//
// Sending follows encoding/json, with its tags, and JavaScript, so that a
// program may change codecs:
//
//   - Byte slices travel as they are, at any place and in any number. Arrays of
//     bytes are arrays of numbers.
//   - A time.Time becomes a Date, in milliseconds, and a MsgPackExt an
//     extension.
//   - Numbers without a fraction become integers, as JavaScript does not tell
//     1.0 from 1. NaN and infinities are allowed. Integers beyond 2^53 lose
//     precision in JavaScript.
//   - Types that implement Marshaler or CustomEncoder of package
//     github.com/vmihailenco/msgpack/v5 write themselves. Of others that
//     implement json.Marshaler the JSON is sent, as MessagePack, just as
//     JavaScript sends what toJSON returns; of an encoding.TextMarshaler the
//     text, as a string.
//   - Text that is no UTF-8 is repaired with U+FFFD.
//
// What cannot be sent is an error: channels, functions, complex numbers, and
// values that contain themselves.
//
// Binding follows encoding/json too, names that differ in case and fields of
// type Raw included, except that it stops at the first value that does not
// fit. Undefined counts as null. Into an any go
//
//	string, bool, nil, []any, map[string]any
//	int64       an integer, or uint64 if it is too large for that
//	float64     any other number
//	[]byte      a Buffer or an ArrayBuffer
//	time.Time   a Date, in UTC
//	MsgPackExt  an extension that Socket.IO has no use for
//
// A number binds to every type of number that can hold it: 1.0 to an int, but
// 300 to no int8. A Date binds to a time.Time, or to a string as the ISO 8601
// text that JSON would have; the text binds to a time.Time as well. Types that
// unmarshal themselves are treated as above: UnmarshalMsgpack and DecodeMsgpack
// get MessagePack, UnmarshalJSON gets JSON, in which binary values are base64,
// UnmarshalText gets a string. A json.RawMessage gets JSON, and a
// msgpack.RawMessage the bytes as they came. What is bound is memory of its
// own.
//
// Receiving is stricter than the reference implementation: no member of the
// packet may be there twice, names of members are strings, strings are UTF-8,
// event names are those that CheckEvent allows, a namespace is one that
// Packet.Validate allows, and an ack id is from 0 to MaxID. Lengths are checked
// against what there is before anything is allocated.
func MsgPack(o MsgPackOptions) Codec {
	if o.MaxDepth <= 0 {
		o.MaxDepth = defaultDepth
	}
	return &msgpackCodec{maxDepth: min(o.MaxDepth, maxDepth)}
}

// A MsgPackExt is an extension type of MessagePack that means nothing to
// Socket.IO. It can be sent and received with the codec that MsgPack returns. A
// JavaScript peer that uses the official parser receives it as an array of the
// type and the data, and cannot send one.
type MsgPackExt struct {
	// Type is the application's. Zero is taken by Socket.IO and cannot be
	// sent.
	Type int8 `json:"type"`
	// Data is what the type makes of it.
	Data []byte `json:"data"`
}

var _ Codec = (*msgpackCodec)(nil)

// msgpackCodec is immutable but for the pool.
type msgpackCodec struct {
	maxDepth int
	encoders sync.Pool // of *msgpackEncoder
}

func (c *msgpackCodec) Name() string { return "msgpack" }

func (c *msgpackCodec) NewDecoder() Decoder { return &msgpackDecoder{maxDepth: c.maxDepth} }

func (c *msgpackCodec) Encode(dst []Frame, p *Packet) ([]Frame, error) {
	if err := p.Validate(); err != nil {
		return dst, err
	}
	e := c.encoder()
	defer c.release(e)
	data, err := e.packet(dst, p)
	if err != nil {
		return dst, err
	}
	return append(dst, Frame{Binary: true, Data: data}), nil
}

func (c *msgpackCodec) encoder() *msgpackEncoder {
	if e, ok := c.encoders.Get().(*msgpackEncoder); ok {
		return e
	}
	e := &msgpackEncoder{maxDepth: c.maxDepth}
	e.out = msgpack.NewEncoder(&e.buf)
	return e
}

// release gives an encoder back, unless a large packet has made it large.
func (c *msgpackCodec) release(e *msgpackEncoder) {
	const keep = 64 << 10
	if e.buf.Cap() > keep {
		return
	}
	e.buf.Reset()
	c.encoders.Put(e)
}

// packedValues decodes the values of a packet that a msgpackDecoder has
// validated.
type packedValues struct{}

func (packedValues) Unmarshal(data []byte, dst any) error {
	b := binder{data: data}
	return b.bind(dst)
}

// AppendJSON appends data as JSON.
func (packedValues) AppendJSON(dst, data []byte) ([]byte, error) {
	b := binder{data: data}
	return b.appendJSON(dst), nil
}

// packRaw returns the value that data is, which it copies.
func packRaw(data []byte) Raw { return Raw{data: bytes.Clone(data), values: packedValues{}} }
