//go:build !unix || aix || solaris

package exchange

// usable returns nil: without a way to look at a socket, a parked poll ends
// when there is something to answer.
func usable(socket) socket { return nil }

// waitForEnd is never called, because no socket is usable.
func waitForEnd(socket) bool { return false }
