package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A client is one WebSocket, spoken in raw frames, so that the load costs as
// little as can be.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReaderSize(conn, 512)}
	_, err = io.WriteString(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	for line := ""; line != "\r\n"; {
		if line, err = c.r.ReadString('\n'); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	// The open packet, then CONNECT and its answer.
	if err = c.skip(); err == nil {
		if _, err = conn.Write(frame("40")); err == nil {
			err = c.skip()
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// frame returns a client's text frame. The mask is zero, which is a mask like
// any other and costs the load generator nothing.
func frame(text string) []byte {
	b := []byte{0x81}
	if len(text) < 126 {
		b = append(b, 0x80|byte(len(text)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(text)))
	}
	return append(append(b, 0, 0, 0, 0), text...)
}

// skip reads one frame.
func (c *client) skip() error {
	head, err := c.r.Peek(2)
	if err != nil {
		return err
	}
	n, size := int(head[1]), 2
	if n == 126 {
		if head, err = c.r.Peek(4); err != nil {
			return err
		}
		n, size = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	_, err = c.r.Discard(size + n)
	return err
}

// whole reports whether a whole frame has been read.
func (c *client) whole() bool {
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

// A load is something to do to a server for a while.
type load struct {
	name    string
	clients int
	// run counts messages until the deadline.
	run func(clients []*client, until time.Time) (messages int64, err error)
}

func payload(size int) string {
	return `{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`
}

// echo keeps window requests in flight on every connection.
func echo(text string, window int) func([]*client, time.Time) (int64, error) {
	one := frame(text)
	return func(clients []*client, until time.Time) (int64, error) {
		var total atomic.Int64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() {
				n, err := c.echo(one, window, until)
				total.Add(n)
				if err != nil {
					failed.Store(&err)
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return 0, *err
		}
		return total.Load(), nil
	}
}

func (c *client) echo(one []byte, window int, until time.Time) (n int64, err error) {
	burst := bytes.Repeat(one, window)
	if _, err := c.conn.Write(burst); err != nil {
		return 0, err
	}
	for inFlight := window; inFlight > 0; {
		if err := c.skip(); err != nil {
			return n, err
		}
		answered := 1
		for c.whole() {
			if err := c.skip(); err != nil {
				return n, err
			}
			answered++
		}
		n += int64(answered)
		if time.Now().After(until) {
			inFlight -= answered
			continue
		}
		if _, err := c.conn.Write(burst[:answered*len(one)]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// cast keeps window broadcasts in flight, from the first connection to all.
func cast(text string, window int) func([]*client, time.Time) (int64, error) {
	one := frame(text)
	return func(clients []*client, until time.Time) (int64, error) {
		var casts, deliveries atomic.Int64
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for _, c := range clients[1:] {
			wg.Go(func() {
				for seen := int64(0); ; seen++ {
					select {
					case <-stop:
						if seen == casts.Load() {
							return
						}
					default:
					}
					if c.conn.SetReadDeadline(time.Now().Add(time.Second)) != nil || c.skip() != nil {
						return
					}
					deliveries.Add(1)
				}
			})
		}
		n, err := clients[0].echo(one, window, until)
		casts.Store(n)
		close(stop)
		wg.Wait()
		if err == nil && deliveries.Load() != n*int64(len(clients)-1) {
			err = fmt.Errorf("%d of %d deliveries came", deliveries.Load(), n*int64(len(clients)-1))
		}
		return deliveries.Load() + n, err
	}
}
