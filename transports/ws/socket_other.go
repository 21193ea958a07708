//go:build !unix

package ws

import (
	"net"
	"syscall"
)

// rawConn returns nil: there is no read or write that does not block.
func rawConn(net.Conn) syscall.RawConn { return nil }

// readSocket is never called, because rawConn gives access to none.
func readSocket(uintptr, []byte) (int, error) { return 0, syscall.EINVAL }

// writeSocket is never called, because rawConn gives access to none.
func writeSocket(uintptr, []byte) (int, error) { return 0, syscall.EINVAL }
