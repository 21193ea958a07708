package polling

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// separator stands between the packets of a payload (engine.io-protocol v4,
// "HTTP long-polling").
const separator = 0x1e

// AppendPayload appends a batch of packets to dst in the form of a request or
// response body: text packets with their type digit, binary ones as "b" and
// base64, the record separator U+001E between them. Text that contains a
// separator itself arrives as several packets; it has to be sent as binary.
func AppendPayload(dst []byte, batch []transports.Packet) []byte {
	size := 0
	for i := range batch {
		size += 2 + len(batch[i].Data)
		if batch[i].Binary {
			size += len(batch[i].Data)/3 + 4
		}
	}
	dst = slices.Grow(dst, size)
	for i := range batch {
		if i > 0 {
			dst = append(dst, separator)
		}
		if p := &batch[i]; p.Binary {
			dst = base64.StdEncoding.AppendEncode(append(dst, 'b'), p.Data)
		} else {
			dst = p.AppendText(dst)
		}
	}
	return dst
}

// Split yields the packets of a body, in order. At the first that is
// malformed, which an empty body is too, it yields a *transports.CloseError
// with reason ParseError, and ends. Data is valid until the next packet is
// asked for: that of text packets aliases the body, that of binary ones a
// buffer of its own. The body is not changed.
func Split(body []byte) iter.Seq2[transports.Packet, error] {
	return func(yield func(transports.Packet, error) bool) {
		var decoded []byte
		for start := 0; ; {
			record := body[start:]
			end := bytes.IndexByte(record, separator)
			if end >= 0 {
				record = record[:end]
			}
			var p transports.Packet
			var err error
			if len(record) > 0 && record[0] == 'b' {
				decoded, err = appendDecoded(decoded[:0], record[1:])
				p = transports.Packet{Type: transports.Message, Binary: true, Data: decoded}
			} else {
				p, err = transports.ParseText(record)
			}
			if err != nil {
				yield(transports.Packet{}, &transports.CloseError{
					Reason: transports.ParseError,
					Err:    fmt.Errorf("packet at byte %d of the payload: %w", start, behind(err)),
				})
				return
			}
			if !yield(p, nil) || end < 0 {
				return
			}
			start += end + 1
		}
	}
}

// behind returns what is behind a close.
func behind(err error) error { return transports.AsCloseError(err).Err }

// digits is the value of each base64 digit, of both alphabets, which clients
// do use. Other bytes have noDigit.
var digits = func() (values [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range values {
		values[i] = noDigit
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['+'], values['/'] = 62, 63
	values['-'], values['_'] = 62, 63
	return values
}()

const noDigit = 0xff

// appendDecoded decodes base64 with or without padding. The decoders of the
// standard library take one alphabet each, and pass over line ends, which have
// no place here.
func appendDecoded(dst, text []byte) ([]byte, error) {
	if len(text)%4 == 0 {
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte{'='}), []byte{'='})
	}
	dst = slices.Grow(dst, len(text)*3/4)
	whole := len(text) / 4 * 4
	for i := 0; i < whole; i += 4 {
		a, b, c, d := digits[text[i]], digits[text[i+1]], digits[text[i+2]], digits[text[i+3]]
		if a|b|c|d == noDigit {
			return dst, errBase64
		}
		dst = append(dst, a<<2|b>>4, b<<4|c>>2, c<<6|d)
	}
	var last [3]byte // digits of a last group that is not whole
	for i, c := range text[whole:] {
		last[i] = digits[c]
	}
	if last[0]|last[1]|last[2] == noDigit {
		return dst, errBase64
	}
	switch len(text) - whole {
	case 1:
		return dst, errBase64
	case 2:
		dst = append(dst, last[0]<<2|last[1]>>4)
	case 3:
		dst = append(dst, last[0]<<2|last[1]>>4, last[1]<<4|last[2]>>2)
	}
	return dst, nil
}

var errBase64 = fmt.Errorf("%w: invalid base64", transports.ErrMalformed)
