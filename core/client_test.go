package core_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// rig is a server on an in-memory transport. Its tests run in synctest
// bubbles.
type rig struct {
	*core.Server
	t    *testing.T
	pipe *pipe.Transport
	log  *strings.Builder
}

func newRig(t *testing.T, o core.Options) *rig {
	t.Helper()
	r := &rig{t: t, pipe: pipe.New(), log: new(strings.Builder)}
	o.Transports = []transports.Transport{r.pipe}
	o.Logger = slog.New(slog.NewTextHandler(&lockedWriter{b: r.log, lock: make(chan struct{}, 1)}, nil))
	srv, err := core.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = srv
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error("Shutdown:", err)
		}
	})
	return r
}

type lockedWriter struct {
	b    *strings.Builder
	lock chan struct{}
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.lock <- struct{}{}
	defer func() { <-w.lock }()
	return w.b.Write(p)
}

// client speaks the wire by hand.
type client struct {
	t    *testing.T
	pipe *pipe.Client
}

// dial opens a session, without joining a namespace.
func (r *rig) dial() *client {
	r.t.Helper()
	p, err := r.pipe.Dial(r.Server, transports.Handshake{Header: transports.NewHeader("User-Agent", "test")})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = p.Close() })
	c := &client{t: r.t, pipe: p}
	if p := c.receive(); p.Type != transports.Open {
		r.t.Fatalf("first packet is %s", p.Type)
	}
	return c
}

// join opens a session and joins the main namespace.
func (r *rig) join() *client {
	r.t.Helper()
	c := r.dial()
	c.send("0")
	if got := c.next(); !strings.HasPrefix(got, `0{"sid":"`) {
		r.t.Fatalf("answer to CONNECT is %q", got)
	}
	return c
}

func (c *client) receive() transports.Packet {
	c.t.Helper()
	p, err := c.pipe.Receive(c.t.Context())
	if err != nil {
		c.t.Fatalf("Receive: %v", err)
	}
	return p
}

// next returns the next message; pings are answered on the way.
func (c *client) next() string {
	c.t.Helper()
	for {
		p := c.receive()
		switch p.Type {
		case transports.Message:
			if p.Binary {
				return "binary:" + string(p.Data)
			}
			return string(p.Data)
		case transports.Ping:
			if err := c.pipe.Send(transports.Packet{Type: transports.Pong}); err != nil {
				c.t.Fatal(err)
			}
		default:
			c.t.Fatalf("packet %s", p.Type)
		}
	}
}

func (c *client) expect(messages ...string) {
	c.t.Helper()
	for _, want := range messages {
		if got := c.next(); got != want {
			c.t.Fatalf("received %q, want %q", got, want)
		}
	}
}

// expectEnd fails unless the server ends the session now.
func (c *client) expectEnd() {
	c.t.Helper()
	if p, err := c.pipe.Receive(c.t.Context()); err == nil && p.Type != transports.Close {
		c.t.Fatalf("received %s %s, want the end", p.Type, p.Data)
	}
}

func (c *client) send(messages ...string) {
	c.t.Helper()
	for _, m := range messages {
		p := transports.Packet{Type: transports.Message, Data: []byte(m)}
		if data, ok := strings.CutPrefix(m, "binary:"); ok {
			p = transports.Packet{Type: transports.Message, Binary: true, Data: []byte(data)}
		}
		if err := c.pipe.Send(p); err != nil {
			c.t.Fatalf("Send(%q): %v", m, err)
		}
	}
}
