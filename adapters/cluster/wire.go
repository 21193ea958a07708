package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// The envelope of the ClusterAdapter of socket.io-adapter 2.5. Engines that have
// no wire of their own use it. What is absent must be left out: JavaScript takes
// null for something that is there.
type envelope struct {
	Type      Type   `json:"type"`
	Data      any    `json:"data,omitempty"`
	Sender    string `json:"uid"`
	Namespace string `json:"nsp"`
}

type (
	broadcastData struct {
		Packet    eventPacket `json:"packet"`
		Opts      optsData    `json:"opts"`
		RequestID string      `json:"requestId,omitempty"`
	}
	eventPacket struct {
		Type int   `json:"type"` // always that of an event
		Data []any `json:"data"`
	}
	optsData struct {
		Rooms  []string       `json:"rooms"`
		Except []string       `json:"except"`
		Flags  map[string]any `json:"flags"`
	}
	roomsData struct {
		Opts  optsData `json:"opts"`
		Rooms []string `json:"rooms"`
	}
	disconnectData struct {
		Opts  optsData `json:"opts"`
		Close bool     `json:"close"`
	}
	fetchData struct {
		Opts      optsData `json:"opts"`
		RequestID string   `json:"requestId"`
	}
	socketsData struct {
		RequestID string            `json:"requestId"`
		Sockets   []core.SocketInfo `json:"sockets"`
	}
	serverEventData struct {
		RequestID string `json:"requestId,omitempty"`
		Packet    []any  `json:"packet"`
	}
	answerData struct {
		RequestID string `json:"requestId"`
		Packet    any    `json:"packet"`
	}
	countData struct {
		RequestID string `json:"requestId"`
		Count     int    `json:"clientCount"`
	}
)

const eventType = 2

// AppendMsgPack appends m as the envelope that servers with socket.io-adapter's
// ClusterAdapter exchange, in MessagePack.
func AppendMsgPack(dst []byte, m *Message) ([]byte, error) {
	return codec.AppendMsgPack(dst, envelope{Type: m.Type, Data: DataOf(m), Sender: m.Sender, Namespace: m.Namespace})
}

// DataOf returns the member data of the envelope, to be encoded by the rules of
// package codec, or nil if the type has none.
func DataOf(m *Message) any {
	switch m.Type {
	case Broadcast:
		return broadcastData{
			Packet: eventPacket{eventType, PacketOf(m)}, RequestID: m.RequestID,
			Opts: optsData{list(m.In), list(m.Except), FlagsOf(m)},
		}
	case SocketsJoin, SocketsLeave:
		return roomsData{optsOf(m), list(m.Rooms)}
	case DisconnectSockets:
		return disconnectData{optsOf(m), m.CloseSession}
	case FetchSockets:
		return fetchData{optsOf(m), m.RequestID}
	case FetchSocketsResponse:
		if m.Sockets == nil {
			return socketsData{m.RequestID, []core.SocketInfo{}}
		}
		return socketsData{m.RequestID, m.Sockets}
	case ServerSideEmit:
		return serverEventData{m.RequestID, PacketOf(m)}
	case ServerSideEmitResponse, BroadcastAck:
		return answerData{m.RequestID, m.Answer}
	case BroadcastClientCount:
		return countData{m.RequestID, m.Count}
	default:
		return nil
	}
}

func optsOf(m *Message) optsData {
	return optsData{list(m.In), list(m.Except), map[string]any{}}
}

// PacketOf is the array of the event and its arguments.
func PacketOf(m *Message) []any {
	packet := append(make([]any, 0, 1+len(m.Args)), m.Event)
	if len(m.Args) == 1 {
		if args, ok := m.Args[0].(codec.Args); ok {
			for i := range args.Len() {
				packet = append(packet, args.Raw(i))
			}
			return packet
		}
	}
	return append(packet, m.Args...)
}

// FlagsOf is the member flags of the options of a broadcast. There is nothing in
// it but what is set.
func FlagsOf(m *Message) map[string]any {
	flags := make(map[string]any)
	set := func(name string, value any, is bool) {
		if is {
			flags[name] = value
		}
	}
	f := &m.Flags
	set("volatile", true, f.Volatile)
	set("compress", false, f.NoCompress)
	set("timeout", f.Timeout.Milliseconds(), f.Timeout > 0)
	set("expectSingleResponse", true, f.Single)
	set("overflow", int(f.Overflow), f.Overflow != core.CloseSlow)
	set("latest", f.Key, f.Key != "")
	return flags
}

// list is never nil, which would be null on the wire.
func list(of []string) []string {
	if of == nil {
		return []string{}
	}
	return of
}

// received is what an envelope may hold, of any type. Other servers are no friends
// of strict types.
type received struct {
	Type      Type      `json:"type"`
	Sender    string    `json:"uid"`
	Namespace string    `json:"nsp"`
	Data      codec.Raw `json:"data"`
}

type receivedData struct {
	Packet    codec.Raw    `json:"packet"`
	Opts      ReceivedOpts `json:"opts"`
	Rooms     []codec.Raw  `json:"rooms"`
	RequestID string       `json:"requestId"`
	Close     bool         `json:"close"`
	Sockets   codec.Raw    `json:"sockets"`
	Count     int          `json:"clientCount"`
}

// ReceivedOpts are the options of a broadcast and the like as they come from a
// peer, for engines with a wire of their own.
type ReceivedOpts struct {
	Rooms  []codec.Raw `json:"rooms"`
	Except []codec.Raw `json:"except"`
	Flags  codec.Raw   `json:"flags"`
}

