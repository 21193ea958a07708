package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// AppendMsgPack appends v as one value of MessagePack, in the way of the codec
// that MsgPack returns, and returns the extended slice. It is for who speaks to
// other servers rather than clients: a Date is the timestamp of the MessagePack
// standard, and not what clients of socket.io-msgpack-parser have for it. An argument of any codec that was received
// can be v or stand inside it. On error it returns dst as it was.
func AppendMsgPack(dst []byte, v any) ([]byte, error) {
	e := values.encoder()
	defer values.release(e)
	if err := e.value(v, 1); err != nil {
		return dst, fmt.Errorf("codec: %w", err)
	}
	if bytes.Contains(e.buf.Bytes(), []byte(clientTime)) {
		return retime(dst, e.buf.Bytes(), true), nil
	}
	return append(dst, e.buf.Bytes()...), nil
}

// ReadMsgPack checks that data is one value of MessagePack, with nothing after it,
// and returns it, copied. Dates may have either form. The error wraps ErrInvalidPayload.
func ReadMsgPack(data []byte) (Raw, error) {
	s := packScanner{data: data, maxDepth: defaultDepth}
	if end := s.value(0, 1); end != len(data) {
		return Raw{}, fmt.Errorf("codec: %w: no MessagePack at byte %d", ErrInvalidPayload, max(s.at, end))
	}
	if bytes.Contains(data, []byte{stampType}) {
		return Raw{data: retime(make([]byte, 0, len(data)), data, false), values: packedValues{}}, nil
	}
	return packRaw(data), nil
}

const (
	clientTime = "\xd7\x00" // how a Date begins that is meant for clients
	stampType  = 0xff       // the type of a timestamp, -1
)

// retime appends data, which is valid, to dst: with Dates as timestamps of the
// standard, or as clients have them.
func retime(dst, data []byte, stamps bool) []byte {
	for i := 0; i < len(data); {
		h, _ := readHead(data, i)
		at, ok := time.Time{}, false
		if h.kind == packExt && h.ext == -1 && !stamps {
			at, ok = readStamp(data[h.body:h.end])
		}
		switch {
		case ok:
			dst = binary.BigEndian.AppendUint64(append(dst, clientTime...), uint64(at.UnixMilli()))
		case h.kind == packTime && stamps:
			dst = appendStamp(dst, time.UnixMilli(int64(h.bits))) //nolint:gosec // the same
		default:
			dst = append(dst, data[i:h.end]...)
		}
		i = h.end
	}
	return dst
}

// appendStamp appends a timestamp in its shortest form.
func appendStamp(dst []byte, at time.Time) []byte {
	seconds, nanos := at.Unix(), uint64(at.Nanosecond()) //nolint:gosec // from 0 to 999,999,999
	switch {
	case seconds < 0 || seconds >= 1<<34:
		dst = append(dst, 0xc7, 12, stampType)
		dst = binary.BigEndian.AppendUint32(dst, uint32(nanos))    //nolint:gosec // as above
		return binary.BigEndian.AppendUint64(dst, uint64(seconds)) //nolint:gosec // the sign is wanted
	case nanos == 0 && seconds < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd6, stampType), uint32(seconds))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 0xd7, stampType), nanos<<34|uint64(seconds))
	}
}

func readStamp(b []byte) (at time.Time, ok bool) {
	switch len(b) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0), true
	case 8:
		n := binary.BigEndian.Uint64(b)
		return time.Unix(int64(n&(1<<34-1)), int64(n>>34)), true
	case 12:
		return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))), true //nolint:gosec // the sign is wanted
	default:
		return at, false
	}
}

// values is the codec of values that stand alone.
var values = &msgpackCodec{maxDepth: defaultDepth}
