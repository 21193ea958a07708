package upshifttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

// An Event is one that the client has received.
type Event struct {
	// Name is the event's name.
	Name string
	// Args are the arguments. With recovery the last one is the offset, which
	// official clients pass on as a surplus argument, too.
	Args codec.Args

	client *Client
	id     uint64
	asks   bool // for an answer
}

// Reply answers the event. It may be called from any goroutine. Errors are those
// of Client.Emit, and that the event asks for no answer.
func (e *Event) Reply(args ...any) error {
	if !e.asks {
		return errors.New("upshifttest: the event asks for no answer")
	}
	return e.client.emit(codec.Packet{Type: codec.Ack, ID: e.id, HasID: true, Args: args}, nil)
}

// Values decodes the arguments, without the offset: objects are map[string]any,
// and so on.
func (e *Event) Values() ([]any, error) {
	n := e.Args.Len()
	e.client.link.mu.Lock()
	if e.client.pid != "" && !e.asks && n > 0 {
		n--
	}
	e.client.link.mu.Unlock()
	return values(e.Args, n)
}

func values(args codec.Args, n int) ([]any, error) {
	list := make([]any, n)
	for i := range list {
		if err := args.Raw(i).Bind(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// String is for messages of tests: name and arguments.
func (e *Event) String() string { return describe(e.Name, e.Args) }

func describe(name string, args codec.Args) string {
	text, err := json.Marshal(args)
	if err != nil {
		return fmt.Sprintf("%q (%v)", name, err)
	}
	return fmt.Sprintf("%q %s", name, text)
}

// Next waits for the next event that has no handler, and takes it.
func (c *Client) Next() *Event {
	c.link.tb.Helper()
	var e *Event
	c.link.wait("an event", func() bool {
		if len(c.events) == 0 {
			return false
		}
		e, c.events = c.events[0], c.events[1:]
		return true
	})
	return e
}

// Pending takes the events that have arrived, without waiting. After
// synctest.Wait that is all there will be.
func (c *Client) Pending() []*Event {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	events := c.events
	c.events = nil
	return events
}

// Expect waits for the next event and fails the test if it is another one, or
// has other arguments. They are compared as they are on the wire: a struct
// equals an object with its members, an int a number.
func (c *Client) Expect(name string, args ...any) {
	c.link.tb.Helper()
	want, err := c.onWire(name, args)
	if err != nil {
		c.link.tb.Fatalf("upshifttest: %v", err)
	}
	e := c.Next()
	wanted, err := values(want.Args, want.Args.Len())
	got, errGot := e.Values()
	if err != nil || errGot != nil || e.Name != name || !reflect.DeepEqual(got, wanted) {
		c.link.tb.Fatalf("upshifttest: received %s, want %s", e, describe(name, want.Args))
	}
}

// onWire returns an event as its receiver would see it.
func (c *Client) onWire(name string, args []any) (r codec.Received, err error) {
	frames, err := c.link.options.Codec.Encode(nil, &codec.Packet{Type: codec.Event, Event: name, Args: args})
	if err != nil {
		return r, err
	}
	decoder := c.link.options.Codec.NewDecoder()
	for _, f := range frames {
		if r, _, err = decoder.Decode(f); err != nil {
			return r, err
		}
	}
	return r, nil
}

// ExpectNone fails the test if an event has arrived that was not taken. It does
// not wait: in a bubble call synctest.Wait first.
func (c *Client) ExpectNone() {
	c.link.tb.Helper()
	for _, e := range c.Pending() {
		c.link.tb.Errorf("upshifttest: received %s, want nothing", e)
	}
}

// Receive waits for the next event and decodes it. It fails the test if it is
// another one, or if it does not fit.
func Receive[In, Out any](c *Client, want event.Event[In, Out]) In {
	c.link.tb.Helper()
	e := c.Next()
	if e.Name != want.Name() {
		c.link.tb.Fatalf("upshifttest: received %s, want %q", e, want.Name())
	}
	var in In
	if err := e.Args.Bind(event.Pointers(&in)...); err != nil {
		c.link.tb.Fatalf("upshifttest: received %s: %v", e, err)
	}
	return in
}

// Handle has fn called for every event of that name, in order, instead of
// keeping it for the test. fn must not wait for anything else that c receives.
// It replaces an earlier handler; nil removes that.
func (c *Client) Handle(name string, fn func(*Event)) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if fn == nil {
		delete(c.handlers, name)
		return
	}
	c.handlers[name] = fn
}

// Answer has fn answer every event of that name. See Client.Handle. An event
// that does not fit fails the test.
func Answer[In, Out any](c *Client, e event.Event[In, Out], fn func(in In) Out) {
	c.Handle(e.Name(), func(got *Event) {
		var in In
		if err := got.Args.Bind(event.Pointers(&in)...); err != nil {
			c.link.tb.Errorf("upshifttest: received %s: %v", got, err)
			return
		}
		out := fn(in)
		if got.asks {
			_ = got.Reply(event.Values(out)...) // the connection may be over
		}
	})
}
