package codec

import "fmt"

// AppendMsgPack appends v as one value of MessagePack, in the way of the codec
// that MsgPack returns, and returns the extended slice. It is for who speaks to
// other servers rather than clients. An argument of any codec that was received
// can be v or stand inside it. On error it returns dst as it was.
func AppendMsgPack(dst []byte, v any) ([]byte, error) {
	e := values.encoder()
	defer values.release(e)
	if err := e.value(v, 1); err != nil {
		return dst, fmt.Errorf("codec: %w", err)
	}
	return append(dst, e.buf.Bytes()...), nil
}

// ReadMsgPack checks that data is one value of MessagePack, with nothing after it,
// and returns it, copied. The error wraps ErrInvalidPayload.
func ReadMsgPack(data []byte) (Raw, error) {
	s := packScanner{data: data, maxDepth: defaultDepth}
	if end := s.value(0, 1); end != len(data) {
		return Raw{}, fmt.Errorf("codec: %w: no MessagePack at byte %d", ErrInvalidPayload, max(s.at, end))
	}
	return packRaw(data), nil
}

// values is the codec of values that stand alone.
var values = &msgpackCodec{maxDepth: defaultDepth}
