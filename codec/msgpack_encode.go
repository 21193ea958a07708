package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// A msgpackEncoder writes one packet at a time. What programs send most is
// written by the type switch of value, the rest by reflection in the way of
// encoding/json. The reflection of package msgpack is not for us: it has no
// bound on recursion, knows times as another extension than JavaScript does,
// sends text as binary, and cannot be told about Raws.
type msgpackEncoder struct {
	maxDepth int
	buf      bytes.Buffer
	out      *msgpack.Encoder // writes to buf
}

var errTooLong = errors.New("value longer than MessagePack allows")

// packet writes p, with the members in the order in which the reference
// implementation has them. Writing the payload shows whether there is one, so
// it comes first. The result is the data of the next frame of dst.
func (e *msgpackEncoder) packet(dst []Frame, p *Packet) ([]byte, error) {
	var err error
	switch p.Type {
	case Event, Ack:
		err = e.message(p)
	case Connect, Disconnect, ConnectError:
		err = e.data(p)
	}
	payload := e.buf.Len()
	if err == nil {
		err = e.front(p, payload > 0)
	}
	front := e.buf.Len()
	if err == nil {
		err = e.back(p)
	}
	if err != nil {
		return nil, err
	}
	all := e.buf.Bytes()
	out := spareData(dst, len(all))
	out = append(out, all[payload:front]...)
	out = append(out, all[:payload]...)
	return append(out, all[front:]...), nil
}

// front writes what stands before the payload.
func (e *msgpackEncoder) front(p *Packet, payload bool) error {
	members := 2
	if payload {
		members++
	}
	id := p.HasID && (p.Type == Event || p.Type == Ack)
	if id {
		members++
	}
	if err := e.out.EncodeMapLen(members); err != nil {
		return err
	}
	if id && p.Type == Ack {
		if err := e.id(p.ID); err != nil {
			return err
		}
	}
	if err := e.pair("type", uint64(p.Type)); err != nil || !payload {
		return err
	}
	return e.out.EncodeString("data")
}

// back writes what stands behind the payload.
func (e *msgpackEncoder) back(p *Packet) error {
	if p.HasID && p.Type == Event {
		if err := e.id(p.ID); err != nil {
			return err
		}
	}
	if err := e.out.EncodeString("nsp"); err != nil {
		return err
	}
	if p.Namespace == "" {
		return e.out.EncodeString("/")
	}
	return e.text(p.Namespace)
}

func (e *msgpackEncoder) id(id uint64) error { return e.pair("id", id) }

func (e *msgpackEncoder) pair(name string, n uint64) error {
	if err := e.out.EncodeString(name); err != nil {
		return err
	}
	return e.out.EncodeUint(n)
}

// message writes the payload of an event or ack.
func (e *msgpackEncoder) message(p *Packet) error {
	n := 0
	if p.Type == Event {
		n++
	}
	for _, arg := range p.Args {
		if args, ok := arg.(Args); ok {
			n += args.Len()
		} else {
			n++
		}
	}
	if err := e.out.EncodeArrayLen(n); err != nil {
		return err
	}
	if p.Type == Event {
		if err := e.text(p.Event); err != nil {
			return fmt.Errorf("codec: event name: %w", err)
		}
	}
	for i, arg := range p.Args {
		if err := e.argument(arg); err != nil {
			return fmt.Errorf("codec: argument %d: %w", i, err)
		}
	}
	return nil
}

func (e *msgpackEncoder) argument(arg any) error {
	const depth = 2 // the array of the arguments is the first level
	args, ok := arg.(Args)
	if !ok {
		return e.value(arg, depth)
	}
	for i := range args.Len() {
		if err := e.raw(args.Raw(i), depth); err != nil {
			return err
		}
	}
	return nil
}

// data writes the payload of the other types, if there is one.
func (e *msgpackEncoder) data(p *Packet) error {
	if p.Data == nil {
		return nil
	}
	if err := e.value(p.Data, 1); err != nil {
		return fmt.Errorf("codec: %s data: %w", p.Type, err)
	}
	h, _ := readHead(e.buf.Bytes(), 0)
	switch {
	case h.kind == packMap, h.kind == packStr && p.Type == ConnectError:
	case h.kind.none() && p.Type == Connect:
		e.buf.Reset() // a nil pointer or map is no payload
	default:
		return fmt.Errorf("codec: %w: %s with data of type %T", ErrInvalidPayload, p.Type, p.Data)
	}
	return nil
}

