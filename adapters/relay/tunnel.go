package relay

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// tunnelBuffer is how much of one direction is read at a time. It is held for as
// long as the tunnel lives.
const tunnelBuffer = 4 << 10

// A tunnel joins a client with the server that has its session, once both have left
// HTTP.
type tunnel struct {
	relay  *Relay
	stream io.ReadWriteCloser // to the other server
	head   []byte             // of the 101
	cancel context.CancelFunc // of the request that opened the stream

	once sync.Once
	mu   sync.Mutex // guards what follows
	conn net.Conn   // of the client, when it has been taken over
	over bool
}

// upgrade passes on a request that asks to leave HTTP. It leaves when the tunnel
// ends, or there is none.
func (r *Relay) upgrade(ex transports.Exchange, o *owner, req *http.Request) {
	ctx, cancel := context.WithCancel(r.ctx)
	timer := time.AfterFunc(upgradeTime, cancel)
	a, err := r.ask(req.WithContext(ctx))
	if !timer.Stop() && err == nil && a.stream != nil {
		err = context.DeadlineExceeded
		_ = a.stream.Close()
	}
	if err != nil || a.stream == nil {
		cancel()
		r.leave()
		if err != nil {
			r.failed(ex, o, err)
			return
		}
		ex.SetHeader("Connection", "close") // as the other server does when it refuses
		a.respond(ex)
		return
	}
	t := &tunnel{relay: r, stream: a.stream, head: head(a.header, ex), cancel: cancel}
	if !t.open() {
		_ = ex.Respond(http.StatusServiceUnavailable, nil)
		return
	}
	if err := ex.Hijack(t.serve); err != nil {
		t.end()
		r.stats.failed.Add(1)
		r.warn(&r.quiet.failed, "a WebSocket cannot be tunnelled", slog.Any("error", err))
		_ = ex.Respond(http.StatusBadRequest, nil)
	}
}

// head is the head of the 101: what the other server has said, and what middleware
// in front has set.
func head(h http.Header, ex transports.Exchange) []byte {
	h.Del(header)
	for name, value := range ex.ResponseHeaders() {
		name = http.CanonicalHeaderKey(name)
		switch name {
		case "Content-Length", "Content-Type", "Date", "Server", "Connection", "Upgrade", "Transfer-Encoding":
			continue
		}
		if _, ok := h[name]; !ok || name == "Set-Cookie" {
			h.Add(name, value)
		}
	}
	b := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(b) // a buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// open makes the tunnel known to Close. If that has been called already the tunnel
// is over.
func (t *tunnel) open() bool {
	t.relay.mu.Lock()
	closed := t.relay.closed
	if !closed {
		t.relay.tunnels[t] = struct{}{}
	}
	t.relay.mu.Unlock()
	if closed {
		t.end()
	}
	return !closed
}

// end closes both sides, once.
func (t *tunnel) end() {
	t.once.Do(func() {
		t.mu.Lock()
		t.over = true
		conn := t.conn
		t.mu.Unlock()
		if conn != nil {
			_ = conn.Close()
		}
		_ = t.stream.Close()
		t.cancel()
		t.relay.mu.Lock()
		delete(t.relay.tunnels, t)
		t.relay.mu.Unlock()
		t.relay.leave()
	})
}

// take is given the connection of the client. It reports false if the tunnel is
// over already.
func (t *tunnel) take(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn = conn
	return !t.over
}

// serve copies in both directions until one side ends. early is what the client has
// sent already.
func (t *tunnel) serve(conn net.Conn, early []byte) {
	if !t.take(conn) || !t.relay.hold() {
		_ = conn.Close()
		t.end()
		return
	}
	defer t.relay.wg.Done()
	t.relay.stats.tunnels.Add(1)
	finished := make(chan struct{})
	go func() { // waited for below; ends with the tunnel
		defer close(finished)
		defer t.end()
		to := &deadlined{conn: conn, timeout: t.relay.options.WriteTimeout}
		if _, err := to.Write(t.head); err == nil {
			copyAll(to, t.stream)
		}
	}()
	if _, err := t.stream.Write(early); err == nil {
		copyAll(t.stream, conn)
	}
	t.end()
	<-finished
}

// copyAll copies until one side ends, with a small buffer.
func copyAll(dst io.Writer, src io.Reader) {
	// io.CopyBuffer would look for ways without the buffer, which have larger ones.
	buffer := make([]byte, tunnelBuffer)
	for {
		n, err := src.Read(buffer)
		if n > 0 {
			if _, failed := dst.Write(buffer[:n]); failed != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A deadlined writer gives up on a client that does not read: nobody would see
// otherwise that the session has ended.
type deadlined struct {
	conn    net.Conn
	timeout time.Duration
}

// Write implements io.Writer.
func (d *deadlined) Write(p []byte) (int, error) {
	if err := d.conn.SetWriteDeadline(time.Now().Add(d.timeout)); err != nil {
		return 0, err
	}
	return d.conn.Write(p)
}
