package ws

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"github.com/upshift-go/upshift/transports"
)

// The first bytes of the frames that are built here: the FIN bit and the
// opcode (RFC 6455 section 5.2). gws starts its close frames with the same.
const (
	textFrame   byte = 0x81
	binaryFrame byte = 0x82
	closeFrame  byte = 0x88
	pongFrame   byte = 0x8a
)

// A client masks its frames (RFC 6455 section 5.3): a bit of the header says
// so, and the key of the mask follows it.
const (
	maskBit = 0x80
	maxMask = 4
)

const maxHeader = 10

// appendHeader appends the header of an unmasked frame with n bytes of
// payload.
func appendHeader(dst []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, first, byte(n)) //nolint:gosec // it is below 126
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
}

// appendControl appends a control frame.
func appendControl(dst []byte, first byte, payload []byte, masked bool) []byte {
	start := len(dst)
	dst = appendHeader(dst, first, len(payload))
	if !masked {
		return append(dst, payload...)
	}
	dst, key := appendMask(dst, start)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key)
	return dst
}

// appendClose appends a close frame; code 0 stands for one without a code.
func appendClose(dst []byte, code uint16, masked bool) []byte {
	var payload []byte
	if code != 0 {
		payload = binary.BigEndian.AppendUint16(nil, code)
	}
	return appendControl(dst, closeFrame, payload, masked)
}

// closeCodeOf reads the code of a whole close frame, 0 if there is none.
func closeCodeOf(frame []byte, masked bool) uint16 {
	payload := frame[2:]
	if masked && len(payload) >= maxMask {
		key := binary.LittleEndian.Uint32(payload)
		payload = bytes.Clone(payload[maxMask:])
		mask(payload, key)
	}
	if len(payload) < 2 {
		return codeNone
	}
	return binary.BigEndian.Uint16(payload)
}

// appendMask adds a key to the header that begins at start and ends dst.
func appendMask(dst []byte, start int) (masked []byte, key uint32) {
	dst[start+1] |= maskBit
	key = rand.Uint32() //nolint:gosec // the generator of math/rand/v2 is ChaCha8, which cannot be guessed
	return binary.LittleEndian.AppendUint32(dst, key), key
}

// mask masks data, or unmasks it.
func mask(data []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(data) >= 8 {
		binary.LittleEndian.PutUint64(data, binary.LittleEndian.Uint64(data)^wide)
		data = data[8:]
	}
	for i := range data {
		data[i] ^= byte(key >> (8 * (i % maxMask))) //nolint:gosec // each byte of it in turn
	}
}

// A dialect is how a client wants packets to be written: what revision of the
// protocol it speaks, and whether it can take binary messages.
type dialect uint8

const (
	revision4       dialect = iota
	revision4Base64         // the client has asked for base64
	revision3
	revision3Base64
	dialects
)

func dialectOf(revision int, base64 bool) dialect {
	d := revision4
	if revision == transports.Revision3 {
		d = revision3
	}
	if base64 {
		d++
	}
	return d
}

// asText reports whether a packet travels in a text message.
func asText(p *transports.Packet, d dialect) bool {
	return !p.Binary || d == revision4Base64 || d == revision3Base64
}

// payloadLen is the length of what appendPayload appends.
func payloadLen(p *transports.Packet, d dialect) int {
	switch {
	case !p.Binary, d == revision3:
		return 1 + len(p.Data)
	case d == revision4Base64:
		return 1 + base64.StdEncoding.EncodedLen(len(p.Data))
	case d == revision3Base64:
		return 2 + base64.StdEncoding.EncodedLen(len(p.Data))
	default:
		return len(p.Data)
	}
}

// appendPayload appends the content of the message that carries a packet: the
// type digit and the data; bytes as they are, in revision 3 behind the type as
// a number, or, for a client that cannot take them, 'b', in revision 3 the type
// digit, and base64.
func appendPayload(dst []byte, p *transports.Packet, d dialect) []byte {
	switch {
	case !p.Binary:
		return p.AppendText(dst)
	case d == revision4Base64:
		return base64.StdEncoding.AppendEncode(append(dst, 'b'), p.Data)
	case d == revision3:
		return append(append(dst, byte(p.Type)), p.Data...)
	case d == revision3Base64:
		return base64.StdEncoding.AppendEncode(append(dst, 'b', p.Type.Digit()), p.Data)
	default:
		return append(dst, p.Data...)
	}
}

// appendMasked appends the frame of a packet that a client sends.
func appendMasked(dst []byte, p *transports.Packet) []byte {
	first := binaryFrame
	if !p.Binary {
		first = textFrame
	}
	start := len(dst)
	dst = appendHeader(dst, first, payloadLen(p, revision4))
	dst, key := appendMask(dst, start)
	at := len(dst)
	dst = appendPayload(dst, p, revision4)
	mask(dst[at:], key)
	return dst
}

// appendFrame appends the frame of a packet.
func appendFrame(dst []byte, p *transports.Packet, d dialect) []byte {
	first := binaryFrame
	if asText(p, d) {
		first = textFrame
	}
	return appendPayload(appendHeader(dst, first, payloadLen(p, d)), p, d)
}

type (
	// plainForm is the key of a shared packet's frame.
	plainForm dialect

	// deflatedForm is the key of a shared packet's compressed frame.
	deflatedForm struct {
		transport *transport
		dialect   dialect
	}
)

// plainForms are made once, since each use of another value as a key would
// allocate.
var plainForms = func() (forms [dialects]any) {
	for d := range forms {
		forms[d] = plainForm(d)
	}
	return forms
}()

// sharedFrame returns the frame of a packet that has p.Shared, which is built
// once.
func sharedFrame(p *transports.Packet, d dialect) []byte {
	frame := p.Shared.Form(plainForms[d], func() any {
		return appendFrame(make([]byte, 0, maxHeader+payloadLen(p, d)), p, d)
	})
	return frame.([]byte) //nolint:forcetypeassert // nothing else is kept under our key
}

// decodeRevision3 reads a binary message, or what follows the 'b' of a text
// message, of revision 3. ok is false for what the reference ignores: a type
// that is none.
func decodeRevision3(data []byte, text bool) (p transports.Packet, ok bool, err error) {
	if len(data) == 0 {
		return p, false, transports.Malformed("empty packet", 0)
	}
	p = transports.Packet{Type: transports.Type(data[0]), Data: data[1:]}
	if text {
		p.Type = transports.Type(data[0] - '0')
		p.Data, err = decodeBase64(data[1:])
	}
	p.Binary = p.Type == transports.Message
	return p, p.Type <= transports.Noop, err
}

// decodeBase64 reads the base64 that follows the 'b' of a text message. Both
// alphabets are taken, with or without padding (spec 7.2 of the protocol's
// reference servers); all else is malformed. It decodes in place.
func decodeBase64(text []byte) ([]byte, error) {
	end := len(text)
	for end > 0 && len(text)-end < 2 && text[end-1] == '=' {
		end--
	}
	digits := text[:end]
	for i, c := range digits {
		switch c {
		case '-':
			digits[i] = '+'
		case '_':
			digits[i] = '/'
		case '\r', '\n': // the decoder would skip them
			return nil, transports.Malformed("invalid base64", i+1)
		}
	}
	n, err := base64.RawStdEncoding.Decode(digits, digits)
	if err != nil {
		return nil, transports.Malformed("invalid base64", n+1)
	}
	return digits[:n], nil
}
