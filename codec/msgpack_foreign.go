package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// raw passes on a value that was received.
func (e *msgpackEncoder) raw(r Raw, depth int) error {
	switch r.values.(type) {
	case nil:
		return e.out.EncodeNil()
	case packedValues:
		return e.packed(r.data, depth)
	case jsonText, *jsonBinary:
		v, err := jsonValue(r)
		if err != nil {
			return err
		}
		return e.value(v, depth)
	default:
		var v any
		if err := r.Bind(&v); err != nil {
			return fmt.Errorf("value of another codec: %w", err)
		}
		return e.value(v, depth)
	}
}

// args writes arguments that do not stand in the place of arguments, as an
// array.
func (e *msgpackEncoder) args(a Args, depth int) error {
	if err := e.array(a.Len(), depth); err != nil {
		return err
	}
	for i := range a.Len() {
		if err := e.raw(a.Raw(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// packed writes MessagePack that was made elsewhere. It must be one value, or
// it could end what it is in, and nested no deeper than there is room for.
func (e *msgpackEncoder) packed(data []byte, depth int) error {
	s := packScanner{data: data, maxDepth: e.maxDepth}
	if s.value(0, depth) != len(data) {
		if s.deep {
			return ErrTooDeep
		}
		return fmt.Errorf("%w: no MessagePack at byte %d", ErrInvalidPayload, s.at)
	}
	_, err := e.buf.Write(data)
	return err
}

// jsonText writes JSON that was made elsewhere as MessagePack.
func (e *msgpackEncoder) jsonText(text []byte, depth int) error {
	s := scanner{data: text, maxDepth: e.maxDepth}
	if !s.only() {
		return s.err()
	}
	v, err := jsonValue(Raw{data: text, values: jsonText{}})
	if err != nil {
		return err
	}
	return e.value(v, depth)
}

// jsonValue returns a value that the JSON codec has received, with a json.Number
// for each number, lest it lose digits.
func jsonValue(r Raw) (v any, err error) {
	text := r.data
	binary, _ := r.values.(*jsonBinary)
	if binary != nil {
		text = tokensFor(r.data, findMarks(r.data))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err = d.Decode(&v); err == nil && binary != nil {
		err = binary.fill(reflect.ValueOf(&v), 0)
	}
	return v, err
}
