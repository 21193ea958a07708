package codec

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// A packKind is what a MessagePack value is to Socket.IO.
type packKind uint8

const (
	packNil       packKind = iota
	packUndefined          // ext type 0 of one byte
	packBool
	packUint // an integer that is not negative
	packInt  // a negative one
	packFloat
	packStr
	packBin  // bin, and ext type 0, which is what JavaScript makes of an ArrayBuffer
	packTime // ext type 0 in the form of 8 bytes: milliseconds
	packExt  // any other ext
	packArray
	packMap
)

func (k packKind) String() string {
	return [...]string{
		"nil", "undefined", "a boolean", "an integer", "a negative integer", "a number", "a string",
		"a binary value", "a time", "an extension", "an array", "an object",
	}[k]
}

// none reports whether k stands for there being no value.
func (k packKind) none() bool { return k == packNil || k == packUndefined }

// A packHead is the beginning of a MessagePack value, and all of it unless it
// is an array or a map.
type packHead struct {
	kind packKind
	ext  int8   // type of a packExt
	bits uint64 // a packBool (0 or 1), packUint, packInt or packTime (as int64), packFloat (IEEE 754)
	n    int    // elements of an array, pairs of a map; no more than there is room for
	// What belongs to a str, bin or ext is between body and end. What belongs
	// to an array or a map begins at end.
	body, end int
}

func (h packHead) float() float64 {
	switch h.kind {
	case packInt:
		return float64(int64(h.bits)) //nolint:gosec // that is how it is kept
	case packFloat:
		return math.Float64frombits(h.bits)
	default:
		return float64(h.bits)
	}
}

// integer returns a number that is an integer from 0 to MaxID, in whatever form
// it is. JavaScript does not tell 1.0 from 1.
func (h packHead) integer() (n uint64, ok bool) {
	switch h.kind {
	case packUint:
		return h.bits, h.bits <= MaxID
	case packFloat:
		f := h.float()
		if f < 0 || f > MaxID || f != math.Trunc(f) {
			return 0, false
		}
		return uint64(f), true
	default:
		return 0, false
	}
}

// readHead reads the head of the value at data[i]. ok is false if there is no
// such value, or if data ends before it can. Nothing is believed of a length
// but that it fits.
func readHead(data []byte, i int) (h packHead, ok bool) {
	if i >= len(data) {
		return h, false
	}
	c := data[i]
	i++
	switch {
	case c < 0x80: // positive fixint
		return packHead{kind: packUint, bits: uint64(c), body: i, end: i}, true
	case c < 0x90: // fixmap
		return readCount(data, i, packMap, uint64(c&0x0f))
	case c < 0xa0: // fixarray
		return readCount(data, i, packArray, uint64(c&0x0f))
	case c < 0xc0: // fixstr
		return readBody(data, i, packStr, uint64(c&0x1f))
	case c >= 0xe0: // negative fixint
		return packHead{kind: packInt, bits: uint64(int64(int8(c))), body: i, end: i}, true //nolint:gosec // the sign is wanted
	}
	switch c {
	case 0xc0: // nil
		return packHead{kind: packNil, body: i, end: i}, true
	case 0xc1: // the one code that has no meaning
		return h, false
	case 0xc2, 0xc3: // false, true
		return packHead{kind: packBool, bits: uint64(c - 0xc2), body: i, end: i}, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext 1, 2, 4, 8, 16
		return readExt(data, i, 1<<(c-0xd4), true)
	}
	// What is left has a number behind the code, a value or a length.
	width, start := packWidths[c-0xc0], i
	if i += int(width); i > len(data) {
		return h, false
	}
	n := bigEndian(data[start:i])
	switch c {
	case 0xc4, 0xc5, 0xc6: // bin
		return readBody(data, i, packBin, n)
	case 0xca: // float 32
		f := math.Float32frombits(uint32(n)) //nolint:gosec // it is four bytes
		return packHead{kind: packFloat, bits: math.Float64bits(float64(f)), body: start, end: i}, true
	case 0xcb: // float 64
		return packHead{kind: packFloat, bits: n, body: start, end: i}, true
	case 0xcc, 0xcd, 0xce, 0xcf: // uint
		return packHead{kind: packUint, bits: n, body: start, end: i}, true
	case 0xd0, 0xd1, 0xd2, 0xd3: // int
		h = packHead{kind: packUint, bits: n, body: start, end: i}
		unused := 64 - 8*width
		if signed := int64(n<<unused) >> unused; signed < 0 { //nolint:gosec // the sign is wanted
			h.kind, h.bits = packInt, uint64(signed) //nolint:gosec // that is how it is kept
		}
		return h, true
	case 0xd9, 0xda, 0xdb: // str
		return readBody(data, i, packStr, n)
	case 0xdc, 0xdd: // array
		return readCount(data, i, packArray, n)
	case 0xde, 0xdf: // map
		return readCount(data, i, packMap, n)
	default: // ext: 0xc7, 0xc8, 0xc9
		return readExt(data, i, n, false)
	}
}

