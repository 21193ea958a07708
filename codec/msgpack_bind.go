package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/vmihailenco/msgpack/v5"
)

// A binder decodes MessagePack that has been validated into Go values, in the
// way of encoding/json. at is where the next value begins.
type binder struct {
	data []byte
	at   int
}

// bind decodes the next value into what dst points to.
func (b *binder) bind(dst any) error {
	switch d := dst.(type) {
	case *string:
		// The commonest payload by far.
		if h, _ := readHead(b.data, b.at); h.kind == packStr && d != nil {
			*d = string(b.body(h))
			return nil
		}
	case *[]byte:
		if h, _ := readHead(b.data, b.at); h.kind == packBin && d != nil {
			*d = append([]byte{}, b.body(h)...)
			return nil
		}
	}
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("codec: a value cannot be bound to a %T that is no pointer or nil", dst)
	}
	if err := b.value(v.Elem()); err != nil {
		return fmt.Errorf("codec: %w", err)
	}
	return nil
}

// peek returns the head of the next value.
func (b *binder) peek() packHead {
	h, _ := readHead(b.data, b.at)
	return h
}

// body is the content of a string and the like.
func (b *binder) body(h packHead) []byte { return b.data[h.body:h.end:h.end] }

// span is all of the next value, which is passed over.
func (b *binder) span() []byte {
	start := b.at
	b.at = packEnd(b.data, start)
	return b.data[start:b.at:b.at]
}

