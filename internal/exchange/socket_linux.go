package exchange

import "syscall"

const tcpEstablished = 1 // TCP_ESTABLISHED of include/net/tcp_states.h

// endsBehindInput reports whether the peer has closed a TCP connection that
// has unread input, as every TLS client does that says goodbye properly.
// TCP_INFO begins with the state of the connection; the kernel cuts it to the
// four bytes that this call has room for.
func endsBehindInput(fd int) bool {
	info, err := syscall.GetsockoptInet4Addr(fd, syscall.IPPROTO_TCP, syscall.TCP_INFO)
	return err == nil && info[0] != tcpEstablished
}