// ErrMalformed is behind the errors of what was received and is no message.
var ErrMalformed = errors.New("cluster: malformed message")

// ReadMessage decodes an envelope, in MessagePack or, if it begins with a brace,
// in JSON. It does not keep data. The error wraps ErrMalformed.
func ReadMessage(data []byte) (*Message, error) {
	var r received
	if err := ReadValue(data, &r); err != nil {
		return nil, err
	}
	m := &Message{Type: r.Type, Sender: r.Sender, Namespace: r.Namespace}
	return m, ReadData(m, r.Data)
}

// ReadValue decodes a value of either encoding into dst. It does not keep data. The
// error wraps ErrMalformed.
func ReadValue(data []byte, dst any) error {
	var err error
	if len(data) > 0 && data[0] == '{' {
		err = json.Unmarshal(data, dst)
	} else {
		var raw codec.Raw
		if raw, err = codec.ReadMsgPack(data); err == nil {
			err = raw.Bind(dst)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// ReadData fills in m, whose type is set, from the member data of its envelope.
// The error wraps ErrMalformed.
func ReadData(m *Message, data codec.Raw) error {
	var d receivedData
	if err := data.Bind(&d); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m.RequestID, m.CloseSession, m.Count = d.RequestID, d.Close, d.Count
	var err error
	if m.Rooms, err = Rooms(d.Rooms); err != nil {
		return err
	}
	if m.Sockets, err = Sockets(d.Sockets); err != nil {
		return err
	}
	if err := d.Opts.Fill(m); err != nil {
		return err
	}
	switch m.Type {
	case Broadcast:
		var packet struct {
			Data codec.Raw `json:"data"`
		}
		if err := d.Packet.Bind(&packet); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return ReadPacket(m, packet.Data)
	case ServerSideEmit:
		return ReadPacket(m, d.Packet)
	case ServerSideEmitResponse, BroadcastAck:
		m.Answer = d.Packet
	default:
	}
	return nil
}

// ReadPacket fills in the event and the arguments of m from their array. The error
// wraps ErrMalformed.
func ReadPacket(m *Message, packet codec.Raw) error {
	var all []codec.Raw
	if err := packet.Bind(&all); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("%w: no event", ErrMalformed)
	}
	event, err := text(all[0])
	if err != nil {
		return err
	}
	if err := codec.CheckEvent(event); err != nil && m.Type == Broadcast {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	m.Event = event
	m.Args = make([]any, len(all)-1)
	for i, arg := range all[1:] {
		m.Args[i] = arg
	}
	return nil
}

// Fill puts the options into m. The error wraps ErrMalformed.
func (o *ReceivedOpts) Fill(m *Message) error {
	var err error
	if m.In, err = Rooms(o.Rooms); err != nil {
		return err
	}
	if m.Except, err = Rooms(o.Except); err != nil {
		return err
	}
	var flags struct {
		Volatile bool    `json:"volatile"`
		Compress *bool   `json:"compress"`
		Timeout  float64 `json:"timeout"`
		Single   bool    `json:"expectSingleResponse"`
		Overflow uint8   `json:"overflow"`
		Latest   string  `json:"latest"`
	}
	if o.Flags.Bind(&flags) != nil {
		return nil // a peer's own idea of flags is not worth a message
	}
	const day = 24 * time.Hour
	m.Flags = Flags{
		Volatile: flags.Volatile, NoCompress: flags.Compress != nil && !*flags.Compress, Single: flags.Single,
		Key: flags.Latest, Overflow: core.Overflow(flags.Overflow),
	}
	if m.Flags.Overflow > core.DropOldest && m.Flags.Key == "" {
		m.Flags.Overflow = core.CloseSlow // a newer version knows others
	}
	if ms := flags.Timeout; ms > 0 {
		m.Flags.Timeout = time.Duration(min(ms, float64(day.Milliseconds()))) * time.Millisecond
	}
	return nil
}

// Rooms are names of rooms as peers have them: a number is its decimal text. The
// error wraps ErrMalformed.
func Rooms(raws []codec.Raw) ([]string, error) {
	if len(raws) == 0 {
		return nil, nil
	}
	rooms := make([]string, len(raws))
	for i, raw := range raws {
		var err error
		if rooms[i], err = text(raw); err != nil {
			return nil, err
		}
	}
	return rooms, nil
}

// Sockets are sockets as peers describe them. What a program of another language may
// have made of a handshake costs what does not fit of that, not the answer. The error
// wraps ErrMalformed.
func Sockets(raw codec.Raw) ([]core.SocketInfo, error) {
	var all []struct {
		ID        string      `json:"id"`
		Handshake codec.Raw   `json:"handshake"`
		Rooms     []codec.Raw `json:"rooms"`
		Data      codec.Raw   `json:"data"`
	}
	if err := raw.Bind(&all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	sockets := make([]core.SocketInfo, len(all))
	for i := range all {
		s := &sockets[i]
		s.ID, s.Data = all[i].ID, all[i].Data
		_ = all[i].Handshake.Bind(&s.Handshake)
		var err error
		if s.Rooms, err = Rooms(all[i].Rooms); err != nil {
			return nil, err
		}
	}
	return sockets, nil
}

// text is a string, or a number as JavaScript would write it.
func text(raw codec.Raw) (string, error) {
	var v any
	if err := raw.Bind(&v); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		if name, ok := codec.NumericEvent(v); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: %T where a name should be", ErrMalformed, v)
}
