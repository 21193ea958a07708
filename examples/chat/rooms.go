package main

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// What the server remembers at most. Rooms times people bounds the seats,
// rooms times history the messages.
const (
	maxRooms   = 64
	maxPeople  = 200
	maxHistory = 100
)

// A Person is somebody in a room.
type Person struct {
	// ID is the same for as long as the person's page is open, whatever
	// becomes of its connection.
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A Message is what a person has said.
type Message struct {
	Room string `json:"room"`
	// At is when it was said, in milliseconds since 1970. Within a room no
	// two things have the same At and later ones have a greater one: the
	// page sorts by it, and knows by it what it has shown already.
	At   int64  `json:"at"`
	From Person `json:"from"`
	Text string `json:"text"`
	// Key was chosen by the sender's page, which may send a message again
	// after a lost connection. A room takes it once.
	Key string `json:"key"`
}

// A Roster says who is in a room, after somebody came, left or changed their
// name.
type Roster struct {
	Room string `json:"room"`
	// At is when it became so; see Message. An older roster that arrives
	// late is to be ignored.
	At     int64    `json:"at"`
	People []Person `json:"people"`
	Joined *Person  `json:"joined,omitempty"`
	Left   *Person  `json:"left,omitempty"`
}

// rooms is everything the chat remembers: who sits where, and what was said
// lately. It knows nothing of connections but the id of a socket; chat.go
// tells people what rooms returns. Errors are for the person to read.
type rooms struct {
	now func() time.Time

	mu     sync.Mutex       // guards what follows, and the rooms
	byName map[string]*room // at most maxRooms, some of them empty
	seats  map[string]seat  // by the id of the socket
}

// A seat is where a socket is.
type seat struct {
	room   *room
	person Person
}

// A room has people, by the id of their socket, and a past.
type room struct {
	name    string
	clock   int64 // the At of the latest thing that happened
	people  map[string]Person
	history []Message
}

func newRooms(now func() time.Time) *rooms {
	return &rooms{now: now, byName: make(map[string]*room), seats: make(map[string]seat)}
}

// A move is what came of somebody entering a room. Fields are nil, or empty,
// for what did not happen.
type move struct {
	seat     seat
	left     *Roster // of the room they were in before
	joined   *Roster // of the room they are in now
	replaced string  // the socket that the same person had here: a lost connection
}

// enter seats a socket in a room, which it makes if there is none. A page that
// comes back after losing its connection gives the same secret and is the same
// person again, though the old socket may not have been missed yet.
func (rs *rooms) enter(socket, name, roomName, secret string) (move, error) {
	name, err := cleanName(name)
	if err != nil {
		return move{}, err
	}
	if roomName, err = cleanRoom(roomName); err != nil {
		return move{}, err
	}
	me := Person{ID: personID(secret), Name: name}

	rs.mu.Lock()
	defer rs.mu.Unlock()
	to := rs.byName[roomName]
	if to == nil {
		if to, err = rs.openLocked(roomName); err != nil {
			return move{}, err
		}
	}
	var m move
	for id, other := range to.people {
		switch {
		case other.ID == me.ID:
			m.replaced = id
		case id != socket && strings.EqualFold(other.Name, name):
			return move{}, core.Errorf("name_taken", "Somebody called %s is in this room already.", other.Name)
		}
	}
	if m.replaced == "" && len(to.people) >= maxPeople {
		return move{}, core.Errorf("room_full", "This room is full.")
	}

	known := to.people[m.replaced].Name == name
	if m.replaced != "" {
		delete(to.people, m.replaced)
		delete(rs.seats, m.replaced)
	}
	if m.replaced == socket {
		m.replaced = ""
	}
	m.left = rs.leaveLocked(socket)
	m.seat = seat{room: to, person: me}
	to.people[socket] = me
	rs.seats[socket] = m.seat
	if !known {
		m.joined = to.rosterLocked(rs.now())
		m.joined.Joined = &me
	}
	return m, nil
}

// leave takes a socket out of its room. It returns nil if it was in none.
func (rs *rooms) leave(socket string) *Roster {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.leaveLocked(socket)
}

func (rs *rooms) leaveLocked(socket string) *Roster {
	s, ok := rs.seats[socket]
	if !ok {
		return nil
	}
	delete(rs.seats, socket)
	delete(s.room.people, socket)
	roster := s.room.rosterLocked(rs.now())
	roster.Left = &s.person
	return roster
}

// look returns who is in the room of a socket and what was said there.
func (rs *rooms) look(socket string) (Roster, []Message, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	s, err := rs.seatLocked(socket)
	if err != nil {
		return Roster{}, nil, err
	}
	history := append([]Message{}, s.room.history...) // never nil: the page gets a list
	return *s.room.rosterLocked(rs.now()), history, nil
}

// post keeps a message. It reports false for one that the room has already;
// the message it returns is the one kept.
func (rs *rooms) post(socket, key, text string) (Message, bool, error) {
	text, err := cleanText(text)
	if err != nil {
		return Message{}, false, err
	}
	if len(key) > maxKey {
		return Message{}, false, core.Errorf("bad_key", "The key is longer than %d bytes.", maxKey)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	s, err := rs.seatLocked(socket)
	if err != nil {
		return Message{}, false, err
	}
	for _, m := range s.room.history {
		if key != "" && m.Key == key && m.From.ID == s.person.ID {
			return m, false, nil
		}
	}
	m := Message{Room: s.room.name, At: s.room.tickLocked(rs.now()), From: s.person, Text: text, Key: key}
	s.room.history = append(s.room.history, m)
	if len(s.room.history) > maxHistory {
		s.room.history = slices.Delete(s.room.history, 0, len(s.room.history)-maxHistory)
	}
	return m, true, nil
}

// seat returns where a socket is.
func (rs *rooms) seat(socket string) (seat, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.seatLocked(socket)
}

func (rs *rooms) seatLocked(socket string) (seat, error) {
	s, ok := rs.seats[socket]
	if !ok {
		return seat{}, core.Errorf("not_in_room", "Join a room first.")
	}
	return s, nil
}

// A RoomInfo is a line of the list of rooms.
type RoomInfo struct {
	Name   string `json:"name"`
	People int    `json:"people"`
}

// list returns the rooms that have people or a past, the fullest first.
func (rs *rooms) list() []RoomInfo {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := make([]RoomInfo, 0, len(rs.byName))
	for _, r := range rs.byName {
		if len(r.people) > 0 || len(r.history) > 0 {
			list = append(list, RoomInfo{Name: r.name, People: len(r.people)})
		}
	}
	slices.SortFunc(list, func(a, b RoomInfo) int {
		return cmp.Or(cmp.Compare(b.People, a.People), strings.Compare(a.Name, b.Name))
	})
	return list
}

// openLocked makes a room. If there are too many, the empty one that has been
// quiet for longest is forgotten.
func (rs *rooms) openLocked(name string) (*room, error) {
	if len(rs.byName) >= maxRooms {
		var oldest *room
		for _, r := range rs.byName {
			if len(r.people) == 0 && (oldest == nil || r.clock < oldest.clock) {
				oldest = r
			}
		}
		if oldest == nil {
			return nil, core.Errorf("too_many_rooms", "All %d rooms are in use. Join one of them.", maxRooms)
		}
		delete(rs.byName, oldest.name)
	}
	r := &room{name: name, people: make(map[string]Person)}
	rs.byName[name] = r
	return r, nil
}

// rosterLocked returns who is there, by name, as of now.
func (r *room) rosterLocked(now time.Time) *Roster {
	people := make([]Person, 0, len(r.people))
	for _, p := range r.people {
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b Person) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	return &Roster{Room: r.name, At: r.tickLocked(now), People: people}
}

// tickLocked returns the time of the next thing that happens in the room.
func (r *room) tickLocked(now time.Time) int64 {
	r.clock = max(r.clock+1, now.UnixMilli())
	return r.clock
}

// personID makes the public id of whoever knows secret. A page without one is
// somebody new each time.
func personID(secret string) string {
	if secret == "" {
		secret = rand.Text()
	}
	sum := sha256.Sum256([]byte(secret))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
