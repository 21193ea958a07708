package ws

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/transports"
)

// Spec 8: the server closes with an empty close frame after what was sent,
// reports at once (A33), and waits for the peer's before it closes TCP.
func TestClose(t *testing.T) {
	l := connect(t, setup{})
	cause := &transports.CloseError{Reason: transports.ForcedClose, Err: errors.New("because")}
	l.send(t, text("last"))
	l.conn.Close(cause)
	if got := wait(t, "Closed", l.closed); !errors.Is(got, cause) || len(l.closed) > 0 {
		t.Errorf("closed by %v", got)
	}
	l.want(t, textFrame, "4last")
	l.want(t, closeFrame, "")
	l.put(t, frame(textFrame, "4late"), frame(0x89, "late"), frame(closeFrame, ""))
	l.wantEOF(t) // no pong, no second close frame
	wait(t, "end of the connection's goroutine", l.served)
	if len(l.received) > 0 || len(l.closed) > 0 {
		t.Errorf("%d packets, %d reports after Closed", len(l.received), len(l.closed))
	}
	if ready, err := l.conn.Send([]transports.Packet{text("x")}); ready || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Close: %t, %v", ready, err)
	}
	l.conn.Close(cause) // does nothing
	if len(l.closed) > 0 {
		t.Error("Closed was called twice")
	}
}

// Close may be called from inside Receive and Ready, and while Send runs.
func TestCloseFromSink(t *testing.T) {
	forced := &transports.CloseError{Reason: transports.ForcedClose}
	t.Run("Receive", func(t *testing.T) {
		s := newSession()
		s.onReceive = func(transports.Packet) error { s.conn.Close(forced); return forced }
		l := connect(t, setup{session: s})
		l.put(t, frame(textFrame, "4x"), frame(textFrame, "4y"))
		l.wantClosed(t, transports.ForcedClose, nil)
		l.want(t, closeFrame, "")
	})
	t.Run("Ready", func(t *testing.T) {
		s := newSession()
		s.onReady = func() { s.conn.Close(forced) }
		l := connect(t, setup{session: s})
		l.wantClosed(t, transports.ForcedClose, nil)
		l.want(t, closeFrame, "")
	})
	t.Run("Send", func(t *testing.T) {
		l := connect(t, setup{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				if ready, err := l.conn.Send([]transports.Packet{text("x")}); err != nil || !ready {
					return
				}
			}
		}()
		l.want(t, textFrame, "4x")
		l.conn.Close(forced)
		l.wantClosed(t, transports.ForcedClose, nil)
		for {
			first, _, err := l.read()
			if err != nil {
				t.Fatal(err)
			}
			if first == closeFrame {
				break
			}
		}
		wait(t, "end of sending", done)
		_ = l.Close()
	})
}

// Close delivers what was sent, also what the socket had not taken yet.
func TestCloseAfterUnsent(t *testing.T) {
	for name, dial := range map[string]func(testing.TB) (server, peer net.Conn){"tcp": tcp, "pipe": pipe} {
		t.Run(name, func(t *testing.T) {
			l := open(t, setup{dial: dial, options: Options{CloseTimeout: patience}})
			wait(t, "Ready", l.readied)
			l.clog(t)
			l.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
			l.readHead(t)
			if first, payload, err := l.read(); first != binaryFrame || len(payload) != clogSize {
				t.Fatalf("frame %x of %d bytes, %v", first, len(payload), err)
			}
			l.want(t, closeFrame, "")
			l.put(t, frame(closeFrame, ""))
			l.wantEOF(t)
		})
	}
}

// The peer closes, with any code: transport close, and the close frame is
// answered once.
func TestPeerCloses(t *testing.T) {
	tests := map[string]struct{ sent, answer string }{
		"no code":      {"", ""},
		"normal":       {"\x03\xe8", "\x03\xe8"},
		"going away":   {"\x03\xe9", "\x03\xe8"},
		"private code": {"\x0f\xa1bye", "\x0f\xa1"},
		"no such code": {"\x03\xec", "\x03\xea"},
		"half a code":  {"\x03", "\x03\xea"},
	}
	for name, test := range tests {
		for dialName, dial := range map[string]func(testing.TB) (server, peer net.Conn){"tcp": tcp, "pipe": pipe} {
			t.Run(name+", "+dialName, func(t *testing.T) {
				l := open(t, setup{dial: dial})
				l.readHead(t)
				l.put(t, frame(closeFrame, test.sent))
				l.want(t, closeFrame, test.answer)
				l.wantEOF(t)
				l.wantClosed(t, transports.TransportClose, nil)
				wait(t, "end of the connection's goroutine", l.served)
				if len(l.closed) > 0 {
					t.Error("Closed was called twice")
				}
			})
		}
	}
	t.Run("cause", func(t *testing.T) {
		l := connect(t, setup{})
		l.put(t, frame(closeFrame, "\x0f\xa1bye"))
		cause := wait(t, "Closed", l.closed)
		if ce, ok := errors.AsType[*gws.CloseError](cause); !ok || ce.Code != 4001 || string(ce.Reason) != "bye" {
			t.Errorf("closed by %v", cause)
		}
	})
}

