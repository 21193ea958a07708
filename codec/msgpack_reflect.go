package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// other writes a value by reflection.
func (e *msgpackEncoder) other(v any, depth int) error { return e.reflect(reflect.ValueOf(v), depth) }

// reflect writes a value of any type. Whether a method with a pointer receiver
// writes it depends on its being addressable, as in encoding/json.
func (e *msgpackEncoder) reflect(v reflect.Value, depth int) error {
	for range maxSteps(e.maxDepth) {
		if !v.IsValid() {
			return e.out.EncodeNil()
		}
		if p := packTypeOf(v.Type()); v.CanInterface() {
			switch {
			case p.writes != packByNone:
				return e.self(p.writes, v, depth)
			case p.ptrWrites != packByNone && v.CanAddr():
				return e.self(p.ptrWrites, v.Addr(), depth)
			}
		}
		if k := v.Kind(); k != reflect.Pointer && k != reflect.Interface {
			return e.concrete(v, depth)
		}
		v = v.Elem()
	}
	return ErrTooDeep
}

// concrete writes a value that does not write itself, and is no pointer or
// interface.
func (e *msgpackEncoder) concrete(v reflect.Value, depth int) error {
	t := v.Type()
	if !v.CanInterface() {
		t = nil // an embedded struct that is not exported; it is none of these
	}
	switch t {
	case rawType:
		r, _ := reflect.TypeAssert[Raw](v)
		return e.raw(r, depth)
	case argsType:
		a, _ := reflect.TypeAssert[Args](v)
		return e.args(a, depth)
	case timeType:
		at, _ := reflect.TypeAssert[time.Time](v)
		return e.time(at)
	case extType:
		x, _ := reflect.TypeAssert[MsgPackExt](v)
		return e.ext(x)
	case numberType:
		return e.literal(json.Number(v.String()))
	case objectType:
		m, _ := reflect.TypeAssert[map[string]any](v)
		return e.object(m, depth)
	}
	switch v.Kind() {
	case reflect.Bool:
		return e.out.EncodeBool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return e.out.EncodeInt(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return e.out.EncodeUint(v.Uint())
	case reflect.Float32, reflect.Float64:
		return e.number(v.Float())
	case reflect.String:
		return e.text(v.String())
	case reflect.Slice:
		if v.IsNil() {
			return e.out.EncodeNil()
		}
		if packTypeOf(v.Type()).bytes {
			return e.bytes(v.Bytes())
		}
		return e.reflectList(v, depth)
	case reflect.Array:
		return e.reflectList(v, depth)
	case reflect.Map:
		return e.reflectMap(v, depth)
	case reflect.Struct:
		return e.reflectStruct(v, depth)
	default:
		return fmt.Errorf("%w: values of type %s cannot be sent", ErrInvalidPayload, v.Type())
	}
}

func (e *msgpackEncoder) reflectList(v reflect.Value, depth int) error {
	if err := e.array(v.Len(), depth); err != nil {
		return err
	}
	for i := range v.Len() {
		if err := e.reflect(v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *msgpackEncoder) reflectMap(v reflect.Value, depth int) error {
	if v.IsNil() {
		return e.out.EncodeNil()
	}
	if err := e.pairs(v.Len(), depth); err != nil {
		return err
	}
	for entries := v.MapRange(); entries.Next(); {
		name, err := keyText(entries.Key())
		if err != nil {
			return err
		}
		if err := e.text(name); err != nil {
			return err
		}
		if err := e.reflect(entries.Value(), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// keyText returns the name of the member that the key of a map stands for.
func keyText(key reflect.Value) (string, error) {
	if key.Kind() == reflect.String {
		return key.String(), nil
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](key); ok {
		if key.Kind() == reflect.Pointer && key.IsNil() {
			return "", nil
		}
		text, err := m.MarshalText()
		return string(text), err
	}
	switch {
	case key.CanInt():
		return strconv.FormatInt(key.Int(), 10), nil
	case key.CanUint():
		return strconv.FormatUint(key.Uint(), 10), nil
	}
	return "", fmt.Errorf("%w: maps with keys of type %s cannot be sent", ErrInvalidPayload, key.Type())
}

func (e *msgpackEncoder) reflectStruct(v reflect.Value, depth int) error {
	members := packTypeOf(v.Type()).members
	n := 0
	for i := range members {
		if _, ok := members[i].written(v); ok {
			n++
		}
	}
	if err := e.pairs(n, depth); err != nil {
		return err
	}
	for i := range members {
		f, ok := members[i].written(v)
		if !ok {
			continue
		}
		if err := e.text(members[i].name); err != nil {
			return err
		}
		var err error
		if members[i].quoted {
			err = e.quoted(f)
		} else {
			err = e.reflect(f, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// written returns the field of v that m is, unless it is left out.
func (m *member) written(v reflect.Value) (reflect.Value, bool) {
	f, ok := fieldAt(v, m.index)
	return f, ok && (!m.omitEmpty || !isEmpty(f)) && (!m.omitZero || !isZero(f))
}

// isEmpty is what omitempty means.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// isZero is what omitzero means.
func isZero(v reflect.Value) bool {
	type zeroer interface{ IsZero() bool }
	if v.Kind() == reflect.Pointer && v.IsNil() || !v.CanInterface() {
		return v.IsZero()
	}
	if z, ok := reflect.TypeAssert[zeroer](v); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := reflect.TypeAssert[zeroer](v.Addr()); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// quoted writes a field whose tag says string: the JSON of it, as a string.
func (e *msgpackEncoder) quoted(v reflect.Value) error {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return e.out.EncodeNil()
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return err
	}
	return e.text(string(text))
}

// self lets a value write itself. A nil pointer is nil, as everywhere.
func (e *msgpackEncoder) self(by packMethod, v reflect.Value, depth int) error {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return e.out.EncodeNil()
	}
	switch by {
	case packByCoder:
		// It gets an encoder of its own, since it may do with it what it likes.
		var buf bytes.Buffer
		out := msgpack.NewEncoder(&buf)
		out.SetCustomStructTag("json")
		out.UseCompactInts(true)
		out.UseCompactFloats(true)
		m, _ := reflect.TypeAssert[msgpack.CustomEncoder](v)
		if err := m.EncodeMsgpack(out); err != nil {
			return err
		}
		return e.packed(buf.Bytes(), depth)
	case packByMsgPack:
		m, _ := reflect.TypeAssert[msgpack.Marshaler](v)
		data, err := m.MarshalMsgpack()
		if err != nil {
			return err
		}
		return e.packed(data, depth)
	case packByJSON:
		m, _ := reflect.TypeAssert[json.Marshaler](v)
		text, err := m.MarshalJSON()
		if err != nil {
			return err
		}
		return e.jsonText(text, depth)
	default:
		m, _ := reflect.TypeAssert[encoding.TextMarshaler](v)
		text, err := m.MarshalText()
		if err != nil {
			return err
		}
		return e.text(string(text))
	}
}
