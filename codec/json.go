package codec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// JSONOptions are the limits of the JSON codec. The zero value has sane ones.
type JSONOptions struct {
	// MaxAttachments is how many binary values one packet may carry, both
	// ways. Zero means 10, which is also what the reference implementation
	// accepts: a JavaScript peer drops the connection if it gets more.
	// Negative means none.
	MaxAttachments int

	// MaxDepth is how deeply arrays and objects of a payload may be nested,
	// both ways; the array of the arguments counts as the first level. Zero
	// and below mean 512, the maximum is 10000.
	MaxDepth int

	// MaxPendingBytes limits a received packet with attachments, in bytes:
	// the text and all of its attachments, which wait in memory for the last
	// one. Zero and below mean 10,000,000. The size of a single message is
	// limited by the layer below.
	MaxPendingBytes int64
}

const (
	defaultAttachments  = 10
	defaultDepth        = 512
	maxDepth            = 10000 // encoding/json refuses more
	defaultPendingBytes = 10_000_000
)

// JSON returns the default codec of Socket.IO: one text message, followed by a
// binary message for each byte slice among the arguments.
//
// Sending follows encoding/json with these differences. A byte slice that is
// not nil, also of a named type and anywhere inside maps, slices, pointers and
// structs, becomes an attachment; an empty one in a field with omitempty is
// omitted. Arrays of bytes, json.RawMessage and types that marshal themselves
// are left to encoding/json. <, > and & are not escaped. Numbers beyond 2^53
// lose precision in JavaScript.
//
// What cannot be sent is an error: NaN and infinities, channels and functions,
// values that contain themselves, and a member named "_placeholder" in a
// packet that carries attachments, because the peer could not tell it from a
// reference to one.
//
// Receiving is strict where the reference implementation is lax: a payload
// that the protocol asks for must be there, an ack id is at most MaxID,
// numbers in the header are digits only. Binding follows encoding/json; a
// binary value binds to a byte slice, or to an any, which becomes a []byte. A
// json.RawMessage gets the placeholder in its place, a Raw the value with its
// attachments, and a type with an UnmarshalJSON of its own a JSON string whose
// meaning is only known to this package.
func JSON(o JSONOptions) Codec {
	switch {
	case o.MaxAttachments == 0:
		o.MaxAttachments = defaultAttachments
	case o.MaxAttachments < 0:
		o.MaxAttachments = 0
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = defaultDepth
	}
	o.MaxDepth = min(o.MaxDepth, maxDepth)
	if o.MaxPendingBytes <= 0 {
		o.MaxPendingBytes = defaultPendingBytes
	}
	return &jsonCodec{limits: o}
}

var _ Codec = (*jsonCodec)(nil)

// jsonCodec is immutable but for the pool.
type jsonCodec struct {
	limits   JSONOptions
	encoders sync.Pool // of *jsonEncoder
}

func (c *jsonCodec) Name() string { return "json" }

func (c *jsonCodec) NewDecoder() Decoder { return &jsonDecoder{limits: &c.limits} }

func (c *jsonCodec) Encode(dst []Frame, p *Packet) ([]Frame, error) {
	if err := p.Validate(); err != nil {
		return dst, err
	}
	e := c.encoder()
	defer c.release(e)
	if err := e.payload(p); err != nil {
		return dst, err
	}
	e.header(p)
	text := spareData(dst, len(e.head)+len(e.body))
	text = append(append(text, e.head...), e.body...)
	dst = append(dst, Frame{Data: text})
	for _, a := range e.attachments {
		dst = append(dst, Frame{Binary: true, Data: a})
	}
	return dst, nil
}

// spareData returns room for a frame of n bytes: that of the frame that stands in
// dst beyond its length, if it is enough.
func spareData(dst []Frame, n int) []byte {
	if len(dst) < cap(dst) {
		if spare := dst[:len(dst)+1][len(dst)].Data; cap(spare) >= n {
			return spare[:0]
		}
	}
	return make([]byte, 0, n)
}

func (c *jsonCodec) encoder() *jsonEncoder {
	if e, ok := c.encoders.Get().(*jsonEncoder); ok {
		return e
	}
	e := &jsonEncoder{limits: &c.limits}
	e.json = json.NewEncoder(&e.scratch)
	e.json.SetEscapeHTML(false)
	return e
}

// release gives an encoder back, unless a large packet has made it large.
func (c *jsonCodec) release(e *jsonEncoder) {
	const keep = 64 << 10
	if cap(e.body) > keep || e.scratch.Cap() > keep {
		return
	}
	clear(e.attachments)
	clear(e.leaves)
	e.head, e.body = e.head[:0], e.body[:0]
	e.attachments, e.leaves = e.attachments[:0], e.leaves[:0]
	e.foreign = false
	c.encoders.Put(e)
}

// jsonText decodes the values of a packet without attachments.
type jsonText struct {
	// The value is all that its memory holds, which nothing else has and nobody
	// changes: a string that is most of it may share that memory.
	alone bool
}

func (t jsonText) Unmarshal(data []byte, dst any) error {
	switch d := dst.(type) {
	case *string:
		// The commonest payload by far, and encoding/json would read it twice.
		if n := len(data); n >= 2 && data[0] == '"' && d != nil && isPlain(data[1:n-1]) {
			*d = t.string(data[1:n-1], n)
			return nil
		}
	case *json.RawMessage:
		if d != nil {
			*d = bytes.Clone(data)
			return nil
		}
	}
	if v := reflect.ValueOf(dst); v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct {
		if p := shapeOf(v.Type().Elem()).plain; p != nil && p.bind(t, data, v.Elem()) {
			return nil
		}
	}
	return unmarshal(data, dst)
}

// string returns text, a part of a value that is whole bytes long, as a string. It
// shares the memory of the value rather than being a copy if the value would
// not keep more than twice of it from being freed.
func (t jsonText) string(text []byte, whole int) string {
	if !t.alone || 2*len(text) < whole {
		return string(text)
	}
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// AppendJSON appends data, which is JSON.
func (jsonText) AppendJSON(dst, data []byte) ([]byte, error) { return append(dst, data...), nil }

// isPlain reports whether what stands between the quotes of a JSON string is
// what the string says.
func isPlain(text []byte) bool { return plainPrefix(text) == len(text) && utf8.Valid(text) }
