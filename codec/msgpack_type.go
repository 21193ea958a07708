package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// A packType is how values of a type are written and read.
type packType struct {
	writes    packMethod // by a method of the type
	ptrWrites packMethod // by a method of a pointer to it
	reads     packMethod // by a method of a pointer to it
	bytes     bool       // a byte slice
	textKey   bool       // as a key of a map it reads itself from text

	members []member       // of a struct, in order
	byName  map[string]int // index of members
	byFold  map[string]int // index of members, by names in lower case
	longest int            // length of the longest name
}

// A packMethod is a way in which a type writes or reads itself, the best that it
// has.
type packMethod uint8

const (
	packByNone    packMethod = iota
	packByCoder              // msgpack.CustomEncoder, CustomDecoder
	packByMsgPack            // msgpack.Marshaler, Unmarshaler
	packByJSON               // json.Marshaler, Unmarshaler
	packByText               // encoding.TextMarshaler, TextUnmarshaler
)

// A member is a field of a struct, be it of an embedded one, under the name that
// encoding/json has for it.
type member struct {
	name      string
	index     []int
	tagged    bool
	omitEmpty bool
	omitZero  bool
	quoted    bool // written as a string
}

var packTypes sync.Map // reflect.Type to *packType

var (
	timeType       = reflect.TypeFor[time.Time]()
	numberType     = reflect.TypeFor[json.Number]()
	extType        = reflect.TypeFor[MsgPackExt]()
	packWriteTypes = [...]reflect.Type{
		packByCoder:   reflect.TypeFor[msgpack.CustomEncoder](),
		packByMsgPack: reflect.TypeFor[msgpack.Marshaler](),
		packByJSON:    jsonMarshalerType,
		packByText:    textMarshalerType,
	}
	packReadTypes = [...]reflect.Type{
		packByCoder:   reflect.TypeFor[msgpack.CustomDecoder](),
		packByMsgPack: reflect.TypeFor[msgpack.Unmarshaler](),
		packByJSON:    reflect.TypeFor[json.Unmarshaler](),
		packByText:    reflect.TypeFor[encoding.TextUnmarshaler](),
	}
)

func packTypeOf(t reflect.Type) *packType {
	if p, ok := packTypes.Load(t); ok {
		return p.(*packType)
	}
	p := &packType{writes: packMethodOf(t, &packWriteTypes)}
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		pointer := reflect.PointerTo(t)
		p.ptrWrites = packMethodOf(pointer, &packWriteTypes)
		p.reads = packMethodOf(pointer, &packReadTypes)
		p.textKey = pointer.Implements(packReadTypes[packByText])
	}
	p.bytes = isBytes(t)
	if t.Kind() == reflect.Struct {
		p.members = membersOf(t)
		p.byName = make(map[string]int, len(p.members))
		p.byFold = make(map[string]int, len(p.members))
		for i, m := range p.members {
			p.byName[m.name] = i
			p.longest = max(p.longest, len(m.name))
			if fold := strings.ToLower(m.name); !has(p.byFold, fold) {
				p.byFold[fold] = i
			}
		}
	}
	stored, _ := packTypes.LoadOrStore(t, p)
	return stored.(*packType)
}

func has(m map[string]int, key string) bool {
	_, ok := m[key]
	return ok
}

// packMethodOf returns which of the interfaces t implements. What the codec has
// a way of its own for needs none.
func packMethodOf(t reflect.Type, interfaces *[5]reflect.Type) packMethod {
	base := t
	for base.Kind() == reflect.Pointer && base.Elem() != base {
		base = base.Elem()
	}
	switch {
	case base == rawType, base == argsType, base == timeType, t.Kind() == reflect.Interface:
		return packByNone
	}
	for m := packByCoder; m <= packByText; m++ {
		if t.Implements(interfaces[m]) {
			return m
		}
	}
	return packByNone
}

// member returns the member that a name on the wire is for: the one of that
// name, or else one whose name differs in case only.
func (p *packType) member(name []byte) *member {
	if len(name) > p.longest {
		return nil
	}
	i, ok := p.byName[string(name)]
	if !ok {
		if i, ok = p.byFold[strings.ToLower(string(name))]; !ok {
			return nil
		}
	}
	return &p.members[i]
}

// membersOf lists the members of struct type t by the rules of encoding/json:
// embedded structs are looked through, and of several members with one name
// the least deep counts, or the one that has it from a tag, or none.
func membersOf(t reflect.Type) []member {
	type place struct {
		t     reflect.Type
		index []int
	}
	var all []member
	above := map[reflect.Type]bool{}
	for level := []place{{t: t}}; len(level) > 0; {
		var next []place
		for _, at := range level {
			above[at.t] = true
		}
		for _, at := range level {
			for i := range at.t.NumField() {
				f := at.t.Field(i)
				index := append(append([]int(nil), at.index...), i)
				m, embedded := memberOf(f, index)
				switch {
				case embedded != nil && !above[embedded]:
					next = append(next, place{embedded, index})
				case m != nil:
					all = append(all, *m)
				}
			}
		}
		level = next
	}
	return dominant(all)
}

// memberOf returns what a field is: a member, or an embedded struct to look
// into, or neither.
func memberOf(f reflect.StructField, index []int) (*member, reflect.Type) {
	tag := f.Tag.Get("json")
	name, options, _ := strings.Cut(tag, ",")
	inner := f.Type
	if inner.Kind() == reflect.Pointer && inner.Name() == "" {
		inner = inner.Elem()
	}
	embeds := f.Anonymous && inner.Kind() == reflect.Struct
	switch {
	case tag == "-", !f.IsExported() && !embeds:
		return nil, nil
	case embeds && name == "":
		return nil, inner
	}
	m := &member{name: name, index: index, tagged: name != ""}
	if name == "" {
		m.name = f.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			m.omitEmpty = true
		case "omitzero":
			m.omitZero = true
		case "string":
			m.quoted = isScalar(inner.Kind())
		}
	}
	return m, nil
}

// dominant leaves of the members with one name the one that counts, in the order
// of the fields. In all those that are less deep come first.
func dominant(all []member) []member {
	type rank struct {
		i     int // index of the best so far
		rival bool
	}
	best := make(map[string]rank, len(all))
	for i, m := range all {
		r, ok := best[m.name]
		switch {
		case !ok, len(m.index) == len(all[r.i].index) && m.tagged && !all[r.i].tagged:
			best[m.name] = rank{i: i}
		case len(m.index) == len(all[r.i].index) && m.tagged == all[r.i].tagged:
			best[m.name] = rank{r.i, true}
		}
	}
	kept := make([]member, 0, len(best))
	for i, m := range all {
		if best[m.name] == (rank{i: i}) {
			kept = append(kept, m)
		}
	}
	slices.SortFunc(kept, func(a, b member) int { return slices.Compare(a.index, b.index) })
	return kept
}

// isScalar reports whether the string option of a tag applies to a kind.
func isScalar(k reflect.Kind) bool {
	return k >= reflect.Bool && k <= reflect.Float64 || k == reflect.String
}