// value writes a value. depth is the nesting that it has if it is an array or an
// object.
func (e *msgpackEncoder) value(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		return e.out.EncodeNil()
	case string:
		return e.text(v)
	case bool:
		return e.out.EncodeBool(v)
	case int:
		return e.out.EncodeInt(int64(v))
	case int32:
		return e.out.EncodeInt(int64(v))
	case int64:
		return e.out.EncodeInt(v)
	case uint:
		return e.out.EncodeUint(uint64(v))
	case uint32:
		return e.out.EncodeUint(uint64(v))
	case uint64:
		return e.out.EncodeUint(v)
	case float64:
		return e.number(v)
	case []byte:
		return e.bytes(v)
	case time.Time:
		return e.time(v)
	case json.Number:
		return e.literal(v)
	case Raw:
		return e.raw(v, depth)
	case MsgPackExt:
		return e.ext(v)
	case []any:
		return e.list(v, depth)
	case map[string]any:
		return e.object(v, depth)
	default:
		return e.other(v, depth)
	}
}

func (e *msgpackEncoder) list(list []any, depth int) error {
	if list == nil {
		return e.out.EncodeNil()
	}
	if err := e.array(len(list), depth); err != nil {
		return err
	}
	for _, v := range list {
		if err := e.value(v, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *msgpackEncoder) object(object map[string]any, depth int) error {
	if object == nil {
		return e.out.EncodeNil()
	}
	if err := e.pairs(len(object), depth); err != nil {
		return err
	}
	for name, v := range object {
		if err := e.text(name); err != nil {
			return err
		}
		if err := e.value(v, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// array writes the head of an array.
func (e *msgpackEncoder) array(n, depth int) error {
	if depth > e.maxDepth {
		return ErrTooDeep
	}
	if int64(n) > math.MaxUint32 {
		return errTooLong
	}
	return e.out.EncodeArrayLen(n)
}

// pairs writes the head of a map.
func (e *msgpackEncoder) pairs(n, depth int) error {
	if depth > e.maxDepth {
		return ErrTooDeep
	}
	if int64(n) > math.MaxUint32 {
		return errTooLong
	}
	return e.out.EncodeMapLen(n)
}

// text writes a string. Peers in browsers end the connection if it is no UTF-8.
func (e *msgpackEncoder) text(s string) error {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	if int64(len(s)) > math.MaxUint32 {
		return errTooLong
	}
	return e.out.EncodeString(s)
}

// bytes writes a byte slice as bin. As an ext of type 0 slices of some lengths
// would come to be something else.
func (e *msgpackEncoder) bytes(b []byte) error {
	if int64(len(b)) > math.MaxUint32 {
		return errTooLong
	}
	return e.out.EncodeBytes(b)
}

// number writes a number as JavaScript does, which has integers for what is one.
func (e *msgpackEncoder) number(f float64) error {
	switch {
	case f != math.Trunc(f) || f >= 1<<64 || f < -1<<63:
		return e.out.EncodeFloat64(f)
	case f < 0:
		return e.out.EncodeInt(int64(f))
	default:
		return e.out.EncodeUint(uint64(f))
	}
}

// literal writes a number as JSON has it. One that no number can hold is an
// infinity to JavaScript.
func (e *msgpackEncoder) literal(n json.Number) error {
	text := n.String()
	if text == "" {
		text = "0" // as in encoding/json
	}
	if s := (scanner{data: []byte(text)}); s.number(0) != len(text) {
		return fmt.Errorf("%w: %q is no number", ErrInvalidPayload, text)
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return e.out.EncodeInt(i)
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return e.out.EncodeUint(u)
	}
	f, _ := strconv.ParseFloat(text, 64) // infinite, besides the error, if it is out of range
	return e.number(f)
}

// time writes a Date.
func (e *msgpackEncoder) time(t time.Time) error {
	const milliseconds = 8 // bytes
	if err := e.out.EncodeExtHeader(0, milliseconds); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64(e.buf.AvailableBuffer(), uint64(t.UnixMilli()))
	_, err := e.buf.Write(b)
	return err
}

func (e *msgpackEncoder) ext(x MsgPackExt) error {
	if x.Type == 0 {
		return fmt.Errorf("%w: extension type 0 belongs to Socket.IO", ErrInvalidPayload)
	}
	if int64(len(x.Data)) > math.MaxUint32 {
		return errTooLong
	}
	if err := e.out.EncodeExtHeader(x.Type, len(x.Data)); err != nil {
		return err
	}
	_, err := e.buf.Write(x.Data)
	return err
}
