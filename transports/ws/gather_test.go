package ws

import (
	"net"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/transports"
)

// What a write left over goes in front of what was appended meanwhile.
func TestPutBack(t *testing.T) {
	var g gather
	later := newBuffer()
	later.data = append(later.data, "cd"...)
	g.unsent = later
	written := newBuffer()
	written.data = append(written.data, "..ab"...)
	written.rest = written.data[2:]
	g.putBackLocked(written)
	if got := string(g.unsent.data); got != "abcd" {
		t.Errorf("unsent %q", got)
	}
}

// stubborn is a connection on which a write goes on until it is released, even
// after Close.
type stubborn struct {
	net.Conn
	release chan struct{}
}

func (s stubborn) Write([]byte) (int, error) {
	<-s.release
	return 0, net.ErrClosed
}

// The connection belongs to the serving function until it returns: the writing
// goroutine has ended by then.
func TestServeWaitsForWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		s := newSession()
		r := newRequest(stubborn{server, make(chan struct{})})
		New(Options{}).Accept(r, s.admission())
		<-s.readied
		synctest.Wait() // the head is being written
		_ = peer.Close()
		s.wantClosed(t, transports.TransportClose, nil)
		synctest.Wait()
		select {
		case <-r.served:
			t.Error("returned while writing")
		default:
		}
		close(r.conn.(stubborn).release)
		<-r.served
	})
}

// Appending to a shared frame's place must not happen: the frame is others'
// too. A write that takes only part of it copies the rest.
func TestSharedFrameIsNotTouched(t *testing.T) {
	var g gather
	frame := []byte("\x81\x03abc")
	b := newBuffer()
	b.rest = frame[2:4:len(frame)]
	g.putBackLocked(b)
	g.unsent.data = append(g.unsent.data, "XY"...)
	if string(frame) != "\x81\x03abc" || string(g.unsent.data) != "abXY" {
		t.Errorf("frame %q, unsent %q", frame, g.unsent.data)
	}
}
