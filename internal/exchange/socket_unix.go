//go:build unix

package exchange

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// socketOf returns the socket under a connection, or nil if there is none.
func socketOf(conn net.Conn) net.Conn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if _, ok := conn.(syscall.Conn); ok {
		return conn
	}
	return nil
}

// waitReadable waits until something can be read from a socket, and takes
// nothing of it. It reports whether that something is the end of the
// connection. A read deadline ends the wait, with false.
func waitReadable(conn net.Conn) (ended bool) {
	raw, err := conn.(syscall.Conn).SyscallConn() //nolint:forcetypeassert // socketOf has seen to it
	if err != nil {
		return true
	}
	_ = raw.Read(func(fd uintptr) bool { // its error is the deadline, or the end that another goroutine made
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			return false
		}
		ended = n <= 0
		return true
	})
	return ended
}
