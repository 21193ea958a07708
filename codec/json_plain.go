package codec

import (
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A plainStruct reads and writes structs of text, numbers, booleans, and more
// such structs: what most events carry. It knows the fields before it sees a
// value, and does what encoding/json does at a fraction of the cost. Of anything
// that is not quite plain it lets go, and the general way is taken from the
// beginning.
type plainStruct struct {
	fields []plainField
}

type plainField struct {
	index  int
	kind   reflect.Kind
	name   string
	key    string       // `"name":`
	nested *plainStruct // if kind is Struct
}

var (
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plainOf returns nil if t is no plain struct.
func plainOf(t reflect.Type) *plainStruct {
	if t.Kind() != reflect.Struct || hasMethods(t) {
		return nil
	}
	p := &plainStruct{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, tagged := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous, tagged && options != "":
			return nil
		case !f.IsExported(), name == "-" && !tagged:
			continue
		case name == "":
			name = f.Name
		}
		field := plainField{index: i, kind: f.Type.Kind(), name: name, key: `"` + name + `":`}
		if !isWord(name) || hasMethods(f.Type) || p.find(name, 0) != nil {
			return nil
		}
		switch field.kind {
		case reflect.String, reflect.Bool, reflect.Float64,
			reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
			reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			if f.Type == numberType {
				return nil // text that is a number
			}
		case reflect.Struct:
			if field.nested = plainOf(f.Type); field.nested == nil {
				return nil
			}
		default:
			return nil
		}
		p.fields = append(p.fields, field)
	}
	return p
}

// hasMethods reports whether encoding/json may leave values of type t to
// methods.
func hasMethods(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(jsonMarshalerType) || pointer.Implements(textMarshalerType) ||
		pointer.Implements(jsonUnmarshalerType) || pointer.Implements(textUnmarshalerType)
}

// isWord reports whether a name can stand in JSON text, and in a tag, as it is.
func isWord(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return name != ""
}

// find returns the field of a name, or nil. It looks at the one with index
// guess first: members mostly come in the order of the fields.
func (p *plainStruct) find(name string, guess int) *plainField {
	if guess < len(p.fields) && p.fields[guess].name == name {
		return &p.fields[guess]
	}
	for i := range p.fields {
		if p.fields[i].name == name {
			return &p.fields[i]
		}
	}
	return nil
}

// bind sets v from an object, which is valid JSON, and reports whether it could.
// If not, some fields may be set, as they would be in the general way.
func (p *plainStruct) bind(t jsonText, data []byte, v reflect.Value) bool {
	s := plainScanner{scanner{data: data}, t}
	return p.object(&s, s.space(0), v) >= 0
}

// A plainScanner is a scanner that knows whose the text is.
type plainScanner struct {
	scanner
	text jsonText
}

// object reads the object at i. It returns where it ends, or -1.
func (p *plainStruct) object(s *plainScanner, i int, v reflect.Value) int {
	if !s.is(i, '{') {
		return -1
	}
	if i = s.space(i + 1); s.is(i, '}') {
		return i + 1
	}
	for member := 0; ; member++ {
		end := s.str(i)
		if end < 0 {
			return -1
		}
		f := p.find(string(s.data[i+1:end-1]), member)
		if f == nil {
			return -1 // unknown, or known by another case or with escapes
		}
		if i = s.space(end); !s.is(i, ':') {
			return -1
		}
		if i = f.bind(s, s.space(i+1), v.Field(f.index)); i < 0 {
			return -1
		}
		switch i = s.space(i); {
		case s.is(i, '}'):
			return i + 1
		case !s.is(i, ','):
			return -1
		}
		i = s.space(i + 1)
	}
}

// bind reads the value at i. It returns where it ends, or -1.
func (f *plainField) bind(s *plainScanner, i int, v reflect.Value) int {
	if f.nested != nil {
		return f.nested.object(s, i, v)
	}
	if f.kind == reflect.String {
		return bindString(s, i, v)
	}
	end := s.value(i, 0)
	if end < 0 {
		return -1
	}
	text := s.data[i:end]
	switch f.kind {
	case reflect.Bool:
		if text[0] != 't' && text[0] != 'f' {
			return -1
		}
		v.SetBool(text[0] == 't')
	case reflect.Float64:
		n, err := strconv.ParseFloat(string(text), 64)
		if err != nil || !isDigit(text[0]) && text[0] != '-' {
			return -1
		}
		v.SetFloat(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return -1
		}
		v.SetInt(n)
	default:
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil || v.OverflowUint(n) {
			return -1
		}
		v.SetUint(n)
	}
	return end
}

// bindString reads the string at i. It returns where it ends, or -1.
func bindString(s *plainScanner, i int, v reflect.Value) int {
	if !s.is(i, '"') {
		return -1
	}
	text := s.data[i+1:]
	if n := plainPrefix(text); n < len(text) && text[n] == '"' && utf8.Valid(text[:n]) {
		v.SetString(s.text.string(text[:n], len(s.data)))
		return i + n + 2
	}
	end := s.str(i)
	if end < 0 || !utf8.Valid(s.data[i:end]) {
		return -1
	}
	v.SetString(unquote(s.data[i+1 : end-1]))
	return end
}

// append writes v, and reports whether it could. If not, dst may have grown.
func (p *plainStruct) append(dst []byte, v reflect.Value) ([]byte, bool) {
	dst = append(dst, '{')
	for i := range p.fields {
		f := &p.fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.key...)
		switch value := v.Field(f.index); f.kind {
		case reflect.String:
			dst = appendString(dst, value.String())
		case reflect.Bool:
			dst = strconv.AppendBool(dst, value.Bool())
		case reflect.Float64:
			n := value.Float()
			if math.IsNaN(n) || math.IsInf(n, 0) {
				return dst, false
			}
			dst = appendFloat(dst, n)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			dst = strconv.AppendInt(dst, value.Int(), 10)
		case reflect.Struct:
			var ok bool
			if dst, ok = f.nested.append(dst, value); !ok {
				return dst, false
			}
		default:
			dst = strconv.AppendUint(dst, value.Uint(), 10)
		}
	}
	return append(dst, '}'), true
}
