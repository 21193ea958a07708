package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A jsonEncoder writes one packet at a time. The payload comes first, because
// the header says how many attachments there are.
type jsonEncoder struct {
	limits *JSONOptions

	head        []byte
	body        []byte
	attachments [][]byte // copies, in the order of their placeholders
	leaves      [][]byte // the caller's byte slices, by token
	foreign     bool     // body may hold text that is not known to be within limits

	scratch bytes.Buffer // what json writes to
	json    *json.Encoder
}

// header writes what stands before the payload.
func (e *jsonEncoder) header(p *Packet) {
	t := byte('0' + p.Type)
	if len(e.attachments) > 0 {
		t = byte(binaryEvent + p.Type - Event)
	}
	e.head = append(e.head, t)
	if n := len(e.attachments); n > 0 {
		e.head = append(strconv.AppendInt(e.head, int64(n), 10), '-')
	}
	if p.Namespace != "" && p.Namespace != "/" {
		e.head = append(append(e.head, p.Namespace...), ',')
	}
	if p.HasID && (p.Type == Event || p.Type == Ack) {
		e.head = strconv.AppendUint(e.head, p.ID, 10)
	}
}

// payload writes the payload and checks what is not right by construction.
func (e *jsonEncoder) payload(p *Packet) error {
	var err error
	switch p.Type {
	case Event, Ack:
		err = e.message(p)
	case Connect, Disconnect, ConnectError:
		err = e.data(p)
	}
	if err != nil || !e.foreign && len(e.attachments) == 0 {
		return err
	}
	s := scanner{data: e.body, maxDepth: e.limits.MaxDepth, members: len(e.attachments) > 0}
	switch {
	case !utf8.Valid(e.body):
		return fmt.Errorf("codec: %w", ErrInvalidUTF8)
	case len(e.body) > 0 && !s.only():
		return fmt.Errorf("codec: %w", s.err())
	case s.members && s.named != len(e.attachments):
		return fmt.Errorf("codec: %w", ErrPlaceholder)
	}
	return nil
}

// message writes the payload of an event or ack.
func (e *jsonEncoder) message(p *Packet) error {
	e.body = append(e.body, '[')
	if p.Type == Event {
		e.body = appendString(e.body, p.Event)
	}
	for i, arg := range p.Args {
		if err := e.argument(arg); err != nil {
			return fmt.Errorf("codec: argument %d: %w", i, err)
		}
	}
	e.body = append(e.body, ']')
	return nil
}

// data writes the payload of the other types, which has no attachments.
func (e *jsonEncoder) data(p *Packet) error {
	if p.Data == nil {
		return nil
	}
	text, err := e.marshal(p.Data)
	if err != nil {
		return fmt.Errorf("codec: %s data: %w", p.Type, err)
	}
	switch {
	case text[0] == '{', text[0] == '"' && p.Type == ConnectError:
		e.body = append(e.body, text...)
		e.foreign = true
	case text[0] == 'n' && p.Type == Connect:
		// A nil pointer or map is no payload.
	default:
		return fmt.Errorf("codec: %w: %s with data of type %T", ErrInvalidPayload, p.Type, p.Data)
	}
	return nil
}

func (e *jsonEncoder) argument(arg any) error {
	args, ok := arg.(Args)
	if !ok {
		e.comma()
		return e.value(arg)
	}
	for i := range args.Len() {
		e.comma()
		if err := e.raw(args.Raw(i)); err != nil {
			return err
		}
	}
	return nil
}

// comma separates what follows from what is there.
func (e *jsonEncoder) comma() {
	if len(e.body) > 1 {
		e.body = append(e.body, ',')
	}
}

