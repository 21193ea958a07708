//go:build !unix

package exchange

import "net"

// socketOf returns nil: without a way to look at a socket, a parked poll ends
// when there is something to answer.
func socketOf(net.Conn) net.Conn { return nil }

func waitReadable(net.Conn) bool { return false }
