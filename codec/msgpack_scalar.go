package codec

import (
	"encoding"
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// number sets a number. One without a fraction is an integer, whatever it is
// written as.
func number(v reflect.Value, h packHead) error {
	switch {
	case v.CanFloat():
		f := h.float()
		if v.OverflowFloat(f) {
			return fmt.Errorf("%v does not fit into %s", f, v.Type())
		}
		v.SetFloat(f)
		return nil
	case v.CanInt():
		if n, ok := h.int64(); ok && !v.OverflowInt(n) {
			v.SetInt(n)
			return nil
		}
	case v.CanUint():
		if n, ok := h.uint64(); ok && !v.OverflowUint(n) {
			v.SetUint(n)
			return nil
		}
	default:
		return misfit(h, v)
	}
	return fmt.Errorf("%s does not fit into %s", appendNumber(nil, h), v.Type())
}

// int64 returns a number that is one.
func (h packHead) int64() (int64, bool) {
	if f := h.float(); h.kind == packFloat {
		return int64(f), f == math.Trunc(f) && f >= -1<<63 && f < 1<<63
	}
	return int64(h.bits), h.kind == packInt || h.bits <= math.MaxInt64 //nolint:gosec // it was asked first
}

// uint64 returns a number that is one.
func (h packHead) uint64() (uint64, bool) {
	if f := h.float(); h.kind == packFloat {
		return uint64(f), f == math.Trunc(f) && f >= 0 && f < 1<<64
	}
	return h.bits, h.kind == packUint
}

// text sets a string. As in JSON, base64 text is a byte slice.
func (b *binder) text(v reflect.Value, h packHead) error {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(string(b.body(h)))
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		data, err := base64.StdEncoding.AppendDecode([]byte{}, b.body(h))
		if err != nil {
			return err
		}
		v.SetBytes(data)
		return nil
	}
	return misfit(h, v)
}

// binary sets a byte slice, or an array of bytes, as far as it goes.
func (b *binder) binary(v reflect.Value, h packHead) error {
	isList := v.Kind() == reflect.Slice || v.Kind() == reflect.Array
	if !isList || v.Type().Elem().Kind() != reflect.Uint8 {
		return misfit(h, v)
	}
	if v.Kind() == reflect.Slice {
		v.SetBytes(append([]byte{}, b.body(h)...))
		return nil
	}
	v.SetZero()
	copy(v.Bytes(), b.body(h))
	return nil
}

// time sets a time, from a Date or from the text that JSON has for one.
func (b *binder) time(v reflect.Value, h packHead) error {
	b.at = packEnd(b.data, b.at)
	switch {
	case h.kind.none():
		return nil
	case h.kind == packTime:
		v.Set(reflect.ValueOf(packedTime(h)))
		return nil
	case h.kind != packStr:
		return misfit(h, v)
	}
	t, err := time.Parse(time.RFC3339, string(b.body(h)))
	if err != nil {
		return fmt.Errorf("%s is no time", excerpt(b.body(h)))
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

func packedTime(h packHead) time.Time { return time.UnixMilli(int64(h.bits)).UTC() } //nolint:gosec // that is how it is kept

// isoTime is a Date as JSON has it.
func isoTime(h packHead) string { return packedTime(h).Format("2006-01-02T15:04:05.000Z") }

func (b *binder) ext(h packHead) MsgPackExt {
	return MsgPackExt{Type: h.ext, Data: append([]byte{}, b.body(h)...)}
}

// keyOf returns the key of a map that the name of a member stands for.
func keyOf(t reflect.Type, name []byte) (reflect.Value, error) {
	key := reflect.New(t).Elem()
	switch {
	case packTypeOf(t).textKey:
		u, _ := reflect.TypeAssert[encoding.TextUnmarshaler](key.Addr())
		return key, u.UnmarshalText(name)
	case key.Kind() == reflect.String:
		key.SetString(string(name))
		return key, nil
	case key.CanInt():
		if n, err := strconv.ParseInt(string(name), 10, t.Bits()); err == nil {
			key.SetInt(n)
			return key, nil
		}
	case key.CanUint():
		if n, err := strconv.ParseUint(string(name), 10, t.Bits()); err == nil {
			key.SetUint(n)
			return key, nil
		}
	}
	return key, fmt.Errorf("the name %s does not fit into a key of type %s", excerpt(name), t)
}
