package health

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
)

// SnapshotOptions say who may look, and at how much. Allow must be set.
type SnapshotOptions struct {
	// Allow says whether a request may see who is connected, from where; an error
	// refuses it with status 403. Without it every request is refused.
	Allow func(ctx context.Context, h *core.Handshake) error
	// MaxRooms is how many rooms of a namespace are listed, the largest first.
	// Default 100.
	MaxRooms int
	// MaxSockets is how many sockets are listed at once. Default 100.
	MaxSockets int
}

// Snapshot answers with what there is at the moment, as JSON: an Overview or, with
// the query ?namespace=/chat and perhaps &room=lobby and &after=ID, a Page of
// sockets. It walks over all sessions, or over the sockets of the namespace: it is for
// people, not for every second. It holds no session ids and no payloads.
func Snapshot(srv *core.Server, o SnapshotOptions) *Handler {
	if o.MaxRooms <= 0 {
		o.MaxRooms = 100
	}
	if o.MaxSockets <= 0 {
		o.MaxSockets = 100
	}
	return &Handler{func(ex transports.Exchange) (int, any) {
		h := transports.HandshakeOf(ex)
		if o.Allow == nil || o.Allow(ex.Context(), &h) != nil {
			return http.StatusForbidden, status{"forbidden", nil}
		}
		name, one := h.Query.Lookup("namespace")
		if !one {
			return http.StatusOK, o.overview(srv)
		}
		for _, n := range srv.Namespaces() {
			if n.Name() == name {
				return http.StatusOK, o.page(n, h.Query)
			}
		}
		return http.StatusNotFound, status{"no such namespace", nil}
	}}
}

// An Overview is all of a server.
type Overview struct {
	Draining   bool           `json:"draining"`
	Sessions   int            `json:"sessions"`
	Transports map[string]int `json:"transports"` // sessions on each
	Waiting    Waiting        `json:"waiting"`
	Stats      core.Stats     `json:"stats"`
	Namespaces []Namespace    `json:"namespaces"`
}

// Waiting is what clients have not taken yet.
type Waiting struct {
	Packets   int `json:"packets"`
	Bytes     int `json:"bytes"`
	MostBytes int `json:"mostBytes"` // of one client
	Clients   int `json:"clients"`   // for whom something waits
}

// A Namespace is one of an Overview.
type Namespace struct {
	Name    string `json:"name"`
	Sockets int    `json:"sockets"`
	Rooms   int    `json:"rooms"`
	Largest []Room `json:"largest"` // rooms, the largest first
}

// A Room is one of a Namespace.
type Room struct {
	Name    string `json:"name"`
	Sockets int    `json:"sockets"`
}

// A Page lists sockets of a namespace, by id.
type Page struct {
	Namespace string   `json:"namespace"`
	Sockets   []Socket `json:"sockets"`
	Next      string   `json:"next,omitempty"` // for ?after=, if there are more
}

// A Socket is one of a Page.
type Socket struct {
	ID        string    `json:"id"`
	Rooms     []string  `json:"rooms"` // without its own
	Transport string    `json:"transport"`
	Remote    string    `json:"remote"`
	Since     time.Time `json:"since"` // of its session
	// What its session has carried, and what waits for the client.
	PacketsIn      uint64 `json:"packetsIn"`
	BytesIn        uint64 `json:"bytesIn"`
	PacketsOut     uint64 `json:"packetsOut"`
	BytesOut       uint64 `json:"bytesOut"`
	WaitingPackets int    `json:"waitingPackets"`
	WaitingBytes   int    `json:"waitingBytes"`
}

func (o *SnapshotOptions) overview(srv *core.Server) *Overview {
	all := &Overview{
		Draining: srv.Draining(), Transports: make(map[string]int), Stats: srv.Stats(), Namespaces: []Namespace{},
	}
	for s := range srv.AllSessions() {
		all.Sessions++
		all.Transports[s.Transport()]++
		if packets, bytes := s.Waiting(); packets > 0 {
			all.Waiting.Packets += packets
			all.Waiting.Bytes += bytes
			all.Waiting.MostBytes = max(all.Waiting.MostBytes, bytes)
			all.Waiting.Clients++
		}
	}
	for _, n := range srv.Namespaces() {
		all.Namespaces = append(all.Namespaces, o.namespace(n))
	}
	return all
}

func (o *SnapshotOptions) namespace(n *core.Namespace) Namespace {
	sizes := make(map[string]int)
	sockets := n.Sockets()
	for _, s := range sockets {
		for _, room := range rooms(s) {
			sizes[room]++
		}
	}
	largest := make([]Room, 0, len(sizes))
	for name, size := range sizes {
		largest = append(largest, Room{name, size})
	}
	slices.SortFunc(largest, func(a, b Room) int {
		return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), strings.Compare(a.Name, b.Name))
	})
	return Namespace{
		Name: n.Name(), Sockets: len(sockets), Rooms: len(largest), Largest: largest[:min(o.MaxRooms, len(largest))],
	}
}

// rooms are those of a socket, without its own.
func rooms(s *core.Socket) []string {
	return slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
}

func (o *SnapshotOptions) page(n *core.Namespace, query transports.Query) *Page {
	target := n.To()
	if room, ok := query.Lookup("room"); ok {
		target = n.To(room)
	}
	limit := o.MaxSockets
	if asked, err := strconv.Atoi(query.Get("limit")); err == nil && asked > 0 {
		limit = min(limit, asked)
	}
	after := query.Get("after")
	sockets := slices.DeleteFunc(target.Sockets(), func(s *core.Socket) bool { return s.ID() <= after })
	slices.SortFunc(sockets, func(a, b *core.Socket) int { return strings.Compare(a.ID(), b.ID()) })
	page := &Page{Namespace: n.Name(), Sockets: []Socket{}}
	if len(sockets) > limit {
		sockets = sockets[:limit]
		page.Next = sockets[limit-1].ID()
	}
	for _, s := range sockets {
		page.Sockets = append(page.Sockets, describe(s))
	}
	return page
}

func describe(s *core.Socket) Socket {
	session := s.Session()
	carried := session.Traffic()
	one := Socket{
		ID: s.ID(), Rooms: rooms(s), Transport: s.Transport(),
		Remote: s.Handshake().RemoteAddr, Since: s.Handshake().Time,
		PacketsIn: carried.PacketsIn, BytesIn: carried.BytesIn, PacketsOut: carried.PacketsOut, BytesOut: carried.BytesOut,
	}
	one.WaitingPackets, one.WaitingBytes = session.Waiting()
	return one
}
