package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A session is a host with the one session that a test needs.
type session struct {
	refusal   error
	handshake transports.Handshake
	conn      transports.Conn
	gate      chan struct{} // Receive waits for it, unless it is nil

	mu       sync.Mutex // guards what follows
	readies  int
	received [][]byte // not copied, which is wrong on purpose
	causes   []error
}

func (s *session) Open(_ transports.Transport, h transports.Handshake, conn transports.Conn) (transports.Sink, error) {
	s.handshake, s.conn = h, conn
	return s, s.refusal
}

func (s *session) MaxPayload() int64 { return 1000 }

func (s *session) Ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readies++
}

func (s *session) Receive(p transports.Packet) error {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, p.Data)
	return nil
}

func (s *session) Closed(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.causes = append(s.causes, cause)
}

func (s *session) wantReadies(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readies != want {
		t.Errorf("Ready was called %d times, want %d", s.readies, want)
	}
}

// wantClosed checks the one report of the end.
func (s *session) wantClosed(t *testing.T, want error) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.causes) != 1 || !errors.Is(s.causes[0], want) {
		t.Errorf("Closed was called with %v, want %v", s.causes, want)
	}
}

func (s *session) send(t *testing.T, want bool, batch ...transports.Packet) {
	t.Helper()
	if ready, err := s.conn.Send(batch); ready != want || err != nil {
		t.Fatalf("Send = %t, %v; want %t", ready, err, want)
	}
}

// connected runs a test in a bubble, with a connection that ends with it.
func connected(t *testing.T, test func(t *testing.T, s *session, c *pipe.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := new(session)
		c, err := pipe.New().Dial(s, transports.Handshake{Query: "a=1", SessionID: "S"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Cut()
		test(t, s, c)
	})
}

func text(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(data)}
}

func want(t *testing.T, c *pipe.Client, data string) {
	t.Helper()
	if p, err := c.Receive(t.Context()); err != nil || string(p.Data) != data {
		t.Fatalf("Receive = %q, %v; want %q", p.Data, err, data)
	}
}

func TestDial(t *testing.T) {
	connected(t, func(t *testing.T, s *session, _ *pipe.Client) {
		if s.handshake.Query != "a=1" || s.handshake.SessionID != "S" {
			t.Errorf("the host was given %+v", s.handshake)
		}
		s.wantReadies(t, 1)
	})
}

func TestDialRefused(t *testing.T) {
	s := &session{refusal: errors.New("no")}
	if c, err := pipe.New().Dial(s, transports.Handshake{}); c != nil || !errors.Is(err, s.refusal) {
		t.Errorf("Dial = %v, %v", c, err)
	}
	s.wantReadies(t, 0)
	if s.causes != nil {
		t.Errorf("Closed was called with %v, of a session that there is not", s.causes)
	}
}

// What the client sent may be changed after Send, and what the session was
// given is overwritten after Receive, so that one that keeps it is found out.
func TestDataIsNotKept(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		s.gate = make(chan struct{}, 2)
		p := text("first")
		go func() {
			s.gate <- struct{}{}
			s.gate <- struct{}{}
		}()
		if err := c.Send(p); err != nil {
			t.Fatal(err)
		}
		copy(p.Data, "XXXXX")
		if err := c.Send(text("second")); err != nil { // it waits for the first
			t.Fatal(err)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.received) != 2 || !bytes.Equal(s.received[0], bytes.Repeat([]byte{0xff}, len("first"))) {
			t.Errorf("the session has kept %q", s.received)
		}
	})
}

// The client's Send blocks while the session takes nothing.
func TestSendBlocks(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		s.gate = make(chan struct{})
		sent := make(chan error, 1)
		go func() { sent <- c.Send(text("one"), text("two")) }()
		synctest.Wait()
		if len(sent) > 0 {
			t.Error("Send returned while the session took nothing")
		}
		close(s.gate)
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

func TestSendEndsWithTheConnection(t *testing.T) {
	for name, end := range map[string]func(s *session, c *pipe.Client){
		"Close of the client":  func(_ *session, c *pipe.Client) { _ = c.Close() },
		"Close of the session": func(s *session, _ *pipe.Client) { s.conn.Close(transports.ErrSlowConsumer) },
		"Cut":                  func(_ *session, c *pipe.Client) { c.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			connected(t, func(t *testing.T, s *session, c *pipe.Client) {
				s.gate = make(chan struct{})
				defer close(s.gate)
				sent := make(chan error, 1)
				go func() { sent <- c.Send(text("one"), text("two")) }()
				synctest.Wait()
				end(s, c)
				if err := <-sent; !errors.Is(err, pipe.ErrClosed) {
					t.Errorf("Send: %v", err)
				}
				if err := c.Send(text("three")); !errors.Is(err, pipe.ErrClosed) {
					t.Errorf("Send after the end: %v", err)
				}
				if _, err := c.Receive(t.Context()); !errors.Is(err, pipe.ErrClosed) {
					t.Errorf("Receive after the end: %v", err)
				}
			})
		})
	}
}