// value decodes the next value into v, which can be set unless it is an embedded
// struct that is not exported.
func (b *binder) value(v reflect.Value) error {
	h := b.peek()
	// What an interface holds already is decoded into, if it is a pointer, as
	// by encoding/json. So a value can contain itself.
	for range maxSteps(maxDepth) {
		if v.Kind() == reflect.Interface && !h.kind.none() {
			if held := v.Elem(); held.Kind() == reflect.Pointer && !held.IsNil() {
				v = held
				continue
			}
		}
		if v.Kind() != reflect.Pointer {
			return b.concrete(v, h)
		}
		if h.kind.none() && v.CanSet() {
			b.at = h.end
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			if !v.CanSet() {
				return fmt.Errorf("an embedded pointer to %s cannot be set", v.Type().Elem())
			}
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return ErrTooDeep
}

// concrete decodes the next value into v, which is no pointer.
func (b *binder) concrete(v reflect.Value, h packHead) error {
	if v.CanSet() {
		if p := packTypeOf(v.Type()); p.reads != packByNone {
			return b.self(p.reads, v, h)
		}
		if done, err := b.special(v, h); done {
			return err
		}
	}
	switch h.kind {
	case packNil, packUndefined:
		b.at = h.end
		if k := v.Kind(); k == reflect.Interface || k == reflect.Map || k == reflect.Slice {
			v.SetZero()
		}
		return nil
	case packArray, packMap:
	default:
		b.at = h.end
	}
	if v.Kind() == reflect.Interface {
		if v.NumMethod() > 0 {
			return misfit(h, v)
		}
		if value := b.any(h); value != nil {
			v.Set(reflect.ValueOf(value))
		}
		return nil
	}
	switch h.kind {
	case packArray:
		return b.array(v, h)
	case packMap:
		return b.object(v, h)
	case packBool:
		if v.Kind() != reflect.Bool {
			return misfit(h, v)
		}
		v.SetBool(h.bits == 1)
		return nil
	case packStr:
		return b.text(v, h)
	case packBin:
		return b.binary(v, h)
	case packTime:
		if v.Kind() != reflect.String {
			return misfit(h, v)
		}
		v.SetString(isoTime(h))
		return nil
	case packExt:
		return misfit(h, v)
	default:
		return number(v, h)
	}
}

// special decodes the next value into a v of a type that we know, if there is a
// way for it that is not everybody's.
func (b *binder) special(v reflect.Value, h packHead) (done bool, err error) {
	switch v.Type() {
	case rawType:
		v.Set(reflect.ValueOf(packRaw(b.span())))
		return true, nil
	case timeType:
		return true, b.time(v, h)
	case extType:
		if h.kind == packExt {
			b.at = h.end
			v.Set(reflect.ValueOf(b.ext(h)))
			return true, nil
		}
	case numberType:
		if f := h.float(); h.kind == packUint || h.kind == packInt || h.kind == packFloat && f-f == 0 {
			v.SetString(string(b.appendJSON(nil)))
			return true, nil
		}
	}
	return false, nil
}

// misfit is the error of a value that v cannot hold.
func misfit(h packHead, v reflect.Value) error {
	return fmt.Errorf("%s does not fit into %s", h.kind, v.Type())
}

// array decodes an array.
func (b *binder) array(v reflect.Value, h packHead) error {
	switch v.Kind() {
	case reflect.Slice:
		if h.n == 0 {
			b.at = h.end
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			return nil
		}
		v.SetZero()
	case reflect.Array:
		v.SetZero()
	default:
		return misfit(h, v)
	}
	b.at = h.end
	for i := range h.n {
		if v.Kind() == reflect.Array && i >= v.Len() {
			b.span() // surplus
			continue
		}
		if v.Kind() == reflect.Slice {
			// Memory for one element after the other: the first may be wrong.
			v.Grow(1)
			v.SetLen(i + 1)
		}
		if err := b.value(v.Index(i)); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

// object decodes a map, into a map or a struct.
func (b *binder) object(v reflect.Value, h packHead) error {
	switch v.Kind() {
	case reflect.Map:
		return b.entries(v, h)
	case reflect.Struct:
	default:
		return misfit(h, v)
	}
	b.at = h.end
	p := packTypeOf(v.Type())
	for range h.n {
		m := p.member(b.name())
		if m == nil {
			b.span()
			continue
		}
		f, err := m.field(v)
		if err == nil && m.quoted && b.peek().kind == packStr {
			err = json.Unmarshal(b.body(b.peek()), f.Addr().Interface())
			b.span()
		} else if err == nil {
			err = b.value(f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// name reads the name of a member.
func (b *binder) name() []byte {
	h := b.peek()
	b.at = h.end
	return b.body(h)
}

// field returns the field of v that m is. Embedded structs on the way to it are
// made.
func (m *member) field(v reflect.Value) (reflect.Value, error) {
	for n, i := range m.index {
		if n > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return v, fmt.Errorf("an embedded pointer to %s cannot be set", v.Type().Elem())
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, nil
}

// entries decodes into a map, which keeps what else it has.
func (b *binder) entries(v reflect.Value, h packHead) error {
	t := v.Type()
	b.at = h.end
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	value := reflect.New(t.Elem()).Elem()
	for range h.n {
		name := b.name()
		key, err := keyOf(t.Key(), name)
		if err != nil {
			return err
		}
		value.SetZero()
		if err := b.value(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.SetMapIndex(key, value)
	}
	return nil
}

// self lets a value read itself.
func (b *binder) self(by packMethod, v reflect.Value, h packHead) error {
	span := b.span()
	if h.kind.none() && by != packByJSON {
		if by != packByText {
			v.SetZero()
		}
		return nil
	}
	switch by {
	case packByCoder:
		in := msgpack.NewDecoder(bytes.NewReader(span))
		in.SetCustomStructTag("json")
		u, _ := reflect.TypeAssert[msgpack.CustomDecoder](v.Addr())
		return u.DecodeMsgpack(in)
	case packByMsgPack:
		u, _ := reflect.TypeAssert[msgpack.Unmarshaler](v.Addr())
		return u.UnmarshalMsgpack(bytes.Clone(span))
	case packByJSON:
		u, _ := reflect.TypeAssert[json.Unmarshaler](v.Addr())
		inner := binder{data: span}
		return u.UnmarshalJSON(inner.appendJSON(nil))
	default:
		u, _ := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
		switch h.kind {
		case packStr:
			return u.UnmarshalText(bytes.Clone(b.body(h)))
		case packTime:
			return u.UnmarshalText([]byte(isoTime(h)))
		default:
			return misfit(h, v)
		}
	}
}
