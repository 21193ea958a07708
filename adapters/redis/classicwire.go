package redis

import (
	"fmt"
	"strings"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
)

// The types of questions and answers on the wire of @socket.io/redis-adapter.
const (
	askSockets     = 0 // of versions before 8, answered by ids
	askRooms       = 1 // the same, by names of rooms
	remoteJoin     = 2
	remoteLeave    = 3
	remoteClose    = 4
	remoteFetch    = 5
	serverSideEmit = 6
	broadcastAsk   = 7
	clientCount    = 8
	broadcastAck   = 9
)

// The forms of cluster.Message.Form.
const (
	formSockets = iota
	formIDs
	formRooms
)

type (
	opts struct {
		Rooms  []string       `json:"rooms"`
		Except []string       `json:"except"`
		Flags  map[string]any `json:"flags,omitempty"`
	}
	packet struct {
		Type      int    `json:"type"`
		Data      []any  `json:"data"`
		Namespace string `json:"nsp"`
	}
	request struct {
		Sender    string   `json:"uid"`
		RequestID string   `json:"requestId,omitempty"`
		Type      int      `json:"type"`
		Packet    *packet  `json:"packet,omitempty"`
		Opts      *opts    `json:"opts,omitempty"`
		Rooms     []string `json:"rooms,omitempty"`
		Close     *bool    `json:"close,omitempty"`
		Data      []any    `json:"data,omitempty"`
	}
	// Answers of Node's adapter do not say whose they are; ours do.
	socketsResponse struct {
		Sender    string `json:"uid"`
		RequestID string `json:"requestId"`
		Sockets   any    `json:"sockets"`
	}
	roomsResponse struct {
		Sender    string   `json:"uid"`
		RequestID string   `json:"requestId"`
		Rooms     []string `json:"rooms"`
	}
	dataResponse struct {
		Sender    string `json:"uid"`
		Type      int    `json:"type"`
		RequestID string `json:"requestId"`
		Data      any    `json:"data"`
	}
	ackResponse struct {
		Sender    string `json:"uid"`
		Type      int    `json:"type"`
		RequestID string `json:"requestId"`
		Packet    any    `json:"packet"`
	}
	countResponse struct {
		Sender      string `json:"uid"`
		Type        int    `json:"type"`
		RequestID   string `json:"requestId"`
		ClientCount int    `json:"clientCount"`
	}
)

const eventType = 2

// Encode implements cluster.Engine. Node reads MessagePack wherever it writes JSON,
// and in MessagePack binary values stay what they are.
func (e *classic) Encode(m *cluster.Message) (cluster.Publication, error) {
	var value any
	channel := e.requests(m.Namespace)
	ask := &request{Sender: m.Sender, RequestID: m.RequestID}
	switch m.Type {
	case cluster.Broadcast:
		p := &packet{eventType, cluster.PacketOf(m), m.Namespace}
		if m.RequestID != "" {
			ask.Type, ask.Packet, ask.Opts = broadcastAsk, p, optsOf(m, true)
			value = ask
			break
		}
		channel = e.broadcasts(m.Namespace)
		if len(m.In) == 1 {
			channel += m.In[0] + "#"
		}
		value = []any{m.Sender, p, &flaggedOpts{list(m.In), list(m.Except), cluster.FlagsOf(m)}}
	case cluster.SocketsJoin:
		ask.Type, ask.Opts, ask.Rooms = remoteJoin, optsOf(m, false), list(m.Rooms)
		value = ask
	case cluster.SocketsLeave:
		ask.Type, ask.Opts, ask.Rooms = remoteLeave, optsOf(m, false), list(m.Rooms)
		value = ask
	case cluster.DisconnectSockets:
		ask.Type, ask.Opts, ask.Close = remoteClose, optsOf(m, false), &m.CloseSession
		value = ask
	case cluster.FetchSockets:
		ask.Type, ask.Opts = remoteFetch, optsOf(m, false)
		value = ask
	case cluster.ServerSideEmit:
		ask.Type, ask.Data = serverSideEmit, cluster.PacketOf(m)
		value = ask
	default:
		channel, value = e.response(m)
	}
	data, err := codec.AppendMsgPack(nil, value)
	return cluster.Publication{Type: m.Type, Namespace: m.Namespace, Channel: channel, Data: data}, err
}

