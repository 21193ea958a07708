package ws

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A gather is the one place where the bytes of a connection leave. What is to
// be sent is appended to a buffer, in order, by whoever has it; flush then
// tries to write all of it with one system call that does not block. What the
// socket does not take stays in the buffer, and a goroutine that exists only
// for that long writes it as the peer makes room. A connection that has
// nothing unsent holds no buffer and no goroutine.
//
// It is the net.Conn under gws, whose own writes (the handshake, compressed
// messages) are appended like all others. gws neither ends the connection nor
// sends close frames: the code that it would send is kept for conn, which ends
// connections.
type gather struct {
	net    net.Conn
	masked bool                  // this is a client's end
	source io.Reader             // what gws reads through this gather from; nil for a server, whose gws has a reader of its own
	raw    syscall.RawConn       // nil: every write may block, and is left to the goroutine
	step   func(fd uintptr) bool // writes some of current; made once, so that a write allocates nothing
	conn   *conn

	mu        sync.Mutex // guards what follows; never held during a write
	unsent    *buffer    // what is to be written next; nil when there is nothing
	ping      []byte     // payload of the newest ping that came while writing, to be answered next
	capture   *buffer    // takes the next message of gws instead of unsent
	closeCode uint16     // of the close frame that gws asked to send
	writing   bool       // somebody is writing, and goes on until nothing is unsent
	owed      bool       // Send returned false: Ready is to be called when nothing is unsent
	ended     bool       // the close frame is queued, or writing failed: nothing more is taken
	half      bool       // close the write side when nothing is unsent
	hungUp    bool       // the connection is over: no goroutine may start any more

	current *buffer        // owned by who is writing: what step writes
	writers sync.WaitGroup // the goroutine
}

var _ net.Conn = (*gather)(nil)

// bufferLocked returns the buffer to append to. The caller holds mu and has
// seen that ended is not set.
func (g *gather) bufferLocked() *buffer {
	if g.unsent == nil {
		g.unsent = newBuffer()
	}
	return g.unsent
}

// flush writes what is unsent, as far as that goes without waiting. ready is
// false if some of it is left to others to write; if owe is set, the session
// is told when they are done.
func (g *gather) flush(owe bool) (ready bool, err error) {
	g.mu.Lock()
	return g.flushLocked(nil, owe)
}

// flushLocked is flush for a caller that holds mu, which it releases. If frame
// is not nil it is written as if it had been appended, which spares a copy;
// nobody must be writing, and nothing be unsent, then.
func (g *gather) flushLocked(frame []byte, owe bool) (ready bool, err error) {
	if g.writing {
		g.owed = g.owed || owe
		g.mu.Unlock()
		return false, nil
	}
	g.writing = true
	for {
		b := g.takeLocked(frame)
		if b == nil {
			g.doneLocked(owe)
			return true, nil
		}
		if g.raw == nil {
			break // b is unsent still
		}
		frame = nil
		g.mu.Unlock()
		err = g.try(b)
		g.mu.Lock()
		if err != nil {
			b.free()
			g.failLocked()
			g.mu.Unlock()
			return false, err
		}
		if len(b.rest) > 0 {
			g.putBackLocked(b)
			break
		}
		b.free()
	}
	if g.hungUp {
		g.failLocked() // what could not leave is lost
		g.mu.Unlock()
		return false, net.ErrClosed
	}
	g.owed = g.owed || owe
	g.writers.Go(g.drain)
	g.mu.Unlock()
	return false, nil
}

// takeLocked takes what is to be written next. Without a descriptor to try it
// only looks.
func (g *gather) takeLocked(frame []byte) *buffer {
	if g.unsent == nil && g.ping != nil {
		b := g.bufferLocked()
		b.data = appendControl(b.data, pongFrame, g.ping, g.masked)
		g.ping = nil
	}
	if frame != nil {
		b := newBuffer()
		b.rest = frame
		return b
	}
	b := g.unsent
	switch {
	case b == nil:
	case len(b.data) == 0: // a batch may have had nothing to send
		g.unsent = nil
		b.free()
		return nil
	case g.raw != nil:
		g.unsent = nil
		b.rest = b.data
	}
	return b
}

// putBackLocked puts what a write left over in front of what was appended
// meanwhile.
func (g *gather) putBackLocked(b *buffer) {
	b.data = append(b.data[:0], b.rest...)
	b.rest = nil
	if later := g.unsent; later != nil {
		b.data = append(b.data, later.data...)
		later.free()
	}
	g.unsent = b
}

// doneLocked ends writing after everything has left. It releases mu.
// answered: the caller tells the session itself that the conn is ready.
func (g *gather) doneLocked(answered bool) {
	g.writing = false
	ready := g.owed && !answered && !g.ended
	g.owed = false
	half := g.half
	g.mu.Unlock()
	if half {
		g.closeWrite()
	}
	if ready {
		g.conn.sink.Ready()
	}
}

// failLocked drops everything: the connection takes no more.
func (g *gather) failLocked() {
	g.ended = true
	g.writing = false
	g.ping = nil
	if g.unsent != nil {
		g.unsent.free()
		g.unsent = nil
	}
}

// try makes one attempt to write b.rest, and removes from it what was taken.
func (g *gather) try(b *buffer) error {
	g.current = b
	err := g.raw.Write(g.step)
	g.current = nil
	if err == nil {
		err = b.err
	}
	return err
}

