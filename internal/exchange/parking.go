package exchange

import (
	"net"
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// parking blocks a fasthttp handler until it is woken or its client leaves.
// fasthttp does not read a connection while a handler runs, so nobody but the
// handler could notice that the client is gone: it waits on the socket itself,
// and is woken by a read deadline. No further goroutine is needed for it.
type parking struct {
	wake chan struct{} // closed by unpark

	mu    sync.Mutex // guards what follows
	conn  net.Conn   // that the handler waits on, nil if it does not
	awake bool       // unpark was called
}

func (p *parking) park(conn net.Conn) error {
	socket := socketOf(conn)
	if socket != nil && p.begin(socket) {
		left := waitReadable(socket) // unblocked by unpark as well
		awake := p.end(socket)
		if left && !awake {
			return transports.ErrClientGone
		}
	}
	// Woken already, or there is no socket to wait on, or the client has sent
	// more on it: then the end of the connection cannot be seen behind that.
	<-p.wake
	return nil
}

// begin prepares to wait on a socket; it reports false if there is nothing to
// wait for.
func (p *parking) begin(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The server's read timeout is not for a poll that is parked.
	if p.awake || conn.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	p.conn = conn
	return true
}

func (p *parking) end(conn net.Conn) (awake bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = nil
	if p.awake {
		_ = conn.SetReadDeadline(time.Time{}) // fails only if the connection has ended
	}
	return p.awake
}

func (p *parking) unpark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awake = true
	if p.conn != nil {
		_ = p.conn.SetReadDeadline(longAgo) // fails only if the connection has ended
	}
	close(p.wake)
}
