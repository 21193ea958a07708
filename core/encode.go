package core

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// encoded is a Socket.IO packet in the form that sessions take: a header and
// its attachments, which travel together. The lists are pooled; the bytes are
// not, since sessions keep them, but for those of encodeOnce.
type encoded struct {
	packet codec.Packet
	frames []codec.Frame
	list   []transports.Packet
}

var encodedPool = sync.Pool{New: func() any { return new(encoded) }}

// encode encodes p. The caller releases the result when it has been queued.
func (srv *Server) encode(p codec.Packet) (*encoded, error) {
	e := encodedPool.Get().(*encoded) //nolint:forcetypeassert // the pool holds nothing else
	if err := e.encode(srv, p); err != nil {
		return nil, err
	}
	return e, nil
}

// encode fills in e, or releases it.
func (e *encoded) encode(srv *Server, p codec.Packet) error {
	e.packet = p
	var err error
	e.frames, err = srv.options.Codec.Encode(e.frames, &e.packet)
	if err != nil {
		e.release()
		return err
	}
	for _, f := range e.frames {
		e.list = append(e.list, transports.Packet{Type: transports.Message, Binary: f.Binary, Data: f.Data})
	}
	return nil
}

// encodeOnce is encode for a packet that is sent to one client, once: the memory
// of its header is used again when it has left.
func (srv *Server) encodeOnce(p codec.Packet) (*encoded, error) {
	e := encodedPool.Get().(*encoded) //nolint:forcetypeassert // the pool holds nothing else
	b := transports.NewBuffer()
	e.frames = append(e.frames, codec.Frame{Data: b.Data})[:0]
	if err := e.encode(srv, p); err != nil {
		return nil, err
	}
	if len(e.list) > 0 {
		b.Data = e.list[0].Data
		e.list[0].Buffer = b
	}
	return e, nil
}

func (e *encoded) release() {
	e.packet = codec.Packet{}
	clear(e.frames[:cap(e.frames)]) // what stands beyond its length is for the codec to overwrite
	clear(e.list)
	e.frames, e.list = e.frames[:0], e.list[:0]
	encodedPool.Put(e)
}

// fits reports whether packets can be sent at once, to a client for which
// nothing waits.
func (srv *Server) fits(packets []transports.Packet) bool {
	size := 0
	for _, p := range packets {
		size += len(p.Data) + session.PacketOverhead
	}
	return size <= srv.options.MaxOutboxBytes && len(packets) <= srv.options.MaxOutboxPackets
}

// sessionError names errors of the session in the words of this package.
func sessionError(err error) error {
	if errors.Is(err, session.ErrClosed) {
		return ErrDisconnected
	}
	return err
}