// packWidths is how many bytes the number behind a code has, from code 0xc0 on.
var packWidths = [...]uint8{
	4: 1, 2, 4, // bin
	1, 2, 4, // ext
	4, 8, // float
	1, 2, 4, 8, // uint
	1, 2, 4, 8, // int
	0x19: 1, 2, 4, // str
	2, 4, // array
	2, 4, // map
}

func bigEndian(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	default:
		return binary.BigEndian.Uint64(b)
	}
}

// readBody reads a value of n bytes.
func readBody(data []byte, i int, kind packKind, n uint64) (packHead, bool) {
	if n > uint64(len(data)-i) { //nolint:gosec // i is within data
		return packHead{}, false
	}
	return packHead{kind: kind, body: i, end: i + int(n)}, true //nolint:gosec // it fits into data
}

// readCount reads the head of an array or map of n elements or pairs, each of
// which takes a byte at least.
func readCount(data []byte, i int, kind packKind, n uint64) (packHead, bool) {
	room := uint64(len(data) - i) //nolint:gosec // i is within data
	if kind == packMap {
		room /= 2
	}
	if n > room {
		return packHead{}, false
	}
	return packHead{kind: kind, n: int(n), body: i, end: i}, true //nolint:gosec // it fits into data
}

// readExt reads an ext of n bytes whose type is at data[i]. Of type 0, which
// Socket.IO uses for three things, the forms without a length are undefined and
// times, whatever their content.
func readExt(data []byte, i int, n uint64, fixed bool) (packHead, bool) {
	if i >= len(data) {
		return packHead{}, false
	}
	h, ok := readBody(data, i+1, packExt, n)
	if h.ext = int8(data[i]); h.ext != 0 || !ok { //nolint:gosec // the sign is wanted
		return h, ok
	}
	switch {
	case fixed && n == 1:
		h.kind = packUndefined
	case fixed && n == 8:
		h.kind, h.bits = packTime, binary.BigEndian.Uint64(data[h.body:])
	default:
		h.kind = packBin
	}
	return h, true
}

// A packScanner validates MessagePack in one pass, without decoding it: what
// it has accepted can be read without further checks. Strings are UTF-8 and so
// are the names of members, which are strings. What JavaScript peers would
// choke on is not to be passed on to them.
type packScanner struct {
	data     []byte
	maxDepth int
	at       int  // where the data went wrong
	deep     bool // it did because of maxDepth
}

// value reads the value at i and returns where it ends, or -1 with at set. depth
// is the nesting that a container at i has.
func (s *packScanner) value(i, depth int) int {
	h, ok := readHead(s.data, i)
	if !ok {
		return s.fail(i)
	}
	switch h.kind {
	case packStr:
		if !utf8.Valid(s.data[h.body:h.end]) {
			return s.fail(h.body)
		}
	case packArray, packMap:
		if depth > s.maxDepth {
			s.deep = true
			return s.fail(i)
		}
		end := h.end
		for range h.n {
			if h.kind == packMap {
				if _, end = s.key(end); end < 0 {
					return -1
				}
			}
			if end = s.value(end, depth+1); end < 0 {
				return -1
			}
		}
		return end
	default:
	}
	return h.end
}

// key reads the name of a member at i.
func (s *packScanner) key(i int) (name []byte, end int) {
	h, ok := readHead(s.data, i)
	if !ok || h.kind != packStr || !utf8.Valid(s.data[h.body:h.end]) {
		return nil, s.fail(i)
	}
	return s.data[h.body:h.end], h.end
}

// elements reads the array at i, which is the first level of nesting. The first
// element goes to head, unless that is nil; the others go to tail, with offsets
// from the start of the first of them. They lie between from and to, which is
// where the array ends. to is -1 if there is no such array.
func (s *packScanner) elements(i int, head *span, tail *spans) (from, to int) {
	h, ok := readHead(s.data, i)
	if !ok || h.kind != packArray {
		return 0, s.fail(i)
	}
	to = h.end
	for range h.n {
		start := to
		if to = s.value(start, 2); to < 0 {
			return 0, -1
		}
		if head != nil {
			*head = newSpan(start, to)
			head = nil
			continue
		}
		if tail.n == 0 {
			from = start
		}
		tail.add(start-from, to-from)
	}
	if tail.n == 0 {
		from = to
	}
	return from, to
}

func (s *packScanner) fail(i int) int {
	s.at = i
	return -1
}

// packEnd returns where the value at i ends, in data that has been scanned.
func packEnd(data []byte, i int) int {
	for due := 1; due > 0; due-- {
		h, _ := readHead(data, i)
		i = h.end
		switch h.kind {
		case packArray:
			due += h.n
		case packMap:
			due += 2 * h.n
		default:
		}
	}
	return i
}
