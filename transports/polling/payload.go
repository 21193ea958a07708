package polling

import (
	"bytes"
	"encoding/base64"
	"iter"

	"github.com/upshift-go/upshift/transports"
)

// separator stands between the packets of a payload (engine.io-protocol v4,
// "HTTP long-polling").
const separator = 0x1e

// AppendPayload appends a batch of packets in the form of a request or
// response body: text packets with their type digit, binary ones as "b" and
// base64, the record separator U+001E between them.
func AppendPayload(dst []byte, batch []transports.Packet) []byte {
	size := 0
	for i := range batch {
		size += 2 + len(batch[i].Data)
		if batch[i].Binary {
			size += len(batch[i].Data)/3 + 4
		}
	}
	if dst == nil {
		dst = make([]byte, 0, size)
	}
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

// Split yields the packets of a body, in order. At the first that is malformed
// it yields a *transports.CloseError with reason ParseError, and ends. Data
// aliases the body, which is modified where base64 is decoded in place.
func Split(body []byte) iter.Seq2[transports.Packet, error] {
	return func(yield func(transports.Packet, error) bool) {
		for more := true; more; {
			var record []byte
			record, body, more = bytes.Cut(body, []byte{separator})
			p, err := parse(record)
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

func parse(record []byte) (transports.Packet, error) {
	if len(record) == 0 || record[0] != 'b' {
		return transports.ParseText(record)
	}
	data, ok := decodeBase64(record[1:])
	if !ok {
		return transports.Packet{}, transports.Malformed("invalid base64", 1)
	}
	return transports.Packet{Type: transports.Message, Binary: true, Data: data}, nil
}

// decodeBase64 decodes in place. It takes both alphabets, with or without
// padding, as clients send all of them.
func decodeBase64(text []byte) ([]byte, bool) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte{'='}), []byte{'='})
	for i, c := range text {
		switch c {
		case '-':
			text[i] = '+'
		case '_':
			text[i] = '/'
		case '\r', '\n':
			return nil, false // the decoder would pass over them
		}
	}
	n, err := base64.RawStdEncoding.Decode(text, text)
	return text[:n], err == nil
}
