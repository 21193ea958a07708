package session

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/transports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTransport is a transport whose Conns are made by the test.
type fakeTransport struct {
	name     string
	features transports.Features
}

func (t *fakeTransport) Name() string                  { return t.name }
func (t *fakeTransport) Features() transports.Features { return t.features }

// fakeConn records what the session does to it. Unless it is told otherwise it
// takes one batch and then waits for Ready, as polling does; a streaming one
// stays ready.
type fakeConn struct {
	streaming bool
	retiring  chan struct{} // if set, Retire waits for it to be closed

	mu      sync.Mutex // guards what follows
	batches []string
	err     error // what Send returns
	retired bool
	closed  *transports.CloseError
	closes  int
}

func (c *fakeConn) Send(batch []transports.Packet) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return false, transports.ErrRetired
	}
	if c.err != nil {
		return false, c.err
	}
	c.batches = append(c.batches, show(batch))
	return c.streaming, nil
}

func (c *fakeConn) Close(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = transports.AsCloseError(cause)
	c.closes++
}

func (c *fakeConn) Retire() {
	if c.retiring != nil {
		<-c.retiring
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
}

// sent returns the batches since the last call, as in "4a 4b|6".
func (c *fakeConn) sent() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.batches, "|")
	c.batches = nil
	return all
}

func (c *fakeConn) cause() *transports.CloseError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// show writes packets the way they look on a text transport. The handshake is
// cut short.
func show(batch []transports.Packet) string {
	texts := make([]string, len(batch))
	for i, p := range batch {
		if p.Type == transports.Open {
			texts[i] = "open"
			continue
		}
		texts[i] = string(p.AppendText(nil))
	}
	return strings.Join(texts, " ")
}

// fakeReceiver records what reaches the layer above.
type fakeReceiver struct {
	onMessage func(p transports.Packet)

	mu       sync.Mutex // guards what follows
	messages []string
	causes   []*transports.CloseError
}

func (r *fakeReceiver) Message(p transports.Packet) {
	if r.onMessage != nil {
		r.onMessage(p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, string(p.Data))
}

func (r *fakeReceiver) Closed(cause *transports.CloseError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.causes = append(r.causes, cause)
}

func (r *fakeReceiver) got() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.messages, " ")
}

// reason returns why the session ended, "" if it has not, and something that
// no test expects if it was told more than once.
func (r *fakeReceiver) reason() transports.Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch len(r.causes) {
	case 0:
		return ""
	case 1:
		return r.causes[0].Reason
	}
	return transports.Reason(fmt.Sprintf("closed %d times", len(r.causes)))
}

type handlerFunc func(s *Session) Receiver

func (f handlerFunc) Opened(s *Session) Receiver { return f(s) }

// rig is a manager with one session on a transport that can be upgraded.
type rig struct {
	manager  *Manager
	polling  *fakeTransport
	target   *fakeTransport
	session  *Session
	receiver *fakeReceiver
	conn     *fakeConn
	sink     transports.Sink
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{
		polling:  &fakeTransport{name: "polling", features: transports.Features{Upgradable: true}},
		target:   &fakeTransport{name: "websocket", features: transports.Features{UpgradeTarget: true}},
		receiver: &fakeReceiver{},
		conn:     &fakeConn{},
	}
	o.Transports = []transports.Transport{r.polling, r.target}
	m, err := New(handlerFunc(func(s *Session) Receiver {
		r.session = s
		return r.receiver
	}), o)
	if err != nil {
		t.Fatal(err)
	}
	r.manager = m
	r.sink, err = m.Open(r.polling, transports.Handshake{}, r.conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.session.fail(&transports.CloseError{Reason: transports.ForcedClose})
	})
	return r
}

// opened makes a rig whose client has fetched the open packet and has a poll
// parked.
func opened(t *testing.T, o Options) *rig {
	t.Helper()
	r := newRig(t, o)
	r.sink.Ready()
	r.expectSent(t, r.conn, "open")
	r.sink.Ready()
	return r
}

// offer connects a candidate.
func (r *rig) offer(t *testing.T) (*fakeConn, transports.Sink) {
	t.Helper()
	conn := &fakeConn{streaming: true}
	sink, err := r.manager.Open(r.target, transports.Handshake{SessionID: r.session.ID()}, conn)
	if err != nil {
		t.Fatal(err)
	}
	sink.Ready()
	return conn, sink
}

func (r *rig) expectSent(t *testing.T, c *fakeConn, want string) {
	t.Helper()
	if got := c.sent(); got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func (r *rig) expectReason(t *testing.T, want transports.Reason) {
	t.Helper()
	if got := r.receiver.reason(); got != want {
		t.Errorf("session closed with %q, want %q", got, want)
	}
}

func text(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(data)}
}

var (
	probePacket   = transports.Packet{Type: transports.Ping, Data: []byte("probe")}
	upgradePacket = transports.Packet{Type: transports.Upgrade}
	pongPacket    = transports.Packet{Type: transports.Pong}
)