// writeStep is what try passes to the socket.
func (g *gather) writeStep(fd uintptr) bool {
	b := g.current
	n, err := writeSocket(fd, b.rest)
	b.rest = b.rest[n:]
	b.err = err
	return n > 0 || err != nil || !b.wait
}

// drain is the goroutine that writes what could not leave at once.
func (g *gather) drain() {
	g.mu.Lock()
	for {
		b := g.takeLocked(nil)
		if b == nil {
			g.doneLocked(false)
			return
		}
		g.unsent = nil
		g.mu.Unlock()
		err := g.writeAll(b)
		b.free()
		g.mu.Lock()
		if err != nil {
			g.failLocked()
			g.mu.Unlock()
			g.conn.writeFailed(err)
			return
		}
	}
}

// maxRecord is how much is written at a time where progress cannot be seen
// within one write. It is the size of a TLS record.
const maxRecord = 16 << 10

// writeAll writes b and waits for the peer as long as it takes something
// within WriteTimeout.
func (g *gather) writeAll(b *buffer) error {
	b.rest, b.wait = b.data, true
	for len(b.rest) > 0 {
		if err := g.net.SetWriteDeadline(time.Now().Add(g.conn.transport.options.WriteTimeout)); err != nil {
			return err
		}
		if g.raw != nil {
			if err := g.try(b); err != nil {
				return err
			}
			continue
		}
		n, err := g.net.Write(b.rest[:min(len(b.rest), maxRecord)])
		b.rest = b.rest[n:]
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return g.net.SetWriteDeadline(time.Time{}) // a passed deadline would fail the next attempt
}

// pong answers a ping. While there are unsent bytes only the newest ping is
// remembered, which RFC 6455 section 5.5.3 allows, so that a peer that pings
// and does not read costs nothing.
func (g *gather) pong(payload []byte) {
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return
	}
	g.ping = append([]byte{}, payload...) // not nil, even if empty
	if _, err := g.flushLocked(nil, false); err != nil {
		_ = g.net.Close() // the reading goroutine notices, and reports
	}
}

// end queues a close frame as the last thing to be sent, code 0 being one
// without a code, and writes it if that can be done at once.
func (g *gather) end(code uint16) error {
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return nil
	}
	b := g.bufferLocked()
	b.data = appendClose(b.data, code, g.masked)
	g.ended = true
	_, err := g.flushLocked(nil, false)
	return err
}

// finishWriting closes the write side as soon as nothing is unsent.
func (g *gather) finishWriting() {
	g.mu.Lock()
	g.half = true
	idle := !g.writing
	g.mu.Unlock()
	if idle {
		g.closeWrite()
	}
}

// closeWrite tells the peer that nothing more will come, where that can be
// said without ceasing to read.
func (g *gather) closeWrite() {
	if conn, ok := g.net.(interface{ CloseWrite() error }); ok {
		_ = conn.CloseWrite() // the connection is being closed anyway
		return
	}
	_ = g.net.Close()
}

// hangUp closes the connection and waits for the goroutine.
func (g *gather) hangUp() {
	g.mu.Lock()
	g.hungUp = true
	g.ended = true
	g.mu.Unlock()
	_ = g.net.Close() // whatever it says, the connection is gone
	g.writers.Wait()
}

// idle reports whether everything has left.
func (g *gather) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.writing
}

// append appends a finished frame.
func (g *gather) append(frame []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return errEnded
	}
	b := g.bufferLocked()
	b.data = append(b.data, frame...)
	return nil
}

// captureInto makes the next message that gws writes go into b, or, with nil,
// where it belongs.
func (g *gather) captureInto(b *buffer) {
	g.mu.Lock()
	g.capture = b
	g.mu.Unlock()
}

// insertFields adds lines to the head of the 101, which gws has written and
// which is all there is yet.
func (g *gather) insertFields(lines []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b := g.unsent; b != nil {
		end := len(b.data) - len("\r\n")
		b.data = append(append(b.data[:end], lines...), "\r\n"...)
	}
}

// askedToClose returns the code of the close frame that gws wanted to send.
func (g *gather) askedToClose() uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closeCode
}

// Write implements net.Conn for gws, which passes the head of the 101 and then
// one whole frame at a time. It appends and does not write.
func (g *gather) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p[0] == closeFrame {
		g.closeCode = closeCodeOf(p, g.masked)
		return len(p), nil
	}
	if g.ended {
		return 0, net.ErrClosed
	}
	b := g.capture
	if b == nil {
		b = g.bufferLocked()
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// Read implements net.Conn. On a server gws reads through the reader it was
// given, and not from here.
func (g *gather) Read(p []byte) (int, error) {
	if g.source != nil {
		return g.source.Read(p)
	}
	return g.net.Read(p)
}

// Close implements net.Conn. It does nothing: conn ends connections.
func (g *gather) Close() error { return nil }

// LocalAddr implements net.Conn.
func (g *gather) LocalAddr() net.Addr { return g.net.LocalAddr() }

// RemoteAddr implements net.Conn.
func (g *gather) RemoteAddr() net.Addr { return g.net.RemoteAddr() }

// SetDeadline implements net.Conn. It does nothing, as do the next two: gws
// sets deadlines for the 101 alone, and the gather has its own.
func (g *gather) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (g *gather) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (g *gather) SetWriteDeadline(time.Time) error { return nil }

// takeBack takes out what was appended and not written.
func (g *gather) takeBack() *buffer {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.unsent
	g.unsent = nil
	return b
}
