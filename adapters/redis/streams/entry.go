package streams

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// The fields of an entry are uid, nsp, type, a decimal number, and data: JSON, or
// MessagePack in base64. Ours can have a nonce, too.
const nonceField = "nonce"

// isKept reports whether a message goes through the stream.
func isKept(m *cluster.Message) bool {
	switch m.Type {
	case cluster.Broadcast:
		return m.RequestID == ""
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets:
		return true
	default:
		return false
	}
}

// encodeEntry returns the field data.
func encodeEntry(m *cluster.Message) ([]byte, error) {
	packed, err := codec.AppendMsgPack(nil, cluster.DataOf(m))
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(packed))), packed), nil
}

// An entry is one of the stream.
type entry struct {
	offset core.Offset
	fields map[string]string
}

func entryOf(e *rueidis.XRangeEntry) (entry, error) {
	offset, ok := core.ParseOffset(e.ID)
	if !ok {
		return entry{}, fmt.Errorf("%w: id %q", cluster.ErrMalformed, e.ID)
	}
	return entry{offset, e.FieldValues}, nil
}

// message decodes an entry. An event has an offset if clients are told it: those that
// are volatile, or are questions to one client, are not for those who come back.
func (e *entry) message() (*cluster.Message, error) {
	t, err := strconv.ParseUint(e.fields["type"], 10, 8)
	if err != nil {
		return nil, fmt.Errorf("%w: type %q", cluster.ErrMalformed, e.fields["type"])
	}
	m := &cluster.Message{
		Type: cluster.Type(t), Sender: e.fields["uid"], Namespace: e.fields["nsp"], Nonce: e.fields[nonceField],
	}
	data, err := readData(e.fields["data"])
	if err != nil {
		return nil, err
	}
	if err := cluster.ReadData(m, data); err != nil {
		return nil, err
	}
	if m.Type == cluster.Broadcast && !m.Flags.Volatile && !isQuestion(data) {
		m.Offset = e.offset
	}
	return m, nil
}

func readData(text string) (codec.Raw, error) {
	var data codec.Raw
	var err error
	switch {
	case text == "":
	case text[0] == '{':
		err = json.Unmarshal([]byte(text), &data)
	default:
		var packed []byte
		if packed, err = base64.StdEncoding.DecodeString(text); err == nil {
			data, err = codec.ReadMsgPack(packed)
		}
	}
	if err != nil {
		return codec.Raw{}, fmt.Errorf("%w: %w", cluster.ErrMalformed, err)
	}
	return data, nil
}

// isQuestion reports whether the packet of a broadcast has an id, which is one of an
// acknowledgement.
func isQuestion(data codec.Raw) bool {
	var broadcast struct {
		Packet struct {
			ID codec.Raw `json:"id"`
		} `json:"packet"`
	}
	return data.Bind(&broadcast) == nil && !broadcast.Packet.ID.IsZero()
}
