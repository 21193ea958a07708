package upshifttest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/transports"
)

// Options say who connects. The zero value is a client of nobody in particular.
type Options struct {
	// Auth is the payload of the connect request, an object. Default none.
	Auth any
	// Codec is that of the server. Default codec.JSON.
	Codec codec.Codec
	// Handshake is what the server sees of the request: header, query,
	// address. Default an empty one.
	Handshake transports.Handshake
	// Patience is how long a test waits for what it expects before it fails.
	// Default 1 minute.
	Patience time.Duration
}

func (o Options) withDefaults() Options {
	if o.Codec == nil {
		o.Codec = codec.JSON(codec.JSONOptions{})
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	if o.Handshake.Time.IsZero() {
		o.Handshake.Time = time.Now()
	}
	return o
}

// A Client is a client in one namespace. Emit, Call and the faults of the
// network may be called from any goroutine, all other methods from that of the
// test, since they fail it.
type Client struct {
	link      *link
	namespace string

	// Guarded by link.mu.
	auth      any
	state     state
	reason    string // of the last disconnection
	refusal   *ConnectError
	id        string
	pid       string // what it comes back with, if recovery is on
	offset    string // of the last event it has seen
	recovered bool
	events    []*Event
	handlers  map[string]func(*Event)
	calls     map[uint64]chan<- codec.Args
	asked     uint64 // how many answers it has asked for
}

// A Client is what descriptors of events can be used with.
var (
	_ event.Emitter = (*Client)(nil)
	_ event.Caller  = (*Client)(nil)
)

// A state is where a client is.
type state int

const (
	connecting state = iota
	connected
	refused
	lost // its connection
	left // the namespace
)

// A ConnectError is the refusal of a namespace.
type ConnectError struct {
	// Message is what the official client has as err.message.
	Message string
	// Data is what it has as err.data, absent if there is none. Of a
	// *core.Error without data it is an object with the code.
	Data codec.Raw
}

// Error returns the message.
func (e *ConnectError) Error() string { return e.Message }

// Dial connects to a namespace of a server that was made by NewServer, or has
// Transport among its transports. It fails the test if it is refused. The client
// is closed when the test ends.
func Dial(tb testing.TB, srv *core.Server, namespace string, o Options) *Client {
	tb.Helper()
	c := newClient(newLink(tb, srv, o), namespace, o.Auth)
	if err := c.link.dial(); err != nil {
		tb.Fatalf("upshifttest: %v", err)
	}
	c.accepted()
	return c
}

// Refused is Dial for clients that must not get in. It fails the test if one
// does, and returns why it was refused: a *ConnectError if it was the namespace,
// another error (core.RequestError) if it was the handshake.
func Refused(tb testing.TB, srv *core.Server, namespace string, o Options) error {
	tb.Helper()
	c := newClient(newLink(tb, srv, o), namespace, o.Auth)
	if err := c.link.dial(); err != nil {
		return err
	}
	if err := c.answered(); err != nil {
		return err
	}
	tb.Fatalf("upshifttest: %s has accepted the client", namespace)
	return nil
}

// Join connects to a further namespace on the connection of c. It fails the
// test if it is refused.
func (c *Client) Join(namespace string, auth any) *Client {
	c.link.tb.Helper()
	other := newClient(c.link, namespace, auth)
	c.link.mu.Lock()
	w := c.link.live()
	if w != nil && w.opened {
		other.connect(w)
	}
	c.link.mu.Unlock()
	if w == nil {
		c.link.tb.Fatalf("upshifttest: Join without a connection")
	}
	other.accepted()
	return other
}

func newClient(l *link, namespace string, auth any) *Client {
	c := &Client{
		link: l, namespace: namespace, auth: auth,
		handlers: make(map[string]func(*Event)), calls: make(map[uint64]chan<- codec.Args),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients = append(l.clients, c)
	return c
}

// connect asks to join the namespace. The caller holds link.mu.
func (c *Client) connect(w *wire) {
	c.state, c.refusal = connecting, nil
	auth := c.auth
	if c.pid != "" {
		auth = c.comeback()
	}
	frames, err := c.link.options.Codec.Encode(nil, &codec.Packet{Type: codec.Connect, Namespace: c.namespace, Data: auth})
	if err != nil {
		c.state, c.refusal = refused, &ConnectError{Message: err.Error()}
		c.link.notify()
		return
	}
	w.push(frames)
}

// comeback is the auth payload of a client that wants to be recovered.
func (c *Client) comeback() any {
	members := map[string]any{"pid": c.pid, "offset": c.offset}
	if c.auth == nil {
		return members
	}
	text, err := json.Marshal(c.auth)
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		return c.auth // which Encode refuses
	}
	return members
}

// answered waits for the answer to a connect request.
func (c *Client) answered() error {
	c.link.tb.Helper()
	var err error
	c.link.wait("an answer of "+c.namespace, func() bool {
		switch c.state {
		case connecting:
			return false
		case refused:
			err = c.refusal
		case lost, left:
			err = fmt.Errorf("upshifttest: %s: %s", c.namespace, c.reason)
		case connected:
		}
		return true
	})
	return err
}

func (c *Client) accepted() {
	c.link.tb.Helper()
	if err := c.answered(); err != nil {
		c.link.tb.Fatalf("upshifttest: %s has refused the client: %v", c.namespace, err)
	}
}

// lose ends what the client has of its connection, if it has one. The caller
// holds link.mu.
func (c *Client) lose(to state, reason string) {
	if c.state != connected && c.state != connecting {
		return
	}
	c.state, c.reason = to, reason
	for _, call := range c.calls {
		close(call)
	}
	clear(c.calls)
}

// ID is the id of the client's socket, for Namespace.Socket and as a room. It is
// that of the last connection while there is none.
func (c *Client) ID() string {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.id
}

// Recovered reports whether the client came back to where it was, with its id,
// its rooms and the events that it had missed.
func (c *Client) Recovered() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.recovered
}

