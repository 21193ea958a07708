package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
)

// A scanner validates JSON text in one pass, without decoding it. It accepts
// what encoding/json accepts, down to maxDepth. Text that is valid to the
// scanner can be handed to json.Unmarshal in parts.
//
// Positions are byte offsets into data. A method that reads something takes
// where it starts and returns where it ends, or -1 with at set.
type scanner struct {
	data     []byte
	maxDepth int
	at       int  // where the text went wrong
	deep     bool // it did because of maxDepth

	// With members set, the scanner looks at the names of object members
	// and finds what the JSON codec treats specially.
	members bool
	named   int    // members named "_placeholder", at any depth
	marks   []mark // objects that are placeholders, in order
}

// A mark is a placeholder: {"_placeholder":true,"num":0}. index is -1 if num
// is no index.
type mark struct{ start, end, index int }

// only checks that data is one JSON value with nothing but white space behind.
func (s *scanner) only() bool {
	end := s.value(s.space(0), 1)
	return end >= 0 && s.rest(end)
}

// elements checks that data is one JSON array, with nothing but white space
// behind. The first element goes to head, unless that is nil; the others go to
// tail, with offsets from the start of the first of them. They lie between
// from and to.
func (s *scanner) elements(head *span, tail *spans) (from, to int, ok bool) {
	if !s.is(0, '[') {
		s.at = 0
		return 0, 0, false
	}
	i := s.space(1)
	if s.is(i, ']') {
		return 0, 0, s.rest(i + 1)
	}
	for {
		end := s.value(i, 2)
		if end < 0 {
			return 0, 0, false
		}
		if head != nil {
			*head = newSpan(i, end)
			head = nil
		} else {
			if tail.n == 0 {
				from = i
			}
			tail.add(i-from, end-from)
			to = end
		}
		i = s.space(end)
		switch {
		case s.is(i, ']'):
			return from, to, s.rest(i + 1)
		case !s.is(i, ','):
			s.at = i
			return 0, 0, false
		}
		i = s.space(i + 1)
	}
}

// value reads the value at i. depth is the nesting that a container at i has.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.data) {
		return s.fail(i)
	}
	switch c := s.data[i]; c {
	case '"':
		return s.str(i)
	case '{':
		return s.object(i, depth)
	case '[':
		return s.array(i, depth)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		return s.number(i)
	}
}

