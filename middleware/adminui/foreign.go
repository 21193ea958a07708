package adminui

import (
	"context"
	"log/slog"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A mark is what servers in development mode keep with each socket for the pages of
// others. Node's has the same, and looks for it, in socket.data (@socket.io/admin-ui).
type mark struct {
	ClientID  string `json:"clientId"  msgpack:"clientId"`
	Transport string `json:"transport" msgpack:"transport"`
}

const markName = "_admin"

var marks = core.NewSharedKey[mark](markName)

// foreign returns the sockets that the adapter finds in the cluster and that are
// neither this server's nor in known: those of Node servers, and of servers that are
// not instrumented. room is for how many bytes.
func (a *Admin) foreign(ctx context.Context, known []codec.Raw, room int) []codec.Raw {
	ctx, cancel := context.WithTimeout(ctx, stateWithin)
	defer cancel()
	seen := make(map[string]struct{}, len(known))
	for _, text := range known {
		var s struct{ ID string }
		if text.Bind(&s) == nil {
			seen[s.ID] = struct{}{}
		}
	}
	var all []codec.Raw
	for _, n := range a.server.Namespaces() {
		found, err := n.To().Fetch(ctx)
		if err != nil {
			a.options.Logger.LogAttrs(ctx, slog.LevelDebug, "admin UI: sockets of another server are missing", slog.Any("error", err))
		}
		for i := range found {
			s := &found[i]
			if _, known := seen[s.ID]; known || n.Socket(s.ID) != nil {
				continue
			}
			info := a.describeForeign(n.Name(), s)
			text := info.text()
			if room -= len(text); room < 0 {
				return all
			}
			all = append(all, raw(text))
		}
	}
	return all
}

func (a *Admin) describeForeign(namespace string, s *core.SocketInfo) socketInfo {
	its, _, _ := marks.From(s)
	if its.ClientID == "" {
		its.ClientID = s.ID // of a server that is not instrumented: a client of its own
	}
	var data map[string]any
	if s.Data.Bind(&data) == nil {
		delete(data, markName)
	}
	rooms := s.Rooms
	if rooms == nil {
		rooms = []string{} // the UI wants a list
	}
	return socketInfo{
		ID: s.ID, ClientID: its.ClientID, Transport: its.Transport, Namespace: namespace,
		Data: a.object(data), Handshake: a.describeHandshake(&s.Handshake), Rooms: rooms,
	}
}