// A client that has stalled takes nothing, and the server finds the pipe full
// until it takes everything.
func TestStall(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		s.send(t, true, text("one"))
		c.Stall(true)
		s.send(t, false, text("two"), text("three"))
		received := make(chan string, 10)
		var receiving sync.WaitGroup
		receiving.Go(func() {
			for range 3 {
				p, err := c.Receive(t.Context())
				if err != nil {
					t.Error(err)
				}
				received <- string(p.Data)
			}
		})
		synctest.Wait()
		if len(received) > 0 {
			t.Errorf("a stalled client received %q", <-received)
		}
		s.wantReadies(t, 1)
		c.Stall(false)
		receiving.Wait()
		if got := []string{<-received, <-received, <-received}; !slices.Equal(got, []string{"one", "two", "three"}) {
			t.Errorf("received %q", got)
		}
		s.wantReadies(t, 2)
		s.send(t, true, text("four"))
		want(t, c, "four")
		s.wantReadies(t, 2)
	})
}

// A client that does not read leaves the pipe full after 64 KiB; empty packets
// count too.
func TestWindow(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		batch := make([]transports.Packet, 64<<10)
		s.send(t, true, batch...)
		s.send(t, false, text("one more"))
		for range batch {
			want(t, c, "")
		}
		s.wantReadies(t, 1)
		want(t, c, "one more")
		s.wantReadies(t, 2)
	})
}

func TestReceiveEndsWithContext(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		received := make(chan error, 1)
		go func() {
			_, err := c.Receive(ctx)
			received <- err
		}()
		synctest.Wait()
		cancel(cause)
		if err := <-received; !errors.Is(err, cause) {
			t.Errorf("Receive: %v", err)
		}
		s.send(t, true, text("nothing is lost"))
		want(t, c, "nothing is lost")
	})
}

// What was sent before the session closes can be received after it, but for
// the packet that says so, which a pipe does without.
func TestSessionCloses(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		s.send(t, true, text("one"), text("two"), transports.Packet{Type: transports.Close})
		s.conn.Close(transports.ErrSlowConsumer)
		s.conn.Close(transports.ErrOverlap)
		if _, err := s.conn.Send([]transports.Packet{text("three")}); !errors.Is(err, pipe.ErrClosed) {
			t.Errorf("Send after the end: %v", err)
		}
		want(t, c, "one")
		want(t, c, "two")
		if _, err := c.Receive(t.Context()); !errors.Is(err, pipe.ErrClosed) {
			t.Errorf("Receive after the end: %v", err)
		}
		synctest.Wait()
		s.wantClosed(t, transports.ErrSlowConsumer)
	})
}

func TestClientLeaves(t *testing.T) {
	for name, test := range map[string]struct {
		leave func(c *pipe.Client)
		want  error
	}{
		"Close":          {func(c *pipe.Client) { _ = c.Close() }, &transports.CloseError{Reason: transports.TransportClose}},
		"Cut":            {func(c *pipe.Client) { c.Cut() }, transports.ErrClientGone},
		"Cut then Close": {func(c *pipe.Client) { c.Cut(); _ = c.Close() }, transports.ErrClientGone},
	} {
		t.Run(name, func(t *testing.T) {
			connected(t, func(t *testing.T, s *session, c *pipe.Client) {
				test.leave(c)
				synctest.Wait()
				s.wantClosed(t, test.want)
			})
		})
	}
}

func TestLimit(t *testing.T) {
	connected(t, func(t *testing.T, s *session, c *pipe.Client) {
		if err := c.Send(transports.Packet{Type: transports.Message, Data: make([]byte, 999)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(s.received) != 1 || len(s.causes) != 0 {
			t.Fatalf("%d packets were received, Closed was called with %v", len(s.received), s.causes)
		}
		_ = c.Send(transports.Packet{Type: transports.Message, Data: make([]byte, 1000)}) // it may return before the end
		synctest.Wait()
		s.wantClosed(t, transports.ErrPayloadTooLarge)
		if len(s.received) != 1 {
			t.Error("it was received")
		}
	})
}
