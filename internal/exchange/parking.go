package exchange

import (
	"net"
	"sync"
	"time"

	"github.com/upshift-go/upshift/internal/exchange/nethttp"
	"github.com/upshift-go/upshift/transports"
)

// parking blocks a fasthttp handler until it is woken or its client leaves.
// fasthttp does not read a connection while a handler runs, so nobody but the
// handler could notice that the client is gone: it waits on the socket itself,
// and is woken by a read deadline. No further goroutine is needed for it.
type parking struct {
	mu     sync.Mutex    // guards what follows
	awake  bool          // unpark was called
	socket socket        // that the handler waits on; nil if it does not
	wake   chan struct{} // that the handler waits on; nil if it does not
}

// park returns when unpark has been called, or ErrClientGone if the client is
// gone. The read deadline of a connection that it waited on is cleared.
func (p *parking) park(conn net.Conn) error {
	if s := socketOf(conn); s != nil && p.begin(s) {
		gone := waitForEnd(s) // or for unpark
		switch awake := p.end(); {
		case awake:
			return nil
		case gone:
			return transports.ErrClientGone
		}
	}
	// There is no socket to look at, or somebody else plays with its deadline:
	// that the client has left cannot be seen.
	if wake := p.channel(); wake != nil {
		<-wake
	}
	return nil
}

// begin prepares to wait on a socket; it reports false if there is nothing to
// wait for. The server's read timeout is not for a poll that is parked.
func (p *parking) begin(s socket) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awake || s.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	p.socket = s
	return true
}

func (p *parking) end() (awake bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awake {
		_ = p.socket.SetReadDeadline(time.Time{}) // fails only if the connection has ended
	}
	p.socket = nil
	return p.awake
}

// channel returns what unpark will close, or nil if it has been called.
func (p *parking) channel() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awake {
		return nil
	}
	p.wake = make(chan struct{})
	return p.wake
}

func (p *parking) unpark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awake = true
	if p.socket != nil {
		_ = p.socket.SetReadDeadline(nethttp.LongAgo) // fails only if the connection has ended
	}
	if p.wake != nil {
		close(p.wake)
	}
}
