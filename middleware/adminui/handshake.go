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
	return socketInfo{
		ID:        s.ID(),
		ClientID:  clientID(s.Session()),
		Transport: s.Transport(),
		Namespace: s.Namespace().Name(),
		Data:      a.dataOf(s),
		Handshake: a.describeHandshake(s.Handshake()),
		Rooms:     rooms,
	}
}

// clientID is the part of a session's id that may be shown: the UI knows by it
// which sockets belong together.
func clientID(s *core.Session) string {
	id := s.ID()
	return id[:len(id)*3/5] // 12 of 20, as in the reference
}

func (a *Admin) describeHandshake(h *core.Handshake) handshakeInfo {
	room := maxHandshake
	keep := func(into map[string]string, name, value string) {
		if a.redacts(name) {
			value = redacted
		}
		value = cut(value, maxValue)
		if room -= len(name) + len(value); room >= 0 {
			into[name] = value
		}
	}
	headers := make(map[string]string)
	for name, value := range h.Header.All() {
		name = strings.ToLower(name)
		if before, twice := headers[name]; twice {
			value = before + ", " + value
		}
		keep(headers, name, value)
	}
	query := make(map[string]string)
	values := h.Query.Values()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		keep(query, name, values[name][len(values[name])-1])
	}
	link := url.Values{}
	for name, value := range query {
		link.Set(name, value)
	}
	address := h.Header.Get("Cf-Connecting-Ip")
	if address == "" {
		address = h.Header.Get("X-Forwarded-For")
	}
	if address == "" {
		address = hostOf(h.RemoteAddr)
	}
	return handshakeInfo{
		Address: cut(address, maxValue),
		Headers: headers,
		Query:   query,
		Issued:  h.Time.UnixMilli(),
		Secure:  h.Secure,
		Time:    h.Time.Format("Mon Jan 02 2006 15:04:05 GMT-0700 (MST)"),
		URL:     cut(h.Path, maxValue) + "?" + link.Encode(),
		XDomain: h.Header.Get("Origin") != "",
	}
}

func (a *Admin) redacts(name string) bool {
	return slices.ContainsFunc(a.options.Redact, func(secret string) bool { return strings.EqualFold(secret, name) })
}

// dataOf is what Options.Data says of a socket, always an object.
func (a *Admin) dataOf(s *core.Socket) json.RawMessage {
	none := json.RawMessage("{}")
	if a.options.Data == nil {
		return none
	}
	text, err := json.Marshal(a.safeData(s))
	switch {
	case err != nil:
		text, err = json.Marshal(map[string]string{"error": err.Error()})
	case len(text) > a.options.MaxArgsBytes:
		text, err = json.Marshal(map[string]string{"truncated": shorten(text, a.options.MaxArgsBytes)})
	case string(text) == "null":
		return none
	}
	if err != nil {
		return none
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
