package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// An Unmarshaler decodes the values of one packet. A codec gives it to the
// Args and Raws it makes. It is safe for concurrent use.
//
// An Unmarshaler that holds data of its packet has a method Size() int which
// says how many bytes; Args.Size counts them. One that can write values as JSON
// has a method AppendJSON(dst, data []byte) ([]byte, error), which appends that
// of one encoded value; Raw.MarshalJSON uses it. Without it values go through an
// any, which may cost large numbers their last digits.
type Unmarshaler interface {
	// Unmarshal decodes data, one encoded value, into dst, which is a
	// non-nil pointer. It must not modify or keep data.
	Unmarshal(data []byte, dst any) error
}

// A Raw is one value as it came from the wire, not decoded yet. The zero Raw
// is an absent value. It is immutable and safe for concurrent use.
//
// A Raw can be an argument of a packet, or stand anywhere inside one; it is
// then passed on with its attachments. A Raw can also be a field of a struct
// that is bound, to decode that part later.
type Raw struct {
	data   []byte
	values Unmarshaler
}

// NewRaw returns a Raw of data, which it copies and which u can decode. It is
// for codecs.
func NewRaw(u Unmarshaler, data []byte) Raw {
	return Raw{data: bytes.Clone(data), values: u}
}

// IsZero reports whether the value is absent.
func (r Raw) IsZero() bool { return r.values == nil }

// Bytes is the value in the encoding of its codec. It must not be modified.
// Of a value with attachments it is the text with the placeholders.
func (r Raw) Bytes() []byte { return r.data }

// Bind decodes the value into dst, a non-nil pointer, by the rules of the
// codec (for JSON, those of encoding/json). If the value is absent, dst is
// left as it is.
//
// Byte slices that come from attachments of the JSON codec share the memory of
// the Raw; who changes one changes it for whoever else binds the same packet.
func (r Raw) Bind(dst any) error {
	if r.values == nil {
		return nil
	}
	if raw, ok := dst.(*Raw); ok && raw != nil {
		*raw = r
		return nil
	}
	return r.values.Unmarshal(r.data, dst)
}

// Args are arguments of which the value is the only one; of an absent value there
// are none.
func (r Raw) Args() Args {
	a := Args{values: r.values, data: r.data}
	if !r.IsZero() {
		a.spans.add(0, len(r.data))
	}
	return a
}

// MarshalJSON writes the value as JSON, null if it is absent. It is for logs
// and the like: binary values become base64, as everywhere in encoding/json.
// Codecs pass a Raw on without it.
func (r Raw) MarshalJSON() ([]byte, error) {
	if r.values == nil {
		return []byte("null"), nil
	}
	if u, ok := r.values.(interface {
		AppendJSON(dst, data []byte) ([]byte, error)
	}); ok {
		return u.AppendJSON(nil, r.data)
	}
	var v any
	if err := r.Bind(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// UnmarshalJSON keeps a copy of data, to be decoded later.
func (r *Raw) UnmarshalJSON(data []byte) error {
	*r = NewRaw(jsonText{}, data)
	return nil
}

// Args are the arguments of an event or ack as they came from the wire. They
// are decoded when they are bound, as often as that is done. Args own their
// bytes: they may be kept, and one that is kept keeps all of them. They are
// immutable and safe for concurrent use.
type Args struct {
	values Unmarshaler
	data   []byte // the arguments and whatever stands between them
	spans  spans
}

// NewArgs returns Args of encoded values, which it copies and which u can
// decode. It is for codecs.
func NewArgs(u Unmarshaler, values ...[]byte) Args {
	a := Args{values: u, data: bytes.Join(values, nil)}
	at := 0
	for _, v := range values {
		a.spans.add(at, at+len(v))
		at += len(v)
	}
	return a
}

// own gives a, whose spans are set, a copy of the text that they refer to.
func (a *Args) own(u Unmarshaler, text []byte) {
	if a.spans.n > 0 {
		a.values, a.data = u, bytes.Clone(text)
	}
}

// Len is the number of arguments.
func (a Args) Len() int { return a.spans.n }

// Raw returns the argument at index i, counted from zero. It is absent if
// there is no such argument.
func (a Args) Raw(i int) Raw {
	if i < 0 || i >= a.spans.n {
		return Raw{}
	}
	s := a.spans.at(i)
	return Raw{data: a.data[s.start:s.end:s.end], values: a.values}
}

// Size is the number of bytes that the arguments keep in memory, attachments
// included. It does not change.
func (a Args) Size() int {
	const spanBytes = 8
	size := len(a.data) + spanBytes*len(a.spans.rest)
	if s, ok := a.values.(interface{ Size() int }); ok {
		size += s.Size()
	}
	return size
}

// Bind decodes the arguments into dsts, non-nil pointers, in order. A dst that
// is nil skips its argument. Missing arguments leave their dsts as they are,
// surplus ones are ignored. It stops at the first error, which names the
// argument. Raw.Bind says more.
func (a Args) Bind(dsts ...any) error {
	for i, dst := range dsts[:min(len(dsts), a.spans.n)] {
		if dst == nil {
			continue
		}
		if err := a.Raw(i).Bind(dst); err != nil {
			return fmt.Errorf("argument %d: %w", i, err)
		}
	}
	return nil
}

// MarshalJSON writes the arguments as a JSON array. See Raw.MarshalJSON.
func (a Args) MarshalJSON() ([]byte, error) {
	raws := make([]Raw, a.Len())
	for i := range raws {
		raws[i] = a.Raw(i)
	}
	return json.Marshal(raws)
}

// A span is a part of a text. Offsets are small because there is one for each
// argument, and a hostile peer can send one for every two bytes.
type span struct{ start, end uint32 }

func newSpan(start, end int) span {
	return span{uint32(start), uint32(end)} //nolint:gosec // the decoder refuses texts of 4 GiB
}

// spans is a list of spans that needs no memory of its own while it is short.
type spans struct {
	n     int
	first [3]span
	rest  []span
}

func (s *spans) add(start, end int) {
	if s.n < len(s.first) {
		s.first[s.n] = newSpan(start, end)
	} else {
		s.rest = append(s.rest, newSpan(start, end))
	}
	s.n++
}

func (s *spans) at(i int) span {
	if i < len(s.first) {
		return s.first[i]
	}
	return s.rest[i-len(s.first)]
}
