//go:build unix && !aix && !solaris

package exchange

import (
	"errors"
	"os"
	"syscall"
)

func usable(s socket) socket { return s }

// waitForEnd waits until the connection ends, and reads nothing of it. A read
// deadline ends the wait too; it returns false then.
//
// What the client has sent ahead, such as a pipelined request, stays where it
// is: the pollers of these systems report a change, not a state, so input that
// is left alone does not wake the goroutine twice.
func waitForEnd(s socket) (gone bool) {
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Read(func(fd uintptr) bool {
		gone = hasEnded(int(fd))
		return gone
	})
	return gone || !errors.Is(err, os.ErrDeadlineExceeded)
}

func hasEnded(fd int) bool {
	for {
		var b [1]byte
		n, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil || n == 0:
			return true
		default:
			return endsBehindInput(fd)
		}
	}
}
