package codec

import (
	"bytes"
	"math"
	"strconv"
)

// A jsonDecoder reads the grammar
//
//	packet = type [count "-"] [namespace ","] [id] [json]
//
// of Socket.IO protocol revision 5. Strings that repeat from packet to packet
// are kept, so that the same event costs them once.
type jsonDecoder struct {
	limits    *JSONOptions
	event     string
	namespace string
	pending   *pendingPacket // nil unless attachments are due
}

var _ Decoder = (*jsonDecoder)(nil)

// A pendingPacket waits for its attachments.
type pendingPacket struct {
	packet Received
	values *jsonBinary // what the packet's arguments decode with
	due    int
	bytes  int64
}

// The wire types that stand for Event and Ack with attachments.
const (
	binaryEvent = '5'
	binaryAck   = '6'
)

func (d *jsonDecoder) Reset() { d.pending = nil }

func (d *jsonDecoder) Decode(f Frame) (r Received, ok bool, err error) {
	if f.Binary {
		ok, err = d.attachment(f.Data, &r)
	} else {
		ok, err = d.text(f.Data, &r)
	}
	if err != nil {
		d.Reset()
		r = Received{}
	}
	return r, ok, err
}

// attachment takes a binary message.
func (d *jsonDecoder) attachment(data []byte, r *Received) (ok bool, err error) {
	p := d.pending
	if p == nil {
		err := NewDecodeError(ErrUnexpectedBinary, 0)
		err.Hint = "the client may use another codec"
		return false, err
	}
	p.bytes += int64(len(data))
	if p.bytes > d.limits.MaxPendingBytes {
		return false, NewDecodeError(ErrPendingTooLarge, 0)
	}
	p.values.attachments = append(p.values.attachments, append([]byte{}, data...))
	if len(p.values.attachments) < p.due {
		return false, nil
	}
	d.pending = nil
	*r = p.packet
	return true, nil
}

// text takes a text message.
func (d *jsonDecoder) text(data []byte, r *Received) (ok bool, err error) {
	if d.pending != nil {
		return false, NewDecodeError(ErrUnexpectedText, 0)
	}
	if int64(len(data)) > math.MaxUint32 {
		return false, NewDecodeError(ErrInvalidPayload, 0)
	}
	wire, err := wireType(data)
	if err != nil {
		return false, err
	}
	at, due := 1, 0
	switch wire {
	case binaryEvent, binaryAck:
		r.Type = Event + Type(wire-binaryEvent)
		if due, at, err = d.count(data); err != nil {
			return false, err
		}
	default:
		r.Type = Type(wire - '0')
	}
	r.Namespace, at = d.readNamespace(data, at)
	if r.ID, r.HasID, at, err = readID(data, at); err != nil {
		return false, err
	}
	switch r.Type {
	case Event, Ack:
		return d.message(r, data, at, due)
	case Connect, Disconnect, ConnectError:
	}
	r.ID, r.HasID = 0, false // written by nobody, ignored by the reference
	return true, d.data(r, data, at)
}

// wireType reads the type of a packet.
func wireType(data []byte) (byte, error) {
	if len(data) > 0 && data[0] >= '0' && data[0] <= binaryAck {
		return data[0], nil
	}
	is := "NaN" // what JavaScript makes of a character that is no digit
	if len(data) > 0 && isDigit(data[0]) {
		is = string(data[:1])
	}
	return 0, &DecodeError{Reason: ErrUnknownType.Error() + " " + is, Err: ErrUnknownType}
}

// count reads how many attachments follow. A JavaScript encoder can leave the
// number out or make it 0 when it finds none after all.
func (d *jsonDecoder) count(data []byte) (due, at int, err error) {
	end := bytes.IndexByte(data, '-')
	if end < 0 {
		return 0, 0, NewDecodeError(ErrAttachmentCount, len(data))
	}
	for i, c := range data[1:end] {
		if !isDigit(c) {
			return 0, 0, NewDecodeError(ErrAttachmentCount, 1+i)
		}
		// Beyond the limit the value does not matter, only that it is digits.
		due = min(due*10+int(c-'0'), d.limits.MaxAttachments+1)
	}
	if due > d.limits.MaxAttachments {
		return 0, 0, NewDecodeError(ErrTooManyAttachments, 1)
	}
	return due, end + 1, nil
}

