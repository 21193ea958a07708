package transports

import "sync"

// A Buffer is memory that holds the data of one packet after the other. It
// belongs to who made the packet: a Conn does not touch it.
type Buffer struct{ Data []byte }

var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// maxPooled is the capacity up to which a Buffer is kept for reuse: one large
// message should not stay in the pool.
const maxPooled = 64 << 10

// NewBuffer returns an empty Buffer, with the capacity that its last user has left
// it.
func NewBuffer() *Buffer { return buffers.Get().(*Buffer) } //nolint:forcetypeassert // the pool holds nothing else

// Release gives the Buffer back, for the next NewBuffer. A nil Buffer, or one
// that is not given back, is left to the garbage collector.
func (b *Buffer) Release() {
	if b == nil || cap(b.Data) > maxPooled {
		return
	}
	b.Data = b.Data[:0]
	buffers.Put(b)
}
