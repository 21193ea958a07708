package codec

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Sending is the reverse of what jsonBinary does: a token takes the place of
// each byte slice, encoding/json encodes, and the tokens become placeholders,
// numbered in the order in which they were written. The caller's values are
// not touched: what leads to a byte slice is copied, the rest is shared.

// leaf keeps a byte slice that is to be an attachment and returns which token
// stands for it.
func (e *jsonEncoder) leaf(b []byte) (int, error) {
	if len(e.leaves) == maxTokens {
		return 0, ErrTooManyAttachments
	}
	e.leaves = append(e.leaves, b)
	return len(e.leaves) - 1, nil
}

// detach returns v with tokens in place of byte slices, and whether there were
// any; if not it has allocated nothing but what it takes to walk. steps is how
// far v is from the argument.
func (e *jsonEncoder) detach(v any, steps int) (any, bool, error) {
	switch v := v.(type) {
	case nil, bool, string, float64, int, json.Number, json.RawMessage:
		return v, false, nil
	case []byte:
		if v == nil {
			return v, false, nil
		}
		i, err := e.leaf(v)
		return sendTokens.bytes(i), true, err
	case map[string]any:
		return e.detachObject(v, steps)
	case []any:
		return e.detachArray(v, steps)
	}
	out, changed, err := e.detachValue(reflect.ValueOf(v), steps)
	if err != nil || !changed {
		return v, false, err
	}
	return out.Interface(), true, nil
}

func (e *jsonEncoder) detachObject(m map[string]any, steps int) (any, bool, error) {
	if steps > maxSteps(e.limits.MaxDepth) {
		return m, false, ErrTooDeep
	}
	var own map[string]any
	for key, value := range m {
		out, changed, err := e.detach(value, steps+1)
		if err != nil {
			return m, false, err
		}
		if !changed {
			continue
		}
		if own == nil {
			own = maps.Clone(m)
		}
		own[key] = out
	}
	if own == nil {
		return m, false, nil
	}
	return own, true, nil
}

func (e *jsonEncoder) detachArray(a []any, steps int) (any, bool, error) {
	if steps > maxSteps(e.limits.MaxDepth) {
		return a, false, ErrTooDeep
	}
	var own []any
	for i, value := range a {
		out, changed, err := e.detach(value, steps+1)
		if err != nil {
			return a, false, err
		}
		if !changed {
			continue
		}
		if own == nil {
			own = slices.Clone(a)
		}
		own[i] = out
	}
	if own == nil {
		return a, false, nil
	}
	return own, true, nil
}

// detachValue is detach for types that are known by reflection only. Whether a
// method with a pointer receiver writes a value depends on its being
// addressable, for encoding/json as for us.
func (e *jsonEncoder) detachValue(v reflect.Value, steps int) (reflect.Value, bool, error) {
	t := v.Type()
	s := shapeOf(t)
	if !s.binary || s.marshals || s.ptrWrites && v.CanAddr() {
		return v, false, nil
	}
	if steps > maxSteps(e.limits.MaxDepth) {
		return v, false, ErrTooDeep
	}
	switch t {
	case rawType:
		r, _ := reflect.TypeAssert[Raw](v)
		own, err := e.detachRaw(r)
		return reflect.ValueOf(own), own.values != r.values, err
	case argsType:
		a, _ := reflect.TypeAssert[Args](v)
		a, err := e.detachArgs(a)
		return reflect.ValueOf(a), true, err
	case objectType:
		// Maps are cheaper to walk without reflection.
		m, _ := reflect.TypeAssert[map[string]any](v)
		out, changed, err := e.detachObject(m, steps)
		return reflect.ValueOf(out), changed, err
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return v, false, nil
		}
		return e.detachValue(v.Elem(), steps+1)
	case reflect.Pointer:
		if v.IsNil() {
			return v, false, nil
		}
		out, changed, err := e.detachValue(v.Elem(), steps+1)
		if err != nil || !changed {
			return v, false, err
		}
		own := reflect.New(t.Elem())
		own.Elem().Set(out)
		return own.Convert(t), true, nil
	case reflect.Slice:
		if v.IsNil() {
			return v, false, nil
		}
		if s.bytes {
			i, err := e.leaf(v.Bytes())
			own := reflect.New(t).Elem()
			own.SetBytes(sendTokens.bytes(i))
			return own, true, err
		}
		return e.detachElements(v, steps)
	case reflect.Array:
		return e.detachElements(v, steps)
	case reflect.Map:
		return e.detachMap(v, steps)
	case reflect.Struct:
		return e.detachStruct(v, s, steps)
	default:
		return v, false, nil
	}
}

