package ws

import (
	"encoding/base64"
	"encoding/binary"

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

// appendClose appends a close frame; code 0 stands for one without a code.
func appendClose(dst []byte, code uint16) []byte {
	if code == 0 {
		return appendHeader(dst, closeFrame, 0)
	}
	return binary.BigEndian.AppendUint16(appendHeader(dst, closeFrame, 2), code)
}

// asText reports whether a packet travels in a text message.
func asText(p *transports.Packet, b64 bool) bool { return !p.Binary || b64 }

// payloadLen is the length of what appendPayload appends.
func payloadLen(p *transports.Packet, b64 bool) int {
	switch {
	case !p.Binary:
		return 1 + len(p.Data)
	case b64:
		return 1 + base64.StdEncoding.EncodedLen(len(p.Data))
	default:
		return len(p.Data)
	}
}

// appendPayload appends the content of the message that carries a packet: the
// type digit and the data; bytes as they are, or, for a client that cannot
// take them, 'b' and base64.
func appendPayload(dst []byte, p *transports.Packet, b64 bool) []byte {
	switch {
	case !p.Binary:
		return p.AppendText(dst)
	case b64:
		return base64.StdEncoding.AppendEncode(append(dst, 'b'), p.Data)
	default:
		return append(dst, p.Data...)
	}
}

// appendFrame appends the frame of a packet.
func appendFrame(dst []byte, p *transports.Packet, b64 bool) []byte {
	first := binaryFrame
	if asText(p, b64) {
		first = textFrame
	}
	return appendPayload(appendHeader(dst, first, payloadLen(p, b64)), p, b64)
}

type (
	// plainForm is the key of a shared packet's frame.
	plainForm struct{ b64 bool }

	// deflatedForm is the key of a shared packet's compressed frame.
	deflatedForm struct {
		transport *transport
		b64       bool
	}
)

var plainForms = [2]any{plainForm{false}, plainForm{true}}

// sharedFrame returns the frame of a packet that has p.Shared, which is built
// once.
func sharedFrame(p *transports.Packet, b64 bool) []byte {
	frame := p.Shared.Form(plainForms[index(b64)], func() any {
		return appendFrame(make([]byte, 0, maxHeader+payloadLen(p, b64)), p, b64)
	})
	return frame.([]byte) //nolint:forcetypeassert // nothing else is kept under our key
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
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
