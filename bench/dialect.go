package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// A dialect is how clients speak to a server. The requests take a payload,
// an object in JSON. Of "ack" and "cast" a reply comes, of "echo" the same
// event, and of "room" the event to everybody in the room.
type dialect struct {
	path   string // of the handshake
	binary bool
	lines  bool   // a frame may hold several messages, one on each line
	skip   string // a message that says nothing

	greet           func(c *client) error
	echo, ack, cast func(payload string) string
	room            func(room, payload string) string
	join            func(c *client, rooms []string) error
}

func dialectOf(server string) dialect {
	switch server {
	case "centrifuge":
		return centrifugal
	case "upshift-msgpack":
		return packed
	default:
		return socketIO
	}
}

const wsPath = "/socket.io/?EIO=4&transport=websocket"

var socketIO = dialect{
	path: wsPath,
	greet: func(c *client) error {
		if err := c.expect("0{"); err != nil {
			return err
		}
		if err := c.send("40"); err != nil {
			return err
		}
		return c.expect("40{")
	},
	echo: func(p string) string { return `42["echo",` + p + `]` },
	ack:  func(p string) string { return `421["ack",` + p + `]` },
	cast: func(p string) string { return `42["cast",` + p + `]` },
	room: func(room, p string) string { return `42["room","` + room + `",` + p + `]` },
	join: func(c *client, rooms []string) error {
		if err := c.send(`421["join",["` + strings.Join(rooms, `","`) + `"]]`); err != nil {
			return err
		}
		return c.expect("431[true]")
	},
}

// packed is socketIO with the MessagePack parser.
var packed = dialect{
	path: wsPath, binary: true,
	greet: func(c *client) error {
		if err := c.expect("0{"); err != nil {
			return err
		}
		if err := c.send(pack(map[string]any{"type": 0, "nsp": "/"})); err != nil {
			return err
		}
		_, err := c.next()
		return err
	},
	echo: func(p string) string { return packEvent("echo", p, nil) },
	ack:  func(p string) string { return packEvent("ack", p, 1) },
	cast: func(p string) string { return packEvent("cast", p, nil) },
}

func pack(packet map[string]any) string {
	b, err := msgpack.Marshal(packet)
	check(err)
	return string(b)
}

func packEvent(name, payload string, id any) string {
	text := strings.TrimSuffix(strings.TrimPrefix(payload, `{"text":"`), `"}`)
	packet := map[string]any{"type": 2, "nsp": "/", "data": []any{name, map[string]string{"text": text}}}
	if id != nil {
		packet["id"] = id
	}
	return pack(packet)
}

// centrifugal is centrifuge's protocol in JSON, which is its own.
var centrifugal = dialect{
	path: "/connection/websocket", lines: true, skip: `{"id":1,"publish":{}}`,
	greet: func(c *client) error {
		if err := c.send(`{"id":1,"connect":{}}`); err != nil {
			return err
		}
		if err := c.expect(`{"id":1,"connect":`); err != nil {
			return err
		}
		return subscribe(c, "all")
	},
	ack:  func(p string) string { return `{"id":1,"rpc":{"method":"ack","data":` + p + `}}` },
	cast: func(p string) string { return `{"id":1,"publish":{"channel":"all","data":` + p + `}}` },
	room: func(room, p string) string {
		return `{"id":1,"publish":{"channel":"` + room + `","data":` + p + `}}`
	},
	join: func(c *client, rooms []string) error {
		for _, room := range rooms {
			if err := subscribe(c, room); err != nil {
				return err
			}
		}
		return nil
	},
}

func subscribe(c *client, channel string) error {
	if err := c.send(fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, channel)); err != nil {
		return err
	}
	return c.expect(`{"id":2,"subscribe":`)
}

// payload is an object of size bytes.
func payload(size int) string {
	return `{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`
}

func roomName(i int) string { return "room" + strconv.Itoa(i) }
