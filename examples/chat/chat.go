package main

import (
	"context"
	"errors"
	"time"

	"github.com/upshift-go/upshift/core"
)

// What pages send. Each is answered, with the second type or with an error.
var (
	enterRoom   = core.NewEvent[Entry, Welcome]("room:enter")
	listRooms   = core.NewEvent[core.None, []RoomInfo]("room:list")
	sendMessage = core.NewEvent[Draft, Message]("message:send")
	setTyping   = core.NewEvent[bool, core.None]("typing:set")
)

// What pages are told.
var (
	messagePosted = core.NewEvent[Message, core.None]("message")
	peopleChanged = core.NewEvent[Roster, core.None]("people")
	typingChanged = core.NewEvent[Typing, core.None]("typing")
)

// An Entry asks for a seat in a room.
type Entry struct {
	Name string `json:"name"`
	Room string `json:"room"`
	// Secret is made by the page. Who gives it again is the same person.
	Secret string `json:"secret"`
}

// A Welcome is what somebody finds who enters a room.
type Welcome struct {
	You     Person    `json:"you"`
	Roster  Roster    `json:"roster"`
	History []Message `json:"history"`
}

// A Draft is a message on its way to the room.
type Draft struct {
	Text string `json:"text"`
	Key  string `json:"key"` // see Message
}

// Typing says that somebody has begun or ceased to write.
type Typing struct {
	Room   string `json:"room"`
	Person Person `json:"person"`
	On     bool   `json:"on"`
}

// chat answers pages and tells the others in the room. Its handlers run one
// at a time for each page and at once for different ones.
type chat struct {
	namespace *core.Namespace
	rooms     *rooms
}

// serveChat registers the chat's handlers.
func serveChat(namespace *core.Namespace) {
	c := &chat{namespace: namespace, rooms: newRooms(time.Now)}
	core.OnEvent(namespace, enterRoom, c.enter)
	core.OnEvent(namespace, listRooms, c.list)
	core.OnEvent(namespace, sendMessage, c.send)
	core.OnEvent(namespace, setTyping, c.typing)
	namespace.OnDisconnect(c.gone)
}

func (c *chat) enter(ctx context.Context, s *core.Socket, in Entry) (Welcome, error) {
	m, err := c.rooms.enter(s.ID(), in.Name, in.Room, in.Secret)
	if err != nil {
		return Welcome{}, err
	}
	if m.left != nil {
		err = errors.Join(s.Leave(ctx, channel(m.left.Room)), c.tell(ctx, m.left))
	}
	if lost := c.namespace.Socket(m.replaced); lost != nil {
		lost.Disconnect()
	}
	// Join first and look then: what is said in between comes twice, which
	// the page notices, and not never.
	err = errors.Join(err, s.Join(ctx, channel(m.seat.room.name)), c.tell(ctx, m.joined))
	if err != nil {
		return Welcome{}, err
	}
	roster, history, err := c.rooms.look(s.ID())
	return Welcome{You: m.seat.person, Roster: roster, History: history}, err
}

func (c *chat) list(context.Context, *core.Socket, core.None) ([]RoomInfo, error) {
	return c.rooms.list(), nil
}

func (c *chat) send(ctx context.Context, s *core.Socket, in Draft) (Message, error) {
	m, fresh, err := c.rooms.post(s.ID(), in.Key, in.Text)
	if err != nil || !fresh {
		return m, err
	}
	return m, messagePosted.Emit(ctx, s.To(channel(m.Room)), m)
}

func (c *chat) typing(ctx context.Context, s *core.Socket, on bool) (core.None, error) {
	seat, err := c.rooms.seat(s.ID())
	if err != nil {
		return core.None{}, err
	}
	room := seat.room.name
	return core.None{}, typingChanged.Emit(ctx, s.To(channel(room)), Typing{Room: room, Person: seat.person, On: on})
}

// gone announces somebody who has left, for whatever reason. A page that came
// back on another connection in time is not missed: its seat has moved.
func (c *chat) gone(ctx context.Context, s *core.Socket, _ error) {
	_ = c.tell(ctx, c.rooms.leave(s.ID())) // nobody is left to take the error
}

// tell sends a roster to its room, if there is something to tell.
func (c *chat) tell(ctx context.Context, r *Roster) error {
	if r == nil {
		return nil
	}
	return peopleChanged.Emit(ctx, c.namespace.To(channel(r.Room)), *r)
}

// channel is the name of a chat room among the rooms of the server, where each
// socket has one under its id: people must not be able to choose those.
func channel(room string) string { return "chat:" + room }
