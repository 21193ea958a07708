//go:build !unix

package ws

import (
	"net"
	"syscall"
)

// rawConn returns nil: there is no write that does not block.
func rawConn(net.Conn) syscall.RawConn { return nil }

// writeSocket is never called, because rawConn gives access to none.
func writeSocket(uintptr, []byte) (int, error) { return 0, syscall.EINVAL }
