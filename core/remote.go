package core

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/upshift-go/upshift/codec"
)

// A SocketInfo is what is known of a socket that may be on another server. It is
// a snapshot, and what the servers of a cluster tell each other; the members
// have the names that socket.io gives them. To act on the socket, use its id as
// a room: n.To(info.ID).
type SocketInfo struct {
	ID        string        `json:"id"`
	Handshake HandshakeInfo `json:"handshake"`
	// Rooms are those that the socket is in, its id among them.
	Rooms []string `json:"rooms"`
	// Data is an object: the values of shared keys by their names, or what a
	// server of another language has in socket.data. See Key.From.
	Data codec.Raw `json:"data"`
}

// A HandshakeInfo is the handshake of a socket as other servers see it.
type HandshakeInfo struct {
	Headers map[string]any `json:"headers"` // by lower-case name; a string, or a list of them
	Query   map[string]any `json:"query"`   // the same
	Time    string         `json:"time"`    // for people
	Address string         `json:"address"` // of the TCP peer, without port
	XDomain bool           `json:"xdomain"` // there is an Origin header
	Secure  bool           `json:"secure"`
	Issued  int64          `json:"issued"` // milliseconds since 1970
	URL     string         `json:"url"`    // path and query
	Auth    codec.Raw      `json:"auth"`   // the auth payload, an object
}

// Fetch returns the sockets of the target on all servers, in no order, as they
// are now. Without an adapter, or for Local, they are those of this server. If a
// server does not answer before ctx ends (or the adapter's own time limit, if ctx
// has no deadline), the sockets of the others come with a *PartialError.
func (t Target) Fetch(ctx context.Context) ([]SocketInfo, error) {
	var (
		all    []SocketInfo
		failed error
	)
	for _, n := range t.namespaces() {
		in, except := t.rooms()
		for _, s := range t.find(nil, n) {
			all = append(all, s.info())
		}
		if !t.elsewhere(n) {
			continue
		}
		others, err := n.server.options.Adapter.Fetch(ctx, n.name, in, except)
		all = append(all, others...)
		failed = errors.Join(failed, err)
	}
	return all, failed
}

// describe returns the sockets of this server that are in one of the rooms.
func (n *Namespace) describe(in, except []string) []SocketInfo {
	sockets := n.rooms.find(nil, in, except)
	all := make([]SocketInfo, len(sockets))
	for i, s := range sockets {
		all[i] = s.info()
	}
	return all
}

// Info is what Target.Fetch would return for the socket.
func (s *Socket) Info() SocketInfo { return s.info() }

func (s *Socket) info() SocketInfo {
	h := s.Handshake()
	info := SocketInfo{
		ID: s.id, Rooms: s.Rooms(), Data: s.shared(),
		Handshake: HandshakeInfo{
			Headers: make(map[string]any), Query: make(map[string]any),
			Time:   h.Time.UTC().Format("Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)"),
			Secure: h.Secure, XDomain: h.Header.Get("Origin") != "", Issued: h.Time.UnixMilli(),
			Auth: s.auth,
		},
	}
	if info.Handshake.Auth.IsZero() {
		info.Handshake.Auth = emptyObject
	}
	for name, value := range h.Header.All() {
		name = strings.ToLower(name)
		if before, twice := info.Handshake.Headers[name].(string); twice {
			value = before + ", " + value
		}
		info.Handshake.Headers[name] = value
	}
	values := h.Query.Values()
	for name, list := range values {
		if info.Handshake.Query[name] = list; len(list) == 1 {
			info.Handshake.Query[name] = list[0]
		}
	}
	info.Handshake.URL = h.Path
	if len(values) > 0 {
		info.Handshake.URL += "?" + values.Encode()
	}
	if host, _, err := net.SplitHostPort(h.RemoteAddr); err == nil {
		info.Handshake.Address = host
	}
	return info
}

// When is when the session was opened.
func (h *HandshakeInfo) When() time.Time { return time.UnixMilli(h.Issued) }

// emptyObject is what others take for no data.
var emptyObject = func() codec.Raw {
	raw, _ := codec.ReadMsgPack([]byte{0x80})
	return raw
}()
