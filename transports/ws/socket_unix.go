//go:build unix

package ws

import (
	"io"
	"net"
	"syscall"
)

// rawConn returns access to the descriptor of a connection that writes
// straight to a socket, or nil. It looks at the concrete type: a type that
// embeds such a connection would be bypassed by it.
func rawConn(conn net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// readSocket calls read(2) once. It reports 0, nil if there is nothing to read
// yet, and io.EOF at the end.
func readSocket(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// writeSocket calls write(2) once. It reports 0, nil if the socket is full.
func writeSocket(fd uintptr, p []byte) (int, error) {
	const most = 1 << 30 // some systems refuse more
	for {
		n, err := syscall.Write(int(fd), p[:min(len(p), most)])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.ErrUnexpectedEOF
		}
		return n, nil
	}
}