// SetAuth replaces the payload of the next connect request.
func (c *Client) SetAuth(auth any) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.auth = auth
}

// Emit implements event.Emitter. It does not wait until the server has the
// event. Its error wraps core.ErrDisconnected while the client is not connected:
// other than official clients it keeps nothing back. Other errors are those of
// the codec.
func (c *Client) Emit(_ context.Context, name string, args ...any) error {
	return c.emit(codec.Packet{Type: codec.Event, Event: name, Args: args}, nil)
}

// Call implements event.Caller. An answer of the form in which servers give
// errors, {"error":{"code":…,"message":…}}, is returned as a *core.Error. Other
// errors are those of Emit, a lost connection, which wraps core.ErrDisconnected,
// the end of ctx, and an answer that does not fit. It waits no longer than
// Options.Patience.
func (c *Client) Call(ctx context.Context, name string, args []any, answer ...any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan codec.Args, 1)
	if err := c.emit(codec.Packet{Type: codec.Event, Event: name, Args: args, HasID: true}, done); err != nil {
		return err
	}
	patience := time.NewTimer(c.link.options.Patience)
	defer patience.Stop()
	select {
	case got, ok := <-done:
		if !ok {
			return fmt.Errorf("upshifttest: no answer to %q: %w", name, core.ErrDisconnected)
		}
		if err := answeredError(got); err != nil {
			return err
		}
		return got.Bind(answer...)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
		return fmt.Errorf("upshifttest: waited %s in vain for an answer to %q", c.link.options.Patience, name)
	}
}

// answeredError returns the error that an answer stands for, if it is one.
func answeredError(answer codec.Args) error {
	var failed struct{ Error *core.Error }
	if answer.Len() != 1 || answer.Bind(&failed) != nil || failed.Error == nil || failed.Error.Code == "" {
		return nil
	}
	return failed.Error
}

// emit sends a packet. If there is a done channel it will get the answer.
func (c *Client) emit(p codec.Packet, done chan<- codec.Args) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	w := c.link.live()
	if w == nil || c.state != connected {
		return fmt.Errorf("upshifttest: %w", core.ErrDisconnected)
	}
	p.Namespace = c.namespace
	if done != nil {
		p.ID = c.asked
	}
	frames, err := c.link.options.Codec.Encode(nil, &p)
	if err != nil {
		return err
	}
	if done != nil {
		c.calls[c.asked] = done
		c.asked++
	}
	w.push(frames)
	return nil
}

// push sends the frames of one packet. The caller holds link.mu.
func (w *wire) push(frames []codec.Frame) {
	packets := make([]transports.Packet, len(frames))
	for i, f := range frames {
		packets[i] = transports.Packet{Type: transports.Message, Binary: f.Binary, Data: f.Data}
	}
	w.out.push(w.link.delay, packets...)
}
