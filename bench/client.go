package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// patience is how long anything may take beyond its time before it is an error.
const patience = 20 * time.Second

// A client is one WebSocket, spoken in raw frames, so that the load costs as
// little as can be.
type client struct {
	conn    net.Conn
	r       *bufio.Reader
	dialect dialect
	rest    []byte // with dialect.lines: of the last frame, what next has not returned
}

// dial opens a WebSocket and greets the server.
func dial(addr string, d dialect, buffer int) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, buffer), dialect: d}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *client) open() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := c.upgrade(c.dialect.path); err != nil {
		return err
	}
	return c.dialect.greet(c)
}

// upgrade makes the connection a WebSocket.
func (c *client) upgrade(path string) error {
	_, err := io.WriteString(c.conn, "GET "+path+" HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err
	}
	for line := ""; line != "\r\n"; {
		if line, err = c.r.ReadString('\n'); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) send(message string) error {
	_, err := c.conn.Write(frame(message, c.dialect.binary))
	return err
}

// expect reads one message and checks how it starts.
func (c *client) expect(prefix string) error {
	text, err := c.next()
	if err == nil && !bytes.HasPrefix(text, []byte(prefix)) {
		err = fmt.Errorf("%q came, not %q", text, prefix)
	}
	return err
}

// next reads one message. It is valid until the next call.
func (c *client) next() ([]byte, error) {
	for !c.buffered() {
		var err error
		if c.rest, err = c.nextFrame(); err != nil {
			return nil, err
		}
	}
	message := c.rest
	if end := bytes.IndexByte(message, '\n'); end >= 0 && c.dialect.lines {
		message, c.rest = message[:end], message[end+1:]
	} else {
		c.rest = nil
	}
	return message, nil
}

func (c *client) nextFrame() ([]byte, error) {
	head, err := c.r.Peek(2)
	if err != nil {
		return nil, err
	}
	n, size := int(head[1]), 2
	if n == 126 {
		if head, err = c.r.Peek(4); err != nil {
			return nil, err
		}
		n, size = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	whole, err := c.r.Peek(size + n)
	if err != nil {
		return nil, err
	}
	_, err = c.r.Discard(size + n) // leaves the bytes where they are
	return whole[size:], err
}

// buffered reports whether next would not have to wait.
func (c *client) buffered() bool {
	for {
		if skip := c.dialect.skip; skip != "" {
			for bytes.HasPrefix(c.rest, []byte(skip)) {
				c.rest = bytes.TrimPrefix(c.rest[len(skip):], []byte("\n"))
			}
		}
		if len(c.rest) > 0 {
			return true
		}
		if !c.frameBuffered() {
			return false
		}
		c.rest, _ = c.nextFrame() // does not read, so it cannot fail
	}
}

func (c *client) frameBuffered() bool {
	n := c.r.Buffered()
	if n < 4 {
		return false
	}
	head, _ := c.r.Peek(4) // they are there
	if head[1] == 126 {
		return n >= 4+int(binary.BigEndian.Uint16(head[2:]))
	}
	return n >= 2+int(head[1])
}

// frame returns a client's frame. All have one mask, and are made before the
// clock starts: masking costs the server its share and the load nothing.
func frame(message string, isBinary bool) []byte {
	mask := [4]byte{0x1b, 0xc5, 0x3d, 0xe7}
	b := []byte{0x81}
	if isBinary {
		b[0] = 0x82
	}
	if len(message) < 126 {
		b = append(b, 0x80|byte(len(message)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(message)))
	}
	b = append(b, mask[:]...)
	for i := range len(message) {
		b = append(b, message[i]^mask[i%4])
	}
	return b
}

// connect opens n sessions, a few at a time.
func connect(server *child, n, buffer int) ([]*client, error) {
	clients, d := make([]*client, n), dialectOf(server.name)
	err := inParallel(8, n, func(i int) (err error) {
		clients[i], err = dial(server.addr, d, buffer)
		return err
	})
	if err != nil {
		hangUp(clients)
		return nil, err
	}
	return clients, nil
}

// inParallel calls do for 0 to n-1, on so many goroutines.
func inParallel(goroutines, n int, do func(i int) error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += goroutines {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func hangUp(clients []*client) {
	for _, c := range clients {
		if c != nil {
			_ = c.conn.Close()
		}
	}
}
