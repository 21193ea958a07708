package ws

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

// start attaches a connection whose 101 is in the gather to its session, and
// reports whether there is something to read.
func (c *conn) start(attach func(transports.Conn) (transports.Sink, error)) bool {
	sink, err := attach(c)
	if err != nil {
		c.closed.Store(true) // nobody to report to
		c.sendClose(codeNone)
		c.linger()
		return false
	}
	c.sink = sink
	if err := guard(sink.Ready); err != nil {
		c.shut(codeInternal, transportError(err))
	}
	// The 101 waited until here so that it could leave together with what the
	// session had to say.
	if _, err := c.gather.flush(false); err != nil {
		c.lost(&transports.CloseError{Reason: transports.TransportClose, Err: err})
		return false
	}
	return true
}

// read passes on what the client sends, until nothing more can be read. This is
// where a connection waits, so what it has on the stack is to be little: the
// runtime halves a stack of which less than a quarter is in use.
func (c *conn) read() {
	defer c.readLoopEnded()
	c.socket.ReadLoop()
}

// readLoopEnded is deferred by read.
func (c *conn) readLoopEnded() {
	v := recover()
	switch {
	case v == nil && c.passing:
		return // the session's side has ended this goroutine
	case v == nil:
		c.readEnded(c.readErr)
		return
	case c.passing:
		c.shut(codeInternal, transportError(panicError(v)))
	default:
		// gws panics over a frame whose length has its highest bit set. Its
		// state is unknown then, and nothing is read through it any more.
		c.shut(codeProtocol, transportError(panicError(v)))
	}
	c.linger()
}

// readEnded is told why gws stopped reading.
func (c *conn) readEnded(err error) {
	code := c.gather.askedToClose()
	peerClosed := false
	if _, peerClosed = errors.AsType[*gws.CloseError](err); peerClosed {
		c.shut(code, &transports.CloseError{Reason: transports.TransportClose, Err: err})
		if c.gather.idle() {
			return
		}
		c.linger() // for the answer to leave
		return
	}
	// To a peer that broke the protocol gws wants to say so; when reading
	// failed, that all is well.
	if code == codeNormal {
		c.lost(&transports.CloseError{Reason: transports.TransportClose, Err: err})
		return
	}
	// A message that is too large only after decompression is an internal
	// error to gws, with the right code behind it.
	coded, ok := errors.AsType[interface {
		error
		Uint16() uint16
	}](err)
	if ok && coded.Uint16() == codeTooLarge {
		code = codeTooLarge
		err = fmt.Errorf("%w: %w", transports.ErrPayloadTooLarge, err)
	}
	c.shut(code, transportError(err))
	c.linger()
}

// linger drops what the peer still sends until it closes or its time is up.
// Closing a connection with input that was not read would make the kernel
// reset it, and the close frame might never be seen.
func (c *conn) linger() {
	c.gather.finishWriting()
	_, _ = io.Copy(io.Discard, c.gather.net) // the end is all that matters
}

func transportError(err error) *transports.CloseError {
	return &transports.CloseError{Reason: transports.TransportError, Err: err}
}

// guard calls f and turns a panic into an error.
func guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
	}()
	f()
	return nil
}

func panicError(v any) error { return fmt.Errorf("ws: panic: %v\n%s", v, debug.Stack()) }

// events receives what gws reads, for all connections.
type events struct{ gws.BuiltinEventHandler }

func connOf(socket *gws.Conn) *conn {
	return socket.NetConn().(*gather).conn //nolint:forcetypeassert // every upgrade is given a gather
}

// OnPing implements gws.Event.
func (events) OnPing(socket *gws.Conn, payload []byte) { connOf(socket).gather.pong(payload) }

// OnClose implements gws.Event.
func (events) OnClose(socket *gws.Conn, err error) { connOf(socket).readErr = err }

// OnMessage implements gws.Event.
func (events) OnMessage(socket *gws.Conn, message *gws.Message) {
	c := connOf(socket)
	if !c.deaf && !c.closed.Load() {
		c.receive(message.Opcode == gws.OpcodeText, message.Bytes())
	}
	_ = message.Close() // returns the buffer to its pool; it has no errors
}

// receive passes on the packet in a message. data is gws's.
func (c *conn) receive(text bool, data []byte) {
	packet, ok, err := c.decode(text, data)
	switch {
	case err != nil:
		c.shut(codeNone, err)
		return
	case !ok:
		return
	case packet.Type == transports.Close:
		// Not something that clients say on a WebSocket, but its meaning is
		// plain.
		c.shut(codeNone, &transports.CloseError{Reason: transports.TransportClose})
		return
	}
	c.passing = true
	c.deaf = c.sink.Receive(packet) != nil
	c.passing = false
}

// decode reads the packet in a message. ok is false if there is none to be
// passed on.
func (c *conn) decode(text bool, data []byte) (packet transports.Packet, ok bool, err error) {
	old := c.dialect >= revision3
	base64 := text && len(data) > 0 && data[0] == 'b'
	switch {
	case base64 && old:
		return decodeRevision3(data[1:], true)
	case base64:
		packet = transports.Packet{Type: transports.Message, Binary: true}
		packet.Data, err = decodeBase64(data[1:])
	case text:
		packet, err = transports.ParseText(data)
	case old:
		return decodeRevision3(data, false)
	default:
		packet = transports.Packet{Type: transports.Message, Binary: true, Data: data}
	}
	return packet, err == nil, err
}
