package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
)

// serveLimit is what the machine can do: raw sockets, no library, nothing
// checked, and one write for whatever has gathered. Nobody should serve people
// with it.
func serveLimit(l net.Listener) error {
	h := &limit{}
	for i := range h.shards {
		h.shards[i] = &shard{}
		h.shards[i].cond.L = &h.shards[i].mu
		go h.shards[i].run()
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go h.serve(conn)
	}
}

// A limit is a server. Broadcasts are written by its shards.
type limit struct {
	shards [2]*shard
	mu     sync.Mutex // guards next
	next   int
}

// A shard writes broadcasts to its connections, as many at once as have
// gathered while it wrote the last.
type shard struct {
	mu    sync.Mutex // guards what follows
	cond  sync.Cond
	conns []net.Conn
	out   []byte
}

func (s *shard) run() {
	var out []byte
	for {
		s.mu.Lock()
		for len(s.out) == 0 {
			s.cond.Wait()
		}
		out, s.out = s.out, out[:0]
		conns := s.conns
		s.mu.Unlock()
		for _, conn := range conns {
			_, _ = conn.Write(out)
		}
	}
}

func (h *limit) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReaderSize(conn, 16<<10)
	var key string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
		if len(line) > 19 && line[:19] == "Sec-WebSocket-Key: " {
			key = line[19 : len(line)-2]
		}
	}
	out := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + key + "\r\n\r\n")
	out = appendText(out, fmt.Appendf(nil, openRaw, 0))
	for {
		if r.Buffered() < 6 { // nothing more to answer together
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		message, err := readMasked(r)
		if err != nil {
			return
		}
		switch {
		case bytes.HasPrefix(message, []byte(`421["ack",`)):
			reply := message[6:]
			copy(reply, "431[")
			out = appendText(out, reply)
		case bytes.HasPrefix(message, []byte(`42["cast"`)):
			for _, s := range h.shards {
				s.mu.Lock()
				s.out = appendText(s.out, message)
				s.cond.Signal()
				s.mu.Unlock()
			}
		case string(message) == "40":
			h.mu.Lock()
			h.next++
			s := h.shards[h.next%len(h.shards)]
			h.mu.Unlock()
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			out = appendText(out, []byte(`40{"sid":"x"}`))
		default:
			out = appendText(out, message)
		}
	}
}

// readMasked reads a client's frame. The message is valid until the next.
func readMasked(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	n, size := int(head[1]&0x7f), 2
	if n == 126 {
		n, size = int(binary.BigEndian.Uint16(head[2:])), 4
	}
	whole, err := r.Peek(size + 4 + n)
	if err != nil {
		return nil, err
	}
	mask, message := whole[size:size+4], whole[size+4:]
	for i := range message {
		message[i] ^= mask[i%4]
	}
	_, err = r.Discard(len(whole))
	return message, err
}

func appendText(dst, message []byte) []byte {
	dst = append(dst, 0x81)
	if len(message) < 126 {
		dst = append(dst, byte(len(message)))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(message)))
	}
	return append(dst, message...)
}
