package core

import (
	"errors"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/transports"
)

// encoded is a Socket.IO packet in the form that sessions take: a header and
// its attachments, which travel together. The list is pooled; the bytes are
// not, since sessions keep them.
type encoded struct {
	packet codec.Packet
	frames []codec.Frame
	list   []transports.Packet
}

var encodedPool = sync.Pool{New: func() any { return new(encoded) }}

// encode encodes p. The caller releases the result when it has been queued.
func (srv *Server) encode(p codec.Packet) (*encoded, error) {
	e := encodedPool.Get().(*encoded) //nolint:forcetypeassert // the pool holds nothing else
	e.packet = p
	var err error
	e.frames, err = srv.options.Codec.Encode(e.frames[:0], &e.packet)
	if err != nil {
		e.release()
		return nil, err
	}
	for _, f := range e.frames {
		e.list = append(e.list, transports.Packet{Type: transports.Message, Binary: f.Binary, Data: f.Data})
	}
	return e, nil
}

func (e *encoded) release() {
	e.packet = codec.Packet{}
	clear(e.frames)
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
