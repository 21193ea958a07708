package main

import (
	"net"
	"time"
)

// A slowListener accepts connections that carry a number of bytes per second
// down to the client, as a bad mobile network would.
type slowListener struct {
	net.Listener
	rate int
}

func (l slowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &slowConn{conn, l.rate}, err
}

type slowConn struct {
	net.Conn
	rate int
}

// Write lets a piece go each tenth of a second. The server does not wait for
// it: it goes on to collect what the client is to get next.
func (c *slowConn) Write(data []byte) (written int, err error) {
	const pause = time.Second / 10
	for piece := max(1, c.rate/10); written < len(data) && err == nil; {
		var n int
		n, err = c.Conn.Write(data[written:min(written+piece, len(data))])
		written += n
		time.Sleep(pause * time.Duration(n) / time.Duration(piece))
	}
	return written, err
}
