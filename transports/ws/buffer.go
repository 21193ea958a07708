package ws

import (
	"slices"
	"sync"
)

// A buffer collects frames, and then is what a write consumes.
type buffer struct {
	data []byte // frames, appended
	rest []byte // what is left to write: a tail of data, or of a frame shared with others
	wait bool   // step waits for the socket to take something
	err  error  // from step
}

var buffers = sync.Pool{New: func() any { return &buffer{data: make([]byte, 0, 4096)} }}

// maxPooled is the capacity up to which a buffer is kept for reuse: one large
// message should not stay in the pool.
const maxPooled = 64 << 10

// grow makes room for n more bytes.
func (b *buffer) grow(n int) { b.data = slices.Grow(b.data, n) }

func newBuffer() *buffer { return buffers.Get().(*buffer) } //nolint:forcetypeassert // the pool holds nothing else

func (b *buffer) free() {
	b.rest, b.err, b.wait = nil, nil, false
	if cap(b.data) > maxPooled {
		return
	}
	b.data = b.data[:0]
	buffers.Put(b)
}
