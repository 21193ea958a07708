package codec

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"strconv"
)

// The name of the member that makes an object a reference to an attachment.
const placeholderKey = "_placeholder"

// appendPlaceholder appends the reference to attachment index.
func appendPlaceholder(dst []byte, index int) []byte {
	dst = append(dst, `{"`+placeholderKey+`":true,"num":`...)
	return append(strconv.AppendInt(dst, int64(index), 10), '}')
}

// tokens stand in for binary values while JSON passes through encoding/json,
// which knows a byte slice only as base64 text. Token i is a byte slice of
// some secret random bytes and i; what encoding/json makes of it in either
// direction is found again by them. Nobody else can write a token, because
// nobody knows the secret: a peer cannot pass off a string as a reference to
// an attachment.
type tokens struct {
	secret []byte // secretBytes, so that base64 has no remainder
	prefix string // the secret in base64
}

const (
	secretBytes = 18
	indexBytes  = 3
	tokenBytes  = secretBytes + indexBytes
	tokenText   = tokenBytes / 3 * 4 // in base64
	maxTokens   = 1 << (8 * indexBytes)
)

// Sending and receiving have secrets of their own. A handler can come to see a
// token of the receiving side, in a type that unmarshals itself.
var (
	sendTokens    = newTokens()
	receiveTokens = newTokens()
)

func newTokens() *tokens {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // it never fails
	return &tokens{secret: secret, prefix: base64.StdEncoding.EncodeToString(secret)}
}

// bytes returns token i.
func (t *tokens) bytes(i int) []byte {
	b := make([]byte, 0, tokenBytes)
	return appendIndex(append(b, t.secret...), i)
}

// appendJSON appends token i as a JSON string.
func (t *tokens) appendJSON(dst []byte, i int) []byte {
	dst = append(append(dst, '"'), t.prefix...)
	dst = base64.StdEncoding.AppendEncode(dst, appendIndex(make([]byte, 0, indexBytes), i))
	return append(dst, '"')
}

// appendIndex appends the bytes of i, which is below maxTokens.
func appendIndex(dst []byte, i int) []byte {
	return append(dst, byte(i>>16), byte(i>>8), byte(i)) //nolint:gosec // cut into bytes
}

// index returns which token b is.
func (t *tokens) index(b []byte) (i int, ok bool) {
	if len(b) != tokenBytes || !bytes.HasPrefix(b, t.secret) {
		return 0, false
	}
	b = b[secretBytes:]
	return int(b[0])<<16 | int(b[1])<<8 | int(b[2]), true
}

// textIndex returns which token text is the base64 of.
func (t *tokens) textIndex(text string) (i int, ok bool) {
	if len(text) != tokenText || text[:len(t.prefix)] != t.prefix {
		return 0, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, false
	}
	return t.index(b)
}

// replace appends text to dst with what write appends in place of each token.
func (t *tokens) replace(dst, text []byte, write func(dst []byte, i int) ([]byte, error)) ([]byte, error) {
	for {
		at := bytes.Index(text, []byte(t.prefix))
		if at < 1 || at+tokenText >= len(text) {
			return append(dst, text...), nil
		}
		end := at + tokenText
		i, ok := t.textIndex(string(text[at:end]))
		if !ok || text[at-1] != '"' || text[end] != '"' {
			dst, text = append(dst, text[:end]...), text[end:]
			continue
		}
		var err error
		if dst, err = write(append(dst, text[:at-1]...), i); err != nil {
			return dst, err
		}
		text = text[end+1:]
	}
}

// replaceMarks appends text to dst with what write appends in place of each
// placeholder.
func replaceMarks(dst, text []byte, marks []mark, write func(dst []byte, i int) ([]byte, error)) ([]byte, error) {
	at := 0
	for _, m := range marks {
		var err error
		if dst, err = write(append(dst, text[at:m.start]...), m.index); err != nil {
			return dst, err
		}
		at = m.end
	}
	return append(dst, text[at:]...), nil
}

// findMarks returns the placeholders in JSON text that is known to be valid.
func findMarks(text []byte) []mark {
	s := scanner{data: text, maxDepth: maxDepth, members: true}
	s.only()
	return s.marks
}
