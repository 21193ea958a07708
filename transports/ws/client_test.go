package ws

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// A client speaks raw frames.
type client struct {
	net.Conn
	br *bufio.Reader
}

func newClient(conn net.Conn) *client { return &client{conn, bufio.NewReader(conn)} }

func (c *client) readHead(t testing.TB) (int, http.Header) {
	t.Helper()
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal("reading the answer:", err)
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header
}

// frame builds a masked frame.
func frame(first byte, payload string) []byte {
	b := appendHeader(nil, first, len(payload))
	b[1] |= 0x80
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func (c *client) put(t testing.TB, frames ...[]byte) {
	t.Helper()
	if _, err := c.Write(slices.Concat(frames...)); err != nil {
		t.Fatal("client writes:", err)
	}
}

// read reads a frame.
func (c *client) read() (first byte, payload []byte, err error) {
	var header [8]byte
	if _, err := io.ReadFull(c.br, header[:2]); err != nil {
		return 0, nil, err
	}
	first, n := header[0], int(header[1])
	switch n {
	case 126:
		_, err = io.ReadFull(c.br, header[:2])
		n = int(binary.BigEndian.Uint16(header[:]))
	case 127:
		_, err = io.ReadFull(c.br, header[:8])
		n = int(binary.BigEndian.Uint64(header[:]))
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.br, payload)
	return first, payload, err
}

func (c *client) want(t testing.TB, first byte, payload string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	f, p, err := c.read()
	if err != nil {
		t.Fatalf("reading a frame: %v; want %x %q", err, first, payload)
	}
	if f != first || string(p) != payload {
		t.Fatalf("got frame %x %.80q, want %x %.80q", f, p, first, payload)
	}
}

// wantEOF expects the end, and not by a reset.
func (c *client) wantEOF(t testing.TB) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := c.read(); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want the end of the connection", err)
	}
}