// value writes one argument. What programs send most needs no encoding/json.
func (e *jsonEncoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.body = append(e.body, "null"...)
	case string:
		e.body = appendString(e.body, v)
	case bool:
		e.body = strconv.AppendBool(e.body, v)
	case int:
		e.body = strconv.AppendInt(e.body, int64(v), 10)
	case int32:
		e.body = strconv.AppendInt(e.body, int64(v), 10)
	case int64:
		e.body = strconv.AppendInt(e.body, v, 10)
	case uint:
		e.body = strconv.AppendUint(e.body, uint64(v), 10)
	case uint32:
		e.body = strconv.AppendUint(e.body, uint64(v), 10)
	case uint64:
		e.body = strconv.AppendUint(e.body, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return &json.UnsupportedValueError{Value: reflect.ValueOf(v), Str: strconv.FormatFloat(v, 'g', -1, 64)}
		}
		e.body = appendFloat(e.body, v)
	case []byte:
		if v == nil {
			e.body = append(e.body, "null"...)
			return nil
		}
		var err error
		e.body, err = e.attach(e.body, v)
		return err
	case json.RawMessage:
		return e.rawMessage(v)
	case Raw:
		return e.raw(v)
	default:
		return e.other(v)
	}
	return nil
}

// rawMessage writes JSON text that the caller has made. It must be one value,
// or it could end the array of the arguments.
func (e *jsonEncoder) rawMessage(text json.RawMessage) error {
	if text == nil {
		e.body = append(e.body, "null"...)
		return nil
	}
	s := scanner{data: text, maxDepth: e.limits.MaxDepth}
	if !s.only() {
		return s.err()
	}
	e.foreign = true
	e.body = append(e.body, text...)
	return nil
}

// raw passes on a value that was received.
func (e *jsonEncoder) raw(r Raw) error {
	e.foreign = true
	switch u := r.values.(type) {
	case nil:
		e.body = append(e.body, "null"...)
	case jsonText:
		e.body = append(e.body, r.data...)
	case *jsonBinary:
		var err error
		e.body, err = replaceMarks(e.body, r.data, findMarks(r.data), func(dst []byte, i int) ([]byte, error) {
			return e.attach(dst, u.attachments[i])
		})
		return err
	default:
		var v any
		if err := r.Bind(&v); err != nil {
			return fmt.Errorf("value of another codec: %w", err)
		}
		return e.other(v)
	}
	return nil
}

// other writes a value by means of encoding/json.
func (e *jsonEncoder) other(v any) error {
	leaves := len(e.leaves)
	if v != nil {
		s := shapeOf(reflect.TypeOf(v))
		if s.plain != nil {
			if body, ok := s.plain.append(e.body, reflect.ValueOf(v)); ok {
				e.body = body
				return nil
			}
		}
		e.foreign = e.foreign || s.open
		if s.binary {
			var err error
			if v, _, err = e.detach(v, 0); err != nil {
				return err
			}
		}
	}
	text, err := e.marshal(v)
	if err != nil {
		return err
	}
	if len(e.leaves) == leaves {
		e.body = append(e.body, text...)
		return nil
	}
	e.body, err = sendTokens.replace(e.body, text, func(dst []byte, i int) ([]byte, error) {
		return e.attach(dst, e.leaves[i])
	})
	return err
}

// marshal returns v as encoding/json writes it, without HTML escapes. The text
// is valid until the next call.
func (e *jsonEncoder) marshal(v any) ([]byte, error) {
	e.scratch.Reset()
	if err := e.json.Encode(v); err != nil {
		return nil, err
	}
	text := e.scratch.Bytes()
	return text[:len(text)-1], nil // Encode ends with a newline
}

// attach makes a copy of value the next attachment and appends its placeholder
// to dst.
func (e *jsonEncoder) attach(dst, value []byte) ([]byte, error) {
	n := len(e.attachments)
	if n >= e.limits.MaxAttachments {
		return dst, fmt.Errorf("%w: the limit is %d", ErrTooManyAttachments, e.limits.MaxAttachments)
	}
	own := make([]byte, len(value))
	copy(own, value)
	e.attachments = append(e.attachments, own)
	return appendPlaceholder(dst, n), nil
}

// appendString appends s as a JSON string. Like JavaScript it escapes nothing
// that need not be.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, s...)
	plain := plainPrefix(dst[start:])
	if plain == len(s) {
		return append(dst, '"')
	}
	dst = dst[:start+plain]
	for _, c := range []byte(s[plain:]) {
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}
