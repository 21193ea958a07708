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
	conn net.Conn
	r    *bufio.Reader
}

// dial opens a session, WebSocket from the start, and joins the main namespace.
func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReaderSize(conn, 4096)}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *client) open() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return err
	}
	for line := ""; line != "\r\n"; {
		if line, err = c.r.ReadString('\n'); err != nil {
			return err
		}
	}
	if err := c.expect("0{"); err != nil {
		return err
	}
	if _, err := c.conn.Write(frame("40")); err != nil {
		return err
	}
	return c.expect("40{")
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

// frame returns a client's text frame. All have one mask, and are made before
// the clock starts: masking costs the server its share and the load nothing.
func frame(text string) []byte {
	mask := [4]byte{0x1b, 0xc5, 0x3d, 0xe7}
	b := []byte{0x81}
	if len(text) < 126 {
		b = append(b, 0x80|byte(len(text)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(text)))
	}
	b = append(b, mask[:]...)
	for i := range len(text) {
		b = append(b, text[i]^mask[i%4])
	}
	return b
}

// connect opens n sessions, a few at a time.
func connect(addr string, n int) ([]*client, error) {
	clients := make([]*client, n)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				clients[i], errs[w] = dial(addr)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		hangUp(clients)
		return nil, err
	}
	return clients, nil
}

func hangUp(clients []*client) {
	for _, c := range clients {
		if c != nil {
			_ = c.conn.Close()
		}
	}
}