// The peer vanishes: transport close.
func TestPeerVanishes(t *testing.T) {
	t.Run("end of stream", func(t *testing.T) {
		l := connect(t, setup{})
		_ = l.Close()
		l.wantClosed(t, transports.TransportClose, io.EOF)
	})
	t.Run("inside a frame", func(t *testing.T) {
		l := connect(t, setup{})
		l.put(t, frame(textFrame, "4hello")[:7])
		_ = l.Close()
		l.wantClosed(t, transports.TransportClose, io.ErrUnexpectedEOF)
	})
	t.Run("reset", func(t *testing.T) {
		l := connect(t, setup{})
		if err := l.Conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		l.wantClosed(t, transports.TransportClose, nil)
	})
	t.Run("while unsent", func(t *testing.T) {
		l := connect(t, setup{})
		l.clog(t)
		_ = l.Close() // with unread input: a reset
		l.wantClosed(t, transports.TransportClose, nil)
		wait(t, "end of the connection's goroutine", l.served)
		if len(l.closed) > 0 || len(l.readied) > 0 {
			t.Errorf("%d more reports, %d Ready", len(l.closed), len(l.readied))
		}
	})
}

// A peer that takes nothing for WriteTimeout is a slow consumer. One that
// takes a little now and then is not.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, setup{dial: pipe, options: Options{WriteTimeout: time.Minute}})
		l.readHead(t)
		wait(t, "Ready", l.readied)
		start := time.Now()
		if l.send(t, binaryPacket(strings.Repeat("x", 100_000))) {
			t.Fatal("a pipe has no buffer")
		}
		for range 5 {
			<-time.After(40 * time.Second)
			if _, err := io.CopyN(io.Discard, l.br, maxRecord); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(l.closed) > 0 {
			t.Fatal("closed by", <-l.closed)
		}
		cause := <-l.closed
		if !errors.Is(cause, transports.ErrSlowConsumer) || !errors.Is(cause, &transports.CloseError{Reason: transports.TransportError}) {
			t.Errorf("closed by %v", cause)
		}
		if took := time.Since(start); took < 4*time.Minute || took > 5*time.Minute {
			t.Errorf("after %v", took)
		}
		<-l.served
	})
}

// The same over a socket, where the goroutine waits for room itself.
func TestWriteTimeoutTCP(t *testing.T) {
	l := connect(t, setup{options: Options{WriteTimeout: 20 * time.Millisecond}})
	l.clog(t)
	l.wantClosed(t, transports.TransportError, transports.ErrSlowConsumer)
	wait(t, "end of the connection's goroutine", l.served)
}

// A peer that never answers the close frame, or goes on sending, or does not
// read, is cut off after CloseTimeout.
func TestCloseTimeout(t *testing.T) {
	peers := map[string]func(*client){
		"silent": func(c *client) { _, _ = io.Copy(io.Discard, c.Conn) },
		"sends on": func(c *client) {
			go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
			for {
				if _, err := c.Write(frame(textFrame, "4x")); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		},
		"does not read": func(*client) {},
	}
	for name, behave := range peers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := open(t, setup{dial: pipe, options: Options{CloseTimeout: 7 * time.Second}})
				l.readHead(t)
				<-l.readied
				behaved := make(chan struct{})
				go func() { defer close(behaved); behave(l.client) }()
				synctest.Wait()
				start := time.Now()
				l.conn.Close(&transports.CloseError{Reason: transports.PingTimeout})
				if len(l.closed) != 1 {
					t.Error("not reported at once")
				}
				<-l.served
				if took := time.Since(start); took != 7*time.Second {
					t.Errorf("after %v", took)
				}
				<-behaved
			})
		})
	}
}

// A peer that broke the protocol has CloseTimeout to see why.
func TestLingerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, peer := net.Pipe()
		l := open(t, setup{dial: func(testing.TB) (net.Conn, net.Conn) { return halfCloser{server}, peer }})
		l.readHead(t)
		start := time.Now()
		l.put(t, frame(0x83, ""))
		l.want(t, closeFrame, "\x03\xea")
		<-l.served
		if took := time.Since(start); took != defaultCloseTimeout {
			t.Errorf("after %v", took)
		}
	})
}

// halfCloser is a connection whose peer does not react when it is half closed.
type halfCloser struct{ net.Conn }

func (halfCloser) CloseWrite() error { return nil }
