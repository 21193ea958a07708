package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// A shape is what is known of a type before a value is seen, as far as
// encoding/json looks into it.
type shape struct {
	bytes     bool // a byte slice that encoding/json writes as base64
	binary    bool // values may hold byte slices that are to be attachments
	token     bool // values may be bound to what was an attachment
	open      bool // how deep values nest, or what they write, is not known from the type
	marshals  bool // values write themselves
	ptrWrites bool // pointers to values write themselves
	fields    []field
	plain     *plainStruct // nil if values are none
}

// A field is a struct field that encoding/json writes, be it of an embedded
// struct.
type field struct {
	index     []int
	omitEmpty bool
}

var shapes sync.Map // reflect.Type to *shape

var (
	rawType           = reflect.TypeFor[Raw]()
	argsType          = reflect.TypeFor[Args]()
	objectType        = reflect.TypeFor[map[string]any]()
	rawMessageType    = reflect.TypeFor[json.RawMessage]()
	jsonMarshalerType = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{bytes: isBytes(t), marshals: marshals(t)}
	s.ptrWrites = t.Kind() != reflect.Pointer && marshals(reflect.PointerTo(t))
	if t.Kind() == reflect.Struct && t != rawType && t != argsType {
		s.fields = fieldsOf(t, nil, nil)
		s.plain = plainOf(t)
	}
	// Every type is explored from itself: what is found halfway through a
	// recursive type would be incomplete.
	s.explore(t, map[reflect.Type]bool{})
	stored, _ := shapes.LoadOrStore(t, s)
	return stored.(*shape)
}

// explore adds what t brings in. seen says of the types met so far whether
// they are above t, and not just beside it.
func (s *shape) explore(t reflect.Type, seen map[reflect.Type]bool) {
	if above, ok := seen[t]; ok {
		s.open = s.open || above
		return
	}
	seen[t] = true
	defer func() { seen[t] = false }()

	switch {
	case t == rawType || t == argsType:
		s.binary, s.token, s.open = true, true, true
		return
	case marshals(t) || marshals(reflect.PointerTo(t)):
		s.open = true // and go on: it may well not unmarshal itself
	}
	switch t.Kind() {
	case reflect.Interface:
		s.binary, s.token, s.open = true, true, true
	case reflect.String:
		s.token = true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			s.token = true
			s.binary = s.binary || isBytes(t)
			return
		}
		s.explore(t.Elem(), seen)
	case reflect.Array, reflect.Pointer, reflect.Map:
		s.explore(t.Elem(), seen)
	case reflect.Struct:
		for _, f := range fieldsOf(t, nil, nil) {
			s.explore(t.FieldByIndex(f.index).Type, seen)
		}
	default:
	}
}

// isBytes reports whether t is a byte slice that is to become an attachment.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 &&
		!marshals(t) && !marshals(reflect.PointerTo(t.Elem()))
}

// marshals reports whether encoding/json leaves values of type t to methods.
// Raws and Args are ours, so they are treated by what they hold.
func marshals(t reflect.Type) bool {
	base := t
	for base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	if base == rawType || base == argsType {
		return false
	}
	return t.Implements(jsonMarshalerType) || t.Implements(textMarshalerType)
}

// fieldsOf lists the fields of struct type t below index. Embedded structs are
// looked through, as by encoding/json; fields that are hidden by others are
// listed too, since it does no harm. above are the embedding types.
func fieldsOf(t reflect.Type, index []int, above []reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		embedded := f.Type
		if f.Anonymous && embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		isStruct := f.Anonymous && embedded.Kind() == reflect.Struct
		if tag == "-" || !f.IsExported() && !isStruct {
			continue
		}
		path := append(append([]int(nil), index...), i)
		if !isStruct || name != "" {
			omit := strings.Contains(","+options+",", ",omitempty,")
			fields = append(fields, field{index: path, omitEmpty: omit})
			continue
		}
		if !slices.Contains(above, embedded) && embedded != t {
			fields = append(fields, fieldsOf(embedded, path, append(above, t))...)
		}
	}
	return fields
}