// flaggedOpts are the options of a broadcast, whose flags are never absent.
type flaggedOpts struct {
	Rooms  []string       `json:"rooms"`
	Except []string       `json:"except"`
	Flags  map[string]any `json:"flags"`
}

func optsOf(m *cluster.Message, flags bool) *opts {
	o := &opts{Rooms: list(m.In), Except: list(m.Except)}
	if flags {
		o.Flags = cluster.FlagsOf(m)
	}
	return o
}

// list is never nil, which would be null on the wire.
func list(of []string) []string {
	if of == nil {
		return []string{}
	}
	return of
}

// response returns the channel and the content of an answer.
func (e *classic) response(m *cluster.Message) (channel string, value any) {
	channel = e.responses(m.Namespace)
	if m.To != "" && m.To != cluster.EmitterID && !e.options.SharedResponses && m.Type != cluster.ServerSideEmitResponse {
		channel += m.To + "#"
	}
	switch m.Type {
	case cluster.FetchSocketsResponse:
		return channel, socketsResponseOf(m)
	case cluster.ServerSideEmitResponse:
		return channel, dataResponse{m.Sender, serverSideEmit, m.RequestID, m.Answer}
	case cluster.BroadcastClientCount:
		return channel, countResponse{m.Sender, clientCount, m.RequestID, m.Count}
	default:
		return channel, ackResponse{m.Sender, broadcastAck, m.RequestID, m.Answer}
	}
}

func socketsResponseOf(m *cluster.Message) any {
	switch m.Form {
	case formIDs:
		ids := make([]string, len(m.Sockets))
		for i := range m.Sockets {
			ids[i] = m.Sockets[i].ID
		}
		return socketsResponse{m.Sender, m.RequestID, ids}
	case formRooms:
		rooms := make(map[string]struct{})
		all := []string{}
		for i := range m.Sockets {
			for _, room := range m.Sockets[i].Rooms {
				if _, twice := rooms[room]; !twice {
					rooms[room] = struct{}{}
					all = append(all, room)
				}
			}
		}
		return roomsResponse{m.Sender, m.RequestID, all}
	}
	if m.Sockets == nil {
		return socketsResponse{m.Sender, m.RequestID, []string{}}
	}
	return socketsResponse{m.Sender, m.RequestID, m.Sockets}
}

// isFrom reports, at little cost, whether a broadcast is one of a certain server.
func isFrom(data, id string) bool {
	const array3, str8, fixstr = "\x93", "\xd9", 0xa0
	text, ok := strings.CutPrefix(data, array3)
	if !ok {
		return false
	}
	if rest, long := strings.CutPrefix(text, str8); long {
		return len(rest) > len(id) && int(rest[0]) == len(id) && rest[1:1+len(id)] == id
	}
	return len(text) > len(id) && text[0] == byte(fixstr+len(id)) && text[1:1+len(id)] == id //nolint:gosec // ids are short
}

// readBroadcast reads an array of sender, packet and options.
func readBroadcast(data []byte, namespace string) (*cluster.Message, error) {
	var parts []codec.Raw
	if err := cluster.ReadValue(data, &parts); err != nil {
		return nil, err
	}
	if len(parts) < 3 {
		return nil, fmt.Errorf("%w: %d elements", cluster.ErrMalformed, len(parts))
	}
	m := &cluster.Message{Type: cluster.Broadcast, Namespace: namespace}
	var o cluster.ReceivedOpts
	var p receivedPacket
	for i, dst := range []any{&m.Sender, &p, &o} {
		if err := parts[i].Bind(dst); err != nil {
			return nil, fmt.Errorf("%w: %w", cluster.ErrMalformed, err)
		}
	}
	if p.namespace() != namespace {
		return nil, nil //nolint:nilnil // a pattern can match channels of another namespace
	}
	if err := o.Fill(m); err != nil {
		return nil, err
	}
	return m, cluster.ReadPacket(m, p.Data)
}

type receivedPacket struct {
	Data      codec.Raw `json:"data"`
	Namespace *string   `json:"nsp"`
}

func (p *receivedPacket) namespace() string {
	if p.Namespace == nil {
		return "/"
	}
	return *p.Namespace
}

