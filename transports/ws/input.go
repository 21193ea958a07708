package ws

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"
)

// gwsBuffer is the size of the buffer that gws insists on, in front of an
// input. It is the least that bufio takes; larger reads pass it by.
const gwsBuffer = 16

// plainBuffer is the size of the buffer of a connection that cannot be read
// without waiting, such as one with TLS, and that it therefore keeps.
const plainBuffer = 1 << 10

// newReader returns what gws reads a connection through. early is what has been
// read of it already; raw may be nil.
func (t *transport) newReader(netConn net.Conn, raw syscall.RawConn, early []byte) *bufio.Reader {
	source, size := t.newSource(netConn, raw, early)
	return bufio.NewReaderSize(source, size)
}

// newSource returns what a connection is read from, and the size of the buffer
// that it is to be read through.
func (t *transport) newSource(netConn net.Conn, raw syscall.RawConn, early []byte) (source io.Reader, size int) {
	source, size = io.Reader(netConn), plainBuffer
	if raw != nil {
		in := &input{raw: raw, blocks: &t.blocks}
		in.step = in.readStep
		source, size = in, gwsBuffer
	}
	if len(early) > 0 {
		source = io.MultiReader(bytes.NewReader(early), source)
	}
	return source, size
}

// An input reads from a socket. It has a buffer only while there is something
// in it: a burst of messages costs one system call, and a connection that waits
// for its client holds next to nothing.
type input struct {
	raw    syscall.RawConn
	step   func(fd uintptr) bool // reads what is there; made once, so that a read allocates nothing
	blocks *sync.Pool            // of *block

	block *block // what rest is in
	rest  []byte // has been read, and not been asked for
	err   error  // what step has met
}

type block struct{ data []byte }

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if len(in.rest) == 0 {
		if in.block != nil {
			in.blocks.Put(in.block)
			in.block = nil
		}
		if err := in.raw.Read(in.step); err != nil {
			return 0, err
		}
		if in.err != nil {
			return 0, in.err
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// readStep is what Read passes to the socket. It takes a buffer when there is
// something to read, which is only known by reading.
func (in *input) readStep(fd uintptr) bool {
	b := in.blocks.Get().(*block) //nolint:forcetypeassert // the pool holds nothing else
	n, err := readSocket(fd, b.data)
	if n == 0 {
		in.blocks.Put(b)
		in.err = err
		return err != nil // without an error there is nothing to read yet
	}
	in.block, in.rest = b, b.data[:n]
	return true
}
