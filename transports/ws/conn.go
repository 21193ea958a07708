package ws

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

// The close codes that are sent (RFC 6455 section 7.4.1), besides those that
// gws chooses.
const (
	codeNone     uint16 = 0
	codeNormal   uint16 = 1000
	codeProtocol uint16 = 1002
	codeTooLarge uint16 = 1009
	codeInternal uint16 = 1011
)

// errEnded is what Send returns once the connection is over.
var errEnded = &transports.CloseError{Reason: transports.TransportClose, Err: net.ErrClosed}

// A conn is one WebSocket. The goroutine that serves the connection reads,
// and it alone calls Receive; it ends when the TCP connection does.
type conn struct {
	gather gather

	// Fixed before the first Ready.
	transport *transport
	socket    *gws.Conn
	sink      transports.Sink
	threshold int  // with deflate, the size from which messages are compressed
	deflate   bool // permessage-deflate was negotiated
	takeover  bool // with deflate, each message depends on those before
	dialect   dialect

	closed atomic.Bool // Closed was called, or never will be: input is dropped

	// Owned by the reading goroutine.
	passing bool  // a packet is being passed to the session: a panic is not gws's
	deaf    bool  // the session takes nothing more
	readErr error // why gws stopped reading
}

var _ transports.Conn = (*conn)(nil)

func newConn(t *transport, netConn net.Conn) *conn {
	c := &conn{transport: t}
	c.gather.net = netConn
	c.gather.raw = rawConn(netConn)
	c.gather.step = c.gather.writeStep
	c.gather.conn = c
	return c
}

// Send implements transports.Conn. The batch is copied.
func (c *conn) Send(batch []transports.Packet) (ready bool, err error) {
	if c.deflate {
		for i := range batch {
			if err := c.appendDeflated(&batch[i]); err != nil {
				return c.sent(false, err)
			}
		}
		return c.sent(c.gather.flush(true))
	}
	g := &c.gather
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		return false, errEnded
	}
	if len(batch) == 1 && batch[0].Shared != nil && batch[0].Type != transports.Close &&
		g.raw != nil && g.unsent == nil && !g.writing {
		return c.sent(g.flushLocked(sharedFrame(&batch[0], c.dialect), true))
	}
	size := 0
	for i := range batch {
		size += maxHeader + maxMask + payloadLen(&batch[i], c.dialect)
	}
	b := g.bufferLocked()
	b.grow(size)
	for i := range batch {
		b.data = c.appendPlain(b.data, &batch[i])
	}
	return c.sent(g.flushLocked(nil, true))
}

// sent turns the outcome of a flush into that of Send.
func (c *conn) sent(ready bool, err error) (bool, error) {
	if err == nil {
		return ready, nil
	}
	_ = c.gather.net.Close() // the reading goroutine notices, and reports
	return false, &transports.CloseError{Reason: transports.TransportClose, Err: err}
}

// appendPlain appends the frame of a packet. Close has none: the close frame
// of the WebSocket says it.
func (c *conn) appendPlain(dst []byte, p *transports.Packet) []byte {
	switch {
	case p.Type == transports.Close:
		return dst
	case c.gather.masked:
		return appendMasked(dst, p)
	case p.Shared != nil:
		return append(dst, sharedFrame(p, c.dialect)...)
	default:
		return appendFrame(dst, p, c.dialect)
	}
}

// appendDeflated is appendPlain for a connection with permessage-deflate. Small
// messages are not worth it; plain frames may stand among compressed ones.
func (c *conn) appendDeflated(p *transports.Packet) error {
	g := &c.gather
	switch {
	case p.Type == transports.Close:
		return nil
	case p.NoCompress || payloadLen(p, c.dialect) < c.threshold:
		b := newBuffer()
		defer b.free()
		b.data = c.appendPlain(b.data, p)
		return g.append(b.data)
	case p.Shared != nil && !c.takeover:
		frame := p.Shared.Form(c.transport.deflatedForms[c.dialect], func() any { return c.deflatedFrame(p) })
		return g.append(frame.([]byte)) //nolint:forcetypeassert // nothing else is kept under our key
	default:
		return c.writeDeflated(p)
	}
}

// deflatedFrame returns the compressed frame of a packet.
func (c *conn) deflatedFrame(p *transports.Packet) []byte {
	b := newBuffer()
	defer b.free()
	c.gather.captureInto(b)
	err := c.writeDeflated(p)
	c.gather.captureInto(nil)
	if err != nil {
		return appendFrame(nil, p, c.dialect) // this connection is over; the others can do with a plain frame
	}
	return bytes.Clone(b.data)
}

// writeDeflated lets gws compress and frame a packet and pass it to the
// gather.
func (c *conn) writeDeflated(p *transports.Packet) error {
	opcode := gws.OpcodeBinary
	if asText(p, c.dialect) {
		opcode = gws.OpcodeText
	}
	b := newBuffer()
	defer b.free()
	b.data = appendPayload(b.data, p, c.dialect)
	return c.socket.WriteMessage(opcode, b.data)
}

// Close implements transports.Conn.
func (c *conn) Close(cause error) { c.shut(codeNone, cause) }

// shut sends a close frame, from when on the peer has CloseTimeout to answer,
// and reports the end, unless it has been reported.
func (c *conn) shut(code uint16, cause error) {
	if !c.closed.CompareAndSwap(false, true) {
		return
	}
	c.sendClose(code)
	c.sink.Closed(cause)
}

// sendClose sends a close frame as the last frame, and limits the time that
// the connection has left.
func (c *conn) sendClose(code uint16) {
	g := &c.gather
	err := g.end(code)
	if err == nil {
		err = g.net.SetReadDeadline(time.Now().Add(c.transport.options.CloseTimeout))
	}
	if err != nil {
		_ = g.net.Close() // there is nobody to take leave of
	}
}

// lost reports the end of a connection that is gone already.
func (c *conn) lost(cause error) {
	if c.closed.CompareAndSwap(false, true) {
		c.sink.Closed(cause)
	}
}

// over is the last that happens to a connection.
func (c *conn) over() {
	if c.sink != nil {
		c.lost(errEnded) // if the session's side has ended the goroutine
	}
	c.gather.hangUp()
}

// writeFailed is called by the writing goroutine when it cannot go on.
func (c *conn) writeFailed(err error) {
	cause := &transports.CloseError{Reason: transports.TransportClose, Err: err}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		cause = &transports.CloseError{
			Reason: transports.TransportError,
			Err:    fmt.Errorf("%w: nothing taken within the write timeout", transports.ErrSlowConsumer),
		}
	}
	c.lost(cause)
	_ = c.gather.net.Close() // wakes the reading goroutine
}
