// Package plain is a codec of our own: each packet is one line of JSON, as in
//
//	{"type":2,"nsp":"/","id":12,"data":["message",{"text":"Hi"}]}
//
// Binary values are base64, so one arrives as bytes where a []byte is expected
// and as text in an any; codectest.UntypedBinary says so to the tests. In
// return every message can be read, in a log or in the browser's tools.
//
// Whoever writes a codec has these things to do:
//
//   - Encode: Packet.Validate first. Then one or several frames that share no
//     memory with the packet. Args among the arguments stand for all of
//     theirs, and a Raw, wherever it is, for the value that was received.
//   - Decode: the peer may send anything. What is no packet is a DecodeError,
//     and the connection ends: wrong types, payloads of the wrong shape, ids
//     beyond MaxID, event names that CheckEvent refuses, a frame that is text
//     where it should be bytes or the other way round. Lengths and nesting
//     must be bounded; here encoding/json does it.
//   - Arguments are not decoded but kept as they came, in Args, with an
//     Unmarshaler that decodes them once a handler's type is known.
//   - A test that runs codectest.Run: see plain_test.go.
package plain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/upshift-go/upshift/codec"
)

// New returns the codec. It has no options and no state.
func New() codec.Codec { return plain{} }

type plain struct{}

// A packet is what stands on the line.
type packet struct {
	Type      *codec.Type     `json:"type"`
	Namespace string          `json:"nsp"`
	ID        *uint64         `json:"id,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// Name implements codec.Codec.
func (plain) Name() string { return "plain" }

// Encode implements codec.Codec.
func (plain) Encode(dst []codec.Frame, p *codec.Packet) ([]codec.Frame, error) {
	if err := p.Validate(); err != nil {
		return dst, err
	}
	out := packet{Type: &p.Type, Namespace: p.Namespace}
	if out.Namespace == "" {
		out.Namespace = "/"
	}
	var data any = p.Data
	if p.Type == codec.Event || p.Type == codec.Ack {
		if p.HasID {
			out.ID = &p.ID
		}
		data = message(p)
	}
	var err error
	if out.Data, err = marshal(data); err != nil {
		return dst, fmt.Errorf("plain: %w", err)
	}
	if string(out.Data) == "null" {
		out.Data = nil
	}
	if !fits(p.Type, out.Data) {
		return dst, fmt.Errorf("plain: %w: %s with data of type %T", codec.ErrInvalidPayload, p.Type, p.Data)
	}
	line, err := marshal(out)
	if err != nil {
		return dst, fmt.Errorf("plain: %w", err)
	}
	return append(dst, codec.Frame{Data: line}), nil
}

// message returns the payload of an event or ack.
func message(p *codec.Packet) []any {
	list := []any{}
	if p.Type == codec.Event {
		list = append(list, p.Event)
	}
	for _, arg := range p.Args {
		args, ok := arg.(codec.Args)
		if !ok {
			list = append(list, arg)
			continue
		}
		for i := range args.Len() {
			list = append(list, args.Raw(i))
		}
	}
	return list
}

// marshal is json.Marshal, but for the escapes that only HTML needs.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// fits reports whether a payload is of the shape that the type asks for.
func fits(t codec.Type, data json.RawMessage) bool {
	var first byte
	if len(data) > 0 {
		first = data[0]
	}
	switch t {
	case codec.Connect:
		return first == '{' || first == 0
	case codec.Disconnect:
		return first == 0
	case codec.ConnectError:
		return first == '{' || first == '"'
	default:
		return first == '['
	}
}

// NewDecoder implements codec.Codec.
func (plain) NewDecoder() codec.Decoder { return decoder{} }

// A decoder has no state either, since a packet is always one message.
type decoder struct{}

// Reset implements codec.Decoder.
func (decoder) Reset() {}

// Decode implements codec.Decoder.
func (decoder) Decode(f codec.Frame) (r codec.Received, ok bool, err error) {
	if f.Binary {
		return r, false, codec.NewDecodeError(codec.ErrUnexpectedBinary, 0)
	}
	var in packet
	switch err := json.Unmarshal(f.Data, &in); {
	case err != nil, !utf8.Valid(f.Data):
		return r, false, codec.NewDecodeError(codec.ErrInvalidPayload, 0)
	case in.Type == nil || *in.Type > codec.ConnectError:
		return r, false, codec.NewDecodeError(codec.ErrUnknownType, 0)
	case !strings.HasPrefix(in.Namespace, "/") || strings.Contains(in.Namespace, ","):
		return r, false, codec.NewDecodeError(codec.ErrInvalidNamespace, 0)
	case !fits(*in.Type, in.Data):
		return r, false, codec.NewDecodeError(codec.ErrInvalidPayload, 0)
	case in.ID != nil && *in.ID > codec.MaxID:
		return r, false, codec.NewDecodeError(codec.ErrInvalidID, 0)
	}
	r.Type, r.Namespace = *in.Type, in.Namespace
	if r.Type != codec.Event && r.Type != codec.Ack {
		if in.Data != nil {
			r.Data = codec.NewRaw(values{}, in.Data)
		}
		return r, true, nil
	}
	if in.ID != nil {
		r.ID, r.HasID = *in.ID, true
	}
	var list []json.RawMessage
	if err := json.Unmarshal(in.Data, &list); err != nil {
		return codec.Received{}, false, codec.NewDecodeError(codec.ErrInvalidPayload, 0)
	}
	if r.Type == codec.Event {
		if len(list) == 0 || json.Unmarshal(list[0], &r.Event) != nil || list[0][0] != '"' || codec.CheckEvent(r.Event) != nil {
			return codec.Received{}, false, codec.NewDecodeError(codec.ErrInvalidPayload, 0)
		}
		list = list[1:]
	}
	args := make([][]byte, len(list))
	for i := range list {
		args[i] = list[i]
	}
	r.Args = codec.NewArgs(values{}, args...)
	return r, true, nil
}

// values decodes arguments, when a handler is there to take them.
type values struct{}

// Unmarshal implements codec.Unmarshaler.
func (values) Unmarshal(data []byte, dst any) error { return json.Unmarshal(data, dst) }

// AppendJSON lets a value that is passed on be copied as it is.
func (values) AppendJSON(dst, data []byte) ([]byte, error) { return append(dst, data...), nil }