type receivedRequest struct {
	Sender    string               `json:"uid"`
	RequestID string               `json:"requestId"`
	Type      int                  `json:"type"`
	Packet    receivedPacket       `json:"packet"`
	Opts      cluster.ReceivedOpts `json:"opts"`
	Rooms     []codec.Raw          `json:"rooms"`
	Close     bool                 `json:"close"`
	Data      codec.Raw            `json:"data"`
	SocketID  string               `json:"sid"`
	Room      codec.Raw            `json:"room"`
}

// readRequest reads a question, or a command. It returns nil if it is of a type
// that is not known.
func readRequest(data []byte, namespace string) (*cluster.Message, error) {
	var r receivedRequest
	if err := cluster.ReadValue(data, &r); err != nil {
		return nil, err
	}
	m := &cluster.Message{Sender: r.Sender, Namespace: namespace, RequestID: r.RequestID}
	if m.Sender == "" {
		m.Sender = cluster.EmitterID
	}
	if err := r.Opts.Fill(m); err != nil {
		return nil, err
	}
	rooms, err := cluster.Rooms(r.Rooms)
	if err != nil {
		return nil, err
	}
	if r.SocketID != "" { // the form of versions before 7, for one socket
		m.In, m.RequestID = []string{r.SocketID}, ""
		if rooms, err = cluster.Rooms([]codec.Raw{r.Room}); err != nil && r.Type != remoteClose {
			return nil, err
		}
	}
	switch r.Type {
	case askSockets:
		m.Type, m.Form, m.In = cluster.FetchSockets, formIDs, rooms
	case askRooms:
		m.Type, m.Form = cluster.FetchSockets, formRooms
	case remoteJoin:
		m.Type, m.Rooms = cluster.SocketsJoin, rooms
	case remoteLeave:
		m.Type, m.Rooms = cluster.SocketsLeave, rooms
	case remoteClose:
		m.Type, m.CloseSession = cluster.DisconnectSockets, r.Close
	case remoteFetch:
		m.Type = cluster.FetchSockets
	case serverSideEmit:
		m.Type = cluster.ServerSideEmit
		return m, cluster.ReadPacket(m, r.Data)
	case broadcastAsk:
		if r.Packet.namespace() != namespace || m.RequestID == "" {
			return nil, fmt.Errorf("%w: a question of namespace %q", cluster.ErrMalformed, r.Packet.namespace())
		}
		m.Type = cluster.Broadcast
		return m, cluster.ReadPacket(m, r.Packet.Data)
	default:
		return nil, nil //nolint:nilnil // of a newer version
	}
	if m.Type == cluster.FetchSockets && m.RequestID == "" {
		return nil, fmt.Errorf("%w: a question that nobody can be answered", cluster.ErrMalformed)
	}
	return m, nil
}

type receivedResponse struct {
	Sender    string    `json:"uid"`
	RequestID string    `json:"requestId"`
	Type      *int      `json:"type"`
	Sockets   codec.Raw `json:"sockets"`
	Data      codec.Raw `json:"data"`
	Packet    codec.Raw `json:"packet"`
	Count     int       `json:"clientCount"`
}

// readResponse reads an answer. It returns nil if it is of a form that nobody here
// has asked for.
func readResponse(data []byte, namespace string) (*cluster.Message, error) {
	var r receivedResponse
	if err := cluster.ReadValue(data, &r); err != nil {
		return nil, err
	}
	m := &cluster.Message{Sender: r.Sender, Namespace: namespace, RequestID: r.RequestID}
	switch {
	case r.Type == nil && !r.Sockets.IsZero():
		m.Type = cluster.FetchSocketsResponse
		var err error
		if m.Sockets, err = cluster.Sockets(r.Sockets); err != nil {
			return nil, nil //nolint:nilerr,nilnil // ids, for a server of an older version
		}
	case r.Type == nil:
		return nil, nil //nolint:nilnil // rooms
	case *r.Type == serverSideEmit:
		m.Type, m.Answer = cluster.ServerSideEmitResponse, r.Data
	case *r.Type == clientCount:
		m.Type, m.Count = cluster.BroadcastClientCount, r.Count
	case *r.Type == broadcastAck:
		m.Type, m.Answer = cluster.BroadcastAck, r.Packet
	default:
		return nil, nil //nolint:nilnil // of a newer version
	}
	return m, nil
}
