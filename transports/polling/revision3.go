package polling

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/upshift-go/upshift/transports"
)

// Revision 3 of the protocol counts where revision 4 separates. A text payload
// is "<length>:<packet>" again and again, the length in UTF-16 code units and a
// binary packet in base64 behind a 'b'. A binary payload, whose content type is
// octetStream, holds for each packet a byte that says whether it is text (0) or
// binary (1), the decimal digits of the length in bytes, one to a byte, the byte
// 255, and the packet, whose type is a number if it is binary.

const octetStream = "application/octet-stream"

// maxDigits is how many digits of a length are read. No payload is so long that
// it needs more.
const maxDigits = 10

// AppendPayload3 is AppendPayload for revision 3. It appends a binary payload,
// and reports so, if there is a binary packet in the batch and the client can
// take it.
func AppendPayload3(dst []byte, batch []transports.Packet, takesBinary bool) (payload []byte, isBinary bool) {
	isBinary = takesBinary && slices.ContainsFunc(batch, func(p transports.Packet) bool { return p.Binary })
	for i := range batch {
		if isBinary {
			dst = appendCounted3(dst, &batch[i])
		} else {
			dst = appendText3(dst, &batch[i])
		}
	}
	if len(batch) == 0 {
		dst = append(dst, "0:"...)
	}
	return dst, isBinary
}

func appendText3(dst []byte, p *transports.Packet) []byte {
	if p.Binary {
		dst = strconv.AppendInt(dst, int64(2+base64.StdEncoding.EncodedLen(len(p.Data))), 10)
		return base64.StdEncoding.AppendEncode(append(dst, ':', 'b', p.Type.Digit()), p.Data)
	}
	dst = strconv.AppendInt(dst, int64(1+utf16Len(p.Data)), 10)
	return p.AppendText(append(dst, ':'))
}

func appendCounted3(dst []byte, p *transports.Packet) []byte {
	const isText, isBinary, endOfLength = 0, 1, 0xff
	kind, first := byte(isText), p.Type.Digit()
	if p.Binary {
		kind, first = isBinary, byte(p.Type)
	}
	dst = append(dst, kind)
	at := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := at; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(append(dst, endOfLength, first), p.Data...)
}

// utf16Len is the length of text in UTF-16 code units.
func utf16Len(text []byte) int {
	n := 0
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n += units(r)
		text = text[size:]
	}
	return n
}

func units(r rune) int {
	const twoUnits = 0x10000
	if r >= twoUnits {
		return 2
	}
	return 1
}

// Split3 is Split for revision 3. isBinary says that the payload is a binary
// one.
func Split3(body []byte, isBinary bool) iter.Seq2[transports.Packet, error] {
	next := nextText3
	if isBinary {
		next = nextCounted3
	}
	return func(yield func(transports.Packet, error) bool) {
		for start := 0; start < len(body) || start == 0; {
			p, size, err := next(body[start:])
			if err != nil {
				yield(transports.Packet{}, &transports.CloseError{
					Reason: transports.ParseError,
					Err:    fmt.Errorf("packet at byte %d of the payload: %w", start, behind(err)),
				})
				return
			}
			if !yield(p, nil) {
				return
			}
			start += size
		}
	}
}

// nextText3 reads the first packet of a text payload and returns how long it
// is.
func nextText3(data []byte) (p transports.Packet, size int, err error) {
	colon := bytes.IndexByte(data[:min(len(data), maxDigits+1)], ':')
	if colon < 1 {
		return p, 0, transports.Malformed("no length", 0)
	}
	length := 0
	for i, c := range data[:colon] {
		if c < '0' || c > '9' {
			return p, 0, transports.Malformed("length is no number", i)
		}
		length = length*10 + int(c-'0')
	}
	at := colon + 1
	for ; length > 0 && at < len(data); length-- {
		r, n := utf8.DecodeRune(data[at:])
		length -= units(r) - 1
		at += n
	}
	if length != 0 {
		return p, 0, transports.Malformed("length does not match", colon)
	}
	text := data[colon+1 : at]
	if len(text) > 1 && text[0] == 'b' {
		p, err = parse3(text[1]-'0', nil)
		if err == nil {
			p.Data, err = appendDecoded(nil, text[2:])
			p.Binary = true
		}
		return p, at, err
	}
	p, err = transports.ParseText(text)
	return p, at, err
}

// nextCounted3 reads the first packet of a binary payload and returns how long
// it is.
func nextCounted3(data []byte) (p transports.Packet, size int, err error) {
	const isBinary, endOfLength = 1, 0xff
	if len(data) == 0 || data[0] > isBinary {
		return p, 0, transports.Malformed("neither text nor binary", 0)
	}
	end := bytes.IndexByte(data[:min(len(data), maxDigits+2)], endOfLength)
	if end < 2 {
		return p, 0, transports.Malformed("no length", 1)
	}
	length := 0
	for i, c := range data[1:end] {
		if c > 9 {
			return p, 0, transports.Malformed("length is no number", 1+i)
		}
		length = length*10 + int(c)
	}
	packet := data[end+1:]
	if length == 0 || length > len(packet) {
		return p, 0, transports.Malformed("length does not match", 1)
	}
	packet = packet[:length]
	if data[0] == isBinary {
		p, err = parse3(packet[0], packet[1:])
		p.Binary = true
	} else {
		p, err = transports.ParseText(packet)
	}
	return p, end + 1 + length, err
}

// parse3 makes the packet of a binary message.
func parse3(kind byte, data []byte) (transports.Packet, error) {
	if t := transports.Type(kind); t == transports.Message {
		return transports.Packet{Type: t, Data: data}, nil
	}
	return transports.Packet{}, transports.Malformed("unknown packet type", 0)
}
