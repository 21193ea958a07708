package core

import (
	"maps"
	"slices"
	"sync"

	"github.com/upshift-go/upshift/transports"
)

// rooms knows which sockets a namespace has and which rooms they are in. The
// two indexes mirror each other: rooms to members here, and a socket's rooms
// on the socket.
//
// Every connected socket is also in a room named after its id. That room is
// not kept in the index, which would cost each socket a map, but looked up
// among the sockets.
type rooms struct {
	mu        sync.RWMutex // guards what follows, and rooms, ownRoom and gone of every socket
	connected map[string]*Socket
	members   map[string]map[*Socket]struct{}

	// changed is told of rooms that come to be or go, with mu held. nil is nobody.
	changed func(room string)
}

// join puts s into rooms, unless it has left for good. It stops at the first
// that is more than limit, which 0 is not. Those it was not in before are added to
// news, unless that is nil.
func (r *rooms) join(s *Socket, names []string, limit int, news *[]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		return ErrDisconnected
	}
	for _, name := range names {
		if name == s.id {
			s.ownRoom = true
			continue
		}
		if slices.Contains(s.rooms, name) {
			continue
		}
		if len(s.rooms) >= limit && limit > 0 {
			return ErrTooManyRooms
		}
		s.rooms = append(s.rooms, name)
		room := r.members[name]
		if room == nil {
			if r.members == nil {
				r.members = make(map[string]map[*Socket]struct{})
			}
			room = make(map[*Socket]struct{})
			r.members[name] = room
			r.tell(name)
		}
		room[s] = struct{}{}
		if news != nil {
			*news = append(*news, name)
		}
	}
	return nil
}

// leave takes s out of rooms, unless it has left for good. Rooms it is not in are
// passed over; the others are added to news, unless that is nil.
func (r *rooms) leave(s *Socket, names []string, news *[]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		return ErrDisconnected
	}
	for _, name := range names {
		if name == s.id {
			s.ownRoom = false
			continue
		}
		if i := slices.Index(s.rooms, name); i >= 0 {
			s.rooms = slices.Delete(s.rooms, i, i+1)
			r.drop(s, name)
			if news != nil {
				*news = append(*news, name)
			}
		}
	}
	return nil
}

// drop takes s out of the index of one room. The lock is held.
func (r *rooms) drop(s *Socket, name string) {
	room := r.members[name]
	delete(room, s)
	if len(room) == 0 {
		delete(r.members, name)
		r.tell(name)
	}
}

func (r *rooms) tell(name string) {
	if r.changed != nil {
		r.changed(name)
	}
}

// has reports whether somebody is in a room.
func (r *rooms) has(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.connected[name]
	return len(r.members[name]) > 0 || s != nil && s.ownRoom
}

// connect makes s reachable and queues the packets that tell its client. The
// client gets no broadcast before them, and misses none after. An error means
// that it cannot be told; most likely its session is ending.
func (r *rooms) connect(s *Socket, packets []transports.Packet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		return ErrDisconnected
	}
	if err := s.conn.session.SendLater(packets...); err != nil { // it only queues
		return err
	}
	if r.connected == nil {
		r.connected = make(map[string]*Socket)
	}
	r.connected[s.id] = s
	s.ownRoom = true
	return nil
}

// remove takes s out of everything, for good. What it was in stays readable
// on the socket.
func (r *rooms) remove(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.gone {
		return
	}
	s.gone = true
	if r.connected[s.id] == s {
		delete(r.connected, s.id)
	}
	for _, name := range s.rooms {
		r.drop(s, name)
	}
}

// of returns the rooms s is in, or was in when it left.
func (r *rooms) of(s *Socket) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(s.rooms)+1)
	if s.ownRoom {
		names = append(names, s.id)
	}
	return append(names, s.rooms...)
}

func (r *rooms) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.connected)
}

// names returns the rooms that have members.
func (r *rooms) names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Keys(r.members))
}

func (r *rooms) socket(id string) *Socket {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.connected[id]
}

// find appends to dst the connected sockets that are in one of in, or all if
// in is empty, and that are in none of except; each once.
func (r *rooms) find(dst []*Socket, in, except []string) []*Socket {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(in) == 0 {
		for _, s := range r.connected {
			if !s.isIn(except) {
				dst = append(dst, s)
			}
		}
		return dst
	}
	for i, name := range in {
		earlier := in[:i] // who is in one of these has been found already
		if s := r.connected[name]; s != nil && s.ownRoom && !s.isIn(earlier) && !s.isIn(except) {
			dst = append(dst, s)
		}
		for s := range r.members[name] {
			if s.id != name && r.connected[s.id] == s && !s.isIn(earlier) && !s.isIn(except) {
				dst = append(dst, s)
			}
		}
	}
	return dst
}

// isIn reports whether s is in one of the rooms. The lock of its namespace's
// rooms is held.
func (s *Socket) isIn(names []string) bool {
	for _, name := range names {
		if name == s.id && s.ownRoom || slices.Contains(s.rooms, name) {
			return true
		}
	}
	return false
}
