package codec

import (
	"encoding/base64"
	"math"
	"strconv"
)

// any returns the next value as the type that MsgPack says.
func (b *binder) any(h packHead) any {
	b.at = h.end
	switch h.kind {
	case packBool:
		return h.bits == 1
	case packUint:
		if h.bits > math.MaxInt64 {
			return h.bits
		}
		return int64(h.bits)
	case packInt:
		return int64(h.bits) //nolint:gosec // that is how it is kept
	case packFloat:
		return h.float()
	case packStr:
		return string(b.body(h))
	case packBin:
		return append([]byte{}, b.body(h)...)
	case packTime:
		return packedTime(h)
	case packExt:
		return b.ext(h)
	case packArray:
		list := make([]any, h.n)
		for i := range list {
			list[i] = b.any(b.peek())
		}
		return list
	case packMap:
		object := make(map[string]any, h.n)
		for range h.n {
			name := string(b.name())
			object[name] = b.any(b.peek())
		}
		return object
	default:
		return nil
	}
}

// appendJSON appends the next value as JSON text, as JSON.stringify would write
// it: for logs, and for types that read themselves from JSON. Binary values are
// base64, which encoding/json takes for byte slices.
func (b *binder) appendJSON(dst []byte) []byte {
	h := b.peek()
	b.at = h.end
	switch h.kind {
	case packBool:
		return strconv.AppendBool(dst, h.bits == 1)
	case packUint, packInt, packFloat:
		return appendNumber(dst, h)
	case packStr:
		return appendString(dst, string(b.body(h)))
	case packBin:
		return appendBase64(dst, b.body(h))
	case packTime:
		return appendString(dst, isoTime(h))
	case packExt:
		dst = strconv.AppendInt(append(dst, `{"type":`...), int64(h.ext), 10)
		return append(appendBase64(append(dst, `,"data":`...), b.body(h)), '}')
	case packArray:
		dst = append(dst, '[')
		for i := range h.n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = b.appendJSON(dst)
		}
		return append(dst, ']')
	case packMap:
		dst = append(dst, '{')
		for i := range h.n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, string(b.name())), ':')
			dst = b.appendJSON(dst)
		}
		return append(dst, '}')
	default:
		return append(dst, "null"...)
	}
}

// appendNumber appends a number. JSON has none that is not finite.
func appendNumber(dst []byte, h packHead) []byte {
	switch h.kind {
	case packUint:
		return strconv.AppendUint(dst, h.bits, 10)
	case packInt:
		return strconv.AppendInt(dst, int64(h.bits), 10) //nolint:gosec // that is how it is kept
	default:
		f := h.float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(dst, "null"...)
		}
		return appendFloat(dst, f)
	}
}

func appendBase64(dst, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), data), '"')
}