func (e *jsonEncoder) detachElements(v reflect.Value, steps int) (reflect.Value, bool, error) {
	var own reflect.Value
	for i := range v.Len() {
		out, changed, err := e.detachValue(v.Index(i), steps+1)
		if err != nil {
			return v, false, err
		}
		if !changed {
			continue
		}
		if !own.IsValid() {
			if v.Kind() == reflect.Slice {
				own = reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			} else {
				own = reflect.New(v.Type()).Elem()
			}
			reflect.Copy(own, v)
		}
		own.Index(i).Set(out)
	}
	if !own.IsValid() {
		return v, false, nil
	}
	return own, true, nil
}

func (e *jsonEncoder) detachMap(v reflect.Value, steps int) (reflect.Value, bool, error) {
	var own reflect.Value
	for entries := v.MapRange(); entries.Next(); {
		out, changed, err := e.detachValue(entries.Value(), steps+1)
		if err != nil {
			return v, false, err
		}
		if !changed {
			continue
		}
		if !own.IsValid() {
			own = reflect.MakeMapWithSize(v.Type(), v.Len())
			for all := v.MapRange(); all.Next(); {
				own.SetMapIndex(all.Key(), all.Value())
			}
		}
		own.SetMapIndex(entries.Key(), out)
	}
	if !own.IsValid() {
		return v, false, nil
	}
	return own, true, nil
}

func (e *jsonEncoder) detachStruct(v reflect.Value, s *shape, steps int) (reflect.Value, bool, error) {
	var own reflect.Value
	for _, f := range s.fields {
		fv, ok := fieldAt(v, f.index)
		if !ok || f.omitEmpty && fv.Kind() == reflect.Slice && fv.Len() == 0 {
			continue
		}
		if !fv.CanInterface() {
			// An embedded struct with a name in its tag is written though its
			// type is not exported. Only a copy lets us at it.
			fv = ownField(copyOf(v), f.index)
		}
		out, changed, err := e.detachValue(fv, steps+1)
		if err != nil {
			return v, false, err
		}
		if !changed {
			continue
		}
		if !own.IsValid() {
			own = copyOf(v)
		}
		ownField(own, f.index).Set(out)
	}
	if !own.IsValid() {
		return v, false, nil
	}
	return own, true, nil
}

// detachRaw returns r as JSON text with tokens in place of binary values.
func (e *jsonEncoder) detachRaw(r Raw) (Raw, error) {
	var (
		text []byte
		err  error
	)
	switch u := r.values.(type) {
	case nil, jsonText:
		return r, nil
	case *jsonBinary:
		text, err = replaceMarks(nil, r.data, findMarks(r.data), func(dst []byte, i int) ([]byte, error) {
			token, err := e.leaf(u.attachments[i])
			return sendTokens.appendJSON(dst, token), err
		})
	default:
		var v any
		if err = r.Bind(&v); err != nil {
			return r, fmt.Errorf("value of another codec: %w", err)
		}
		if v, _, err = e.detach(v, 0); err == nil {
			text, err = json.Marshal(v)
		}
	}
	return Raw{data: text, values: jsonText{}}, err
}

// detachArgs does for each of the arguments what detachRaw does.
func (e *jsonEncoder) detachArgs(a Args) (Args, error) {
	values := make([][]byte, a.Len())
	for i := range values {
		r, err := e.detachRaw(a.Raw(i))
		if err != nil {
			return a, err
		}
		values[i] = r.data
	}
	return NewArgs(jsonText{}, values...), nil
}

// copyOf returns an addressable copy of v.
func copyOf(v reflect.Value) reflect.Value {
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	return own
}

// ownField returns the field at index of v, an addressable copy, such that it
// can be set: embedded structs on the way that are pointers are copied.
func ownField(v reflect.Value, index []int) reflect.Value {
	for n, i := range index {
		if n > 0 && v.Kind() == reflect.Pointer {
			own := copyOf(exposed(v.Elem()))
			exposed(v).Set(own.Addr())
			v = own
		}
		v = v.Field(i)
	}
	return exposed(v)
}

// exposed returns v, which is addressable, without the mark of having been
// reached through an unexported field. encoding/json writes the exported
// fields of embedded structs that are not exported; this is how to copy them.
func exposed(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
}