// readNamespace reads the namespace, which ends with a comma or with the text.
func (d *jsonDecoder) readNamespace(data []byte, at int) (string, int) {
	if at >= len(data) || data[at] != '/' {
		return "/", at
	}
	end := bytes.IndexByte(data[at:], ',')
	if end < 0 {
		return repeated(&d.namespace, data[at:]), len(data)
	}
	return repeated(&d.namespace, data[at:at+end]), at + end + 1
}

// readID reads the digits of an ack id.
func readID(data []byte, at int) (id uint64, ok bool, end int, err error) {
	end = at
	for ; end < len(data) && isDigit(data[end]); end++ {
		if id = id*10 + uint64(data[end]-'0'); id > MaxID {
			return 0, false, at, NewDecodeError(ErrInvalidID, at)
		}
	}
	return id, end > at, end, nil
}

// repeated returns b as a string, which is last if they are equal.
func repeated(last *string, b []byte) string {
	const keep = 64 // an idle connection is not to hold much
	if string(b) == *last {
		return *last
	}
	s := string(b)
	if len(s) <= keep {
		*last = s
	}
	return s
}

// data reads the payload of a CONNECT, DISCONNECT or CONNECT_ERROR.
func (d *jsonDecoder) data(r *Received, data []byte, at int) error {
	payload := data[at:]
	if len(payload) == 0 && r.Type != ConnectError {
		return nil
	}
	object := len(payload) > 0 && payload[0] == '{'
	text := len(payload) > 0 && payload[0] == '"'
	if r.Type == Disconnect || !object && (!text || r.Type == Connect) {
		return NewDecodeError(ErrInvalidPayload, at)
	}
	s := scanner{data: payload, maxDepth: d.limits.MaxDepth}
	if !s.only() {
		return NewDecodeError(ErrInvalidPayload, at+s.at)
	}
	r.Data = NewRaw(jsonText{alone: true}, payload)
	return nil
}

// message reads the payload of an event or ack that has due attachments.
func (d *jsonDecoder) message(r *Received, data []byte, at, due int) (ok bool, err error) {
	// Without attachments, what looks like a placeholder is ordinary data.
	s := scanner{data: data[at:], maxDepth: d.limits.MaxDepth, members: due > 0}
	var (
		name span
		head *span
	)
	if r.Type == Event {
		head = &name
	}
	from, to, ok := s.elements(head, &r.Args.spans)
	if !ok {
		return false, NewDecodeError(ErrInvalidPayload, at+s.at)
	}
	if r.Type == Event {
		if r.Event, ok = d.eventName(s.data[name.start:name.end]); !ok {
			return false, NewDecodeError(ErrInvalidPayload, at)
		}
	}
	if due > 0 {
		return false, d.await(r, &s, data, s.data[from:to], due)
	}
	r.Args.own(jsonText{alone: r.Args.spans.n == 1}, s.data[from:to])
	return true, nil
}

// await keeps a packet until its attachments are there. A packet that cannot be
// completed is refused before anything is kept.
func (d *jsonDecoder) await(r *Received, s *scanner, text, args []byte, due int) error {
	for _, m := range s.marks {
		if m.index < 0 || m.index >= due {
			return NewDecodeError(ErrAttachmentIndex, len(text)-len(s.data)+m.start)
		}
	}
	if int64(len(text)) > d.limits.MaxPendingBytes {
		return NewDecodeError(ErrPendingTooLarge, 0)
	}
	values := &jsonBinary{}
	r.Args.own(values, args)
	d.pending = &pendingPacket{packet: *r, values: values, due: due, bytes: int64(len(text))}
	return nil
}

// eventName reads the name of an event, the first element of its payload. It
// is empty if there is none.
func (d *jsonDecoder) eventName(raw []byte) (name string, ok bool) {
	switch {
	case len(raw) == 0:
		return "", false
	case raw[0] == '"':
		raw = raw[1 : len(raw)-1]
		if bytes.IndexByte(raw, '\\') < 0 {
			name = repeated(&d.event, raw)
		} else {
			name = unquote(raw)
		}
	case raw[0] == '-' || isDigit(raw[0]):
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return "", false
		}
		name, _ = NumericEvent(f)
	default:
		return "", false
	}
	return name, CheckEvent(name) == nil
}
