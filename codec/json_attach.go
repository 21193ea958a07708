package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
)

// A jsonBinary decodes the values of a packet with attachments. In JSON text
// an attachment is a placeholder, an object, which encoding/json would not
// take for a byte slice. So decoding has three steps: a token takes the place
// of each placeholder, encoding/json decodes, and the tokens are looked up in
// what came out.
type jsonBinary struct {
	// attachments are complete, and read-only, once the packet is delivered.
	// The decoder has checked that every placeholder is one of them.
	attachments [][]byte
}

func (b *jsonBinary) Unmarshal(data []byte, dst any) error {
	marks := findMarks(data)
	if len(marks) == 0 {
		return jsonText{}.Unmarshal(data, dst)
	}
	switch d := dst.(type) {
	case *json.RawMessage:
		if d != nil {
			*d = bytes.Clone(data)
			return nil
		}
	case *[]byte:
		if d != nil && marks[0].end == len(data) {
			*d = b.attachments[marks[0].index]
			return nil
		}
	}
	text := tokensFor(data, marks)
	// After an error too dst may hold values, and they must not be tokens.
	err := unmarshal(text, dst)
	if v := reflect.ValueOf(dst); v.Kind() == reflect.Pointer && !v.IsNil() {
		if fillErr := b.fill(v, 0); err == nil {
			err = fillErr
		}
	}
	return err
}

// tokensFor returns data with tokens in place of the placeholders.
func tokensFor(data []byte, marks []mark) []byte {
	text, _ := replaceMarks(nil, data, marks, func(dst []byte, i int) ([]byte, error) {
		return receiveTokens.appendJSON(dst, i), nil
	})
	return text
}

// Size is the length of all attachments.
func (b *jsonBinary) Size() int {
	size := 0
	for _, a := range b.attachments {
		size += len(a)
	}
	return size
}

// AppendJSON appends data with base64 in place of the attachments.
func (b *jsonBinary) AppendJSON(dst, data []byte) ([]byte, error) {
	return replaceMarks(dst, data, findMarks(data), func(dst []byte, i int) ([]byte, error) {
		dst = append(dst, '"')
		return append(base64.StdEncoding.AppendEncode(dst, b.attachments[i]), '"'), nil
	})
}

// bytes returns the attachment that a token in a byte slice stands for.
func (b *jsonBinary) bytes(token []byte) ([]byte, bool) {
	i, ok := receiveTokens.index(token)
	if !ok || i >= len(b.attachments) {
		return nil, false
	}
	return b.attachments[i], true
}

// text returns the attachment that a token in a string stands for.
func (b *jsonBinary) text(token string) ([]byte, bool) {
	i, ok := receiveTokens.textIndex(token)
	if !ok || i >= len(b.attachments) {
		return nil, false
	}
	return b.attachments[i], true
}

// fill replaces the tokens in what encoding/json has decoded. steps is how far
// v is from where it began: a dst that the caller has filled before could
// contain itself.
func (b *jsonBinary) fill(v reflect.Value, steps int) error {
	if steps > maxSteps(maxDepth) {
		return ErrTooDeep
	}
	t := v.Type()
	s := shapeOf(t)
	if !s.token {
		return nil
	}
	switch t {
	case rawType:
		b.fillRaw(v)
		return nil
	case rawMessageType:
		v.SetBytes(b.placeholders(v.Bytes()))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if _, ok := b.text(v.String()); ok {
			v.SetString("")
			return &json.UnmarshalTypeError{Value: "binary value", Type: t}
		}
	case reflect.Interface:
		return b.fillInterface(v, steps)
	case reflect.Pointer:
		if !v.IsNil() {
			return b.fill(v.Elem(), steps+1)
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			if value, ok := b.bytes(v.Bytes()); ok {
				v.SetBytes(value)
			}
			return nil
		}
		return b.fillElements(v, steps)
	case reflect.Array:
		return b.fillElements(v, steps)
	case reflect.Map:
		return b.fillMap(v, steps)
	case reflect.Struct:
		for _, f := range s.fields {
			if fv, ok := fieldAt(v, f.index); ok {
				if err := b.fill(fv, steps+1); err != nil {
					return err
				}
			}
		}
	default:
	}
	return nil
}

func (b *jsonBinary) fillElements(v reflect.Value, steps int) error {
	for i := range v.Len() {
		if err := b.fill(v.Index(i), steps+1); err != nil {
			return err
		}
	}
	return nil
}

func (b *jsonBinary) fillMap(v reflect.Value, steps int) error {
	if !shapeOf(v.Type().Elem()).token {
		return nil
	}
	for entries := v.MapRange(); entries.Next(); {
		value := reflect.New(v.Type().Elem()).Elem() // what is in a map cannot be set
		value.Set(entries.Value())
		if err := b.fill(value, steps+1); err != nil {
			return err
		}
		v.SetMapIndex(entries.Key(), value)
	}
	return nil
}

// fillInterface fills what an interface holds. Of what encoding/json puts into
// one, strings, maps and slices matter; a pointer can only be the caller's.
func (b *jsonBinary) fillInterface(v reflect.Value, steps int) error {
	switch held := v.Elem(); held.Kind() {
	case reflect.String:
		if value, ok := b.text(held.String()); ok && v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(value))
		}
	case reflect.Slice:
		if held.Type().Elem().Kind() != reflect.Uint8 {
			return b.fillElements(held, steps)
		}
	case reflect.Map:
		return b.fillMap(held, steps)
	case reflect.Pointer:
		return b.fill(held, steps+1)
	default:
	}
	return nil
}

// placeholders returns JSON text with placeholders in place of tokens.
func (b *jsonBinary) placeholders(text []byte) []byte {
	if !bytes.Contains(text, []byte(receiveTokens.prefix)) {
		return text
	}
	text, _ = receiveTokens.replace(nil, text, func(dst []byte, i int) ([]byte, error) {
		return appendPlaceholder(dst, i), nil
	})
	return text
}

// fillRaw makes a Raw that is part of a larger value one with attachments.
func (b *jsonBinary) fillRaw(v reflect.Value) {
	r, ok := reflect.TypeAssert[*Raw](v.Addr())
	if !ok {
		return
	}
	if _, ok := r.values.(jsonText); !ok {
		return
	}
	if text := b.placeholders(r.data); len(text) != len(r.data) {
		*r = Raw{data: text, values: b}
	}
}

// fieldAt returns the field at index, unless it is in an embedded struct that
// is not there.
func fieldAt(v reflect.Value, index []int) (reflect.Value, bool) {
	for n, i := range index {
		if n > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, true
}

// maxSteps bounds how far values are followed that may contain themselves. A
// level of nesting takes a few steps: an interface, a pointer, a struct.
func maxSteps(depth int) int { return 8 * depth }