func (s *scanner) array(start, depth int) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(start)
	}
	i := s.space(start + 1)
	if s.is(i, ']') {
		return i + 1
	}
	for {
		if i = s.value(i, depth+1); i < 0 {
			return -1
		}
		i = s.space(i)
		switch {
		case s.is(i, ']'):
			return i + 1
		case !s.is(i, ','):
			return s.fail(i)
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) object(start, depth int) int {
	if depth > s.maxDepth {
		s.deep = true
		return s.fail(start)
	}
	i := s.space(start + 1)
	if s.is(i, '}') {
		return i + 1
	}
	inside := len(s.marks)
	placeholder, index := false, -1
	for {
		if !s.is(i, '"') {
			return s.fail(i)
		}
		keyEnd := s.str(i)
		if keyEnd < 0 {
			return -1
		}
		colon := s.space(keyEnd)
		if !s.is(colon, ':') {
			return s.fail(colon)
		}
		from := s.space(colon + 1)
		to := s.value(from, depth+1)
		if to < 0 {
			return -1
		}
		if s.members {
			// The last of several members with one name counts, as in JavaScript.
			switch key := s.data[i+1 : keyEnd-1]; {
			case isKey(key, placeholderKey):
				s.named++
				placeholder = string(s.data[from:to]) == "true"
			case isKey(key, "num"):
				index = attachmentIndex(s.data[from:to])
			}
		}
		i = s.space(to)
		if s.is(i, '}') {
			break
		}
		if !s.is(i, ',') {
			return s.fail(i)
		}
		i = s.space(i + 1)
	}
	if placeholder {
		// What a placeholder holds besides is ignored, further placeholders
		// included.
		s.marks = append(s.marks[:inside], mark{start, i + 1, index})
	}
	return i + 1
}

func (s *scanner) str(start int) int {
	for i := start + 1; ; {
		i += plainPrefix(s.data[i:])
		if i >= len(s.data) {
			return s.fail(i)
		}
		switch s.data[i] {
		case '"':
			return i + 1
		case '\\':
			n := escapeLen(s.data[i:])
			if n == 0 {
				return s.fail(i)
			}
			i += n
		default:
			return s.fail(i) // a control character
		}
	}
}

// escapeLen is the length of the escape sequence that b starts with, or 0.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (s *scanner) number(i int) int {
	if s.is(i, '-') {
		i++
	}
	switch {
	case s.is(i, '0'):
		i++
	default:
		if i = s.digits(i); i < 0 {
			return -1
		}
	}
	if s.is(i, '.') {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if s.is(i, 'e') || s.is(i, 'E') {
		i++
		if s.is(i, '+') || s.is(i, '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits reads at least one digit.
func (s *scanner) digits(start int) int {
	i := start
	for i < len(s.data) && isDigit(s.data[i]) {
		i++
	}
	if i == start {
		return s.fail(i)
	}
	return i
}

func (s *scanner) literal(i int, word string) int {
	if end := i + len(word); end <= len(s.data) && string(s.data[i:end]) == word {
		return end
	}
	return s.fail(i)
}

// space skips white space.
func (s *scanner) space(i int) int {
	for i < len(s.data) {
		switch s.data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// rest reports whether nothing but white space follows.
func (s *scanner) rest(i int) bool {
	s.at = s.space(i)
	return s.at == len(s.data)
}

// err is what to tell who made the text.
func (s *scanner) err() error {
	if s.deep {
		return ErrTooDeep
	}
	return fmt.Errorf("%w: no JSON at byte %d", ErrInvalidPayload, s.at)
}

func (s *scanner) is(i int, c byte) bool { return i < len(s.data) && s.data[i] == c }

func (s *scanner) fail(i int) int {
	s.at = i
	return -1
}

// plainPrefix is how many bytes of b can stand in a JSON string as they are,
// before the first quote, backslash or control character. Most of a payload is
// text, so it looks at eight bytes at a time, and at longer runs by what the
// processor has for searching.
func plainPrefix(b []byte) int {
	const short, window = 64, 4 << 10 // a run is not searched to its end over and over
	n := plainWords(b[:min(short, len(b))])
	if n < short {
		return n
	}
	for n < len(b) {
		run := b[n:min(n+window, len(b))]
		end := len(run)
		if i := bytes.IndexByte(run, '"'); i >= 0 {
			run = run[:i]
		}
		if i := bytes.IndexByte(run, '\\'); i >= 0 {
			run = run[:i]
		}
		visible := visiblePrefix(run)
		n += visible
		if visible < end {
			break
		}
	}
	return n
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainWords is plainPrefix for what is short.
func plainWords(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// A byte below n sets the high bit of (w - n) &^ w in its place; a
		// byte that is equal is one that is below 1 after the xor.
		special := (w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash
		if special&highs != 0 {
			break
		}
	}
	for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// visiblePrefix is how many bytes of b come before the first control character.
func visiblePrefix(b []byte) int {
	i := 0
	for ; len(b)-i >= 32; i += 32 {
		run := b[i : i+32 : i+32]
		w, x := binary.LittleEndian.Uint64(run), binary.LittleEndian.Uint64(run[8:])
		y, z := binary.LittleEndian.Uint64(run[16:]), binary.LittleEndian.Uint64(run[24:])
		control := (w-ones*0x20)&^w | (x-ones*0x20)&^x | (y-ones*0x20)&^y | (z-ones*0x20)&^z
		if control&highs != 0 {
			break
		}
	}
	for i < len(b) && b[i] >= 0x20 {
		i++
	}
	return i
}

// isKey reports whether the name of a member, as it stands between its quotes,
// is want. A peer can write it with escapes.
func isKey(raw []byte, want string) bool {
	const longestEscape = len(`\u0000`)
	if len(raw) == len(want) {
		return string(raw) == want
	}
	if len(raw) < len(want) || len(raw) > longestEscape*len(want) || bytes.IndexByte(raw, '\\') < 0 {
		return false
	}
	return unquote(raw) == want
}

// unquote decodes what stands between the quotes of a valid JSON string.
func unquote(raw []byte) string {
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var s string
	_ = json.Unmarshal(quoted, &s) // a string that has been scanned always decodes
	return s
}

// attachmentIndex reads the num of a placeholder: a number that is an integer
// and not negative. Otherwise it returns -1.
func attachmentIndex(raw []byte) int {
	const limit = 1 << 31
	if len(raw) == 1 && isDigit(raw[0]) {
		return int(raw[0] - '0')
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f >= limit || f != float64(int(f)) {
		return -1
	}
	return int(f)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
