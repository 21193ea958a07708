package adminui

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/upshift-go/upshift/core"
)

// socketInfo is a socket as the UI knows it.
type socketInfo struct {
	ID        string          `json:"id"`
	ClientID  string          `json:"clientId"`
	Transport string          `json:"transport"`
	Namespace string          `json:"nsp"`
	Data      json.RawMessage `json:"data"`
	Handshake handshakeInfo   `json:"handshake"`
	Rooms     []string        `json:"rooms"`
}

// text is the socket as JSON.
func (i *socketInfo) text() []byte {
	text, _ := json.Marshal(i) // strings, numbers and valid JSON always encode
	return text
}

// handshakeInfo is the request that opened the socket's session. The UI shows
// Headers and Query as tables and breaks if Issued is no number.
type handshakeInfo struct {
	Address string            `json:"address"`
	Headers map[string]string `json:"headers"`
	Query   map[string]string `json:"query"`
	Issued  int64             `json:"issued"` // milliseconds since 1970
	Secure  bool              `json:"secure"`
	Time    string            `json:"time"`
	URL     string            `json:"url"`
	XDomain bool              `json:"xdomain"`
}

// redacted stands for what the UI does not get to see.
const redacted = "[redacted]"

// What a client may take of the list of all sockets, in bytes: one value of its
// request, and all of them.
const (
	maxValue     = 512
	maxHandshake = 4096
)

// describe returns what the UI is told of a socket that is in rooms.
func (a *Admin) describe(s *core.Socket, rooms []string) socketInfo {
	info := s.Info()
	return socketInfo{
		ID:        s.ID(),
		ClientID:  clientID(s.Session()),
		Transport: s.Transport(),
		Namespace: s.Namespace().Name(),
		Data:      a.dataOf(s),
		Handshake: a.describeHandshake(&info.Handshake),
		Rooms:     rooms,
	}
}

// clientID is the part of a session's id that may be shown: the UI knows by it
// which sockets belong together.
func clientID(s *core.Session) string {
	id := s.ID()
	return id[:len(id)*3/5] // 12 of 20, as in the reference
}

func (a *Admin) describeHandshake(h *core.HandshakeInfo) handshakeInfo {
	room := maxHandshake
	keep := func(from map[string]any, separator string) map[string]string {
		into := make(map[string]string)
		for _, name := range slices.Sorted(maps.Keys(from)) {
			value := redacted
			if !a.redacts(name) {
				value = cut(one(from[name], separator), maxValue)
			}
			if size := len(name) + len(value); size <= room {
				room -= size
				into[name] = value
			}
		}
		return into
	}
	headers, query := keep(h.Headers, ", "), keep(h.Query, "")
	link := url.Values{}
	for name, value := range query {
		link.Set(name, value)
	}
	address := h.Address
	for _, name := range []string{"cf-connecting-ip", "x-forwarded-for"} {
		if said := one(h.Headers[name], ", "); said != "" {
			address = said
			break
		}
	}
	path, _, _ := strings.Cut(h.URL, "?")
	return handshakeInfo{
		Address: cut(address, maxValue),
		Headers: headers,
		Query:   query,
		Issued:  h.Issued,
		Secure:  h.Secure,
		Time:    cut(h.Time, maxValue),
		URL:     cut(path, maxValue) + "?" + link.Encode(),
		XDomain: h.XDomain,
	}
}

// one makes one text of a value that came several times: all of them, or without a
// separator the last.
func one(value any, separator string) string {
	switch v := value.(type) {
	case string:
		return v
	case []string:
		switch {
		case separator != "":
			return strings.Join(v, separator)
		case len(v) > 0:
			return v[len(v)-1]
		}
	case []any: // from another server
		all := make([]string, len(v))
		for i := range v {
			all[i], _ = v[i].(string)
		}
		return one(all, separator)
	}
	return ""
}

func (a *Admin) redacts(name string) bool {
	return slices.ContainsFunc(a.options.Redact, func(secret string) bool { return strings.EqualFold(secret, name) })
}

// dataOf is what Options.Data says of a socket, always an object.
func (a *Admin) dataOf(s *core.Socket) json.RawMessage {
	if a.options.Data == nil {
		return noData
	}
	return a.object(a.safeData(s))
}

var noData = json.RawMessage("{}")

// object encodes what is shown as the data of a socket.
func (a *Admin) object(data map[string]any) json.RawMessage {
	text, err := json.Marshal(data)
	switch {
	case err != nil:
		text, err = json.Marshal(map[string]string{"error": err.Error()})
	case len(text) > a.options.MaxArgsBytes:
		text, err = json.Marshal(map[string]string{"truncated": shorten(text, a.options.MaxArgsBytes)})
	case string(text) == "null":
		return noData
	}
	if err != nil {
		return noData
	}
	return text
}

// safeData calls a function that is not ours on a goroutine that is.
func (a *Admin) safeData(s *core.Socket) (data map[string]any) {
	defer func() {
		if v := recover(); v != nil {
			data = map[string]any{"error": "Options.Data has panicked"}
			a.logPanic("Options.Data", v)
		}
	}()
	return a.options.Data(s)
}
