package upshifttest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// A link is what the clients of several namespaces share: the connection to the
// server, one after another, and the network that it runs over.
type link struct {
	tb      testing.TB
	options Options
	running sync.WaitGroup // goroutines of all wires

	mu       sync.Mutex // guards what follows, and the state of clients and wires
	server   *core.Server
	changed  chan struct{}
	wires    []*wire // all that there ever were; the last one may be live
	clients  []*Client
	delay    time.Duration
	receives int // packets until the network is cut; 0: it is not
	sends    int // the same for packets of the client
}

func newLink(tb testing.TB, srv *core.Server, o Options) *link {
	l := &link{tb: tb, server: srv, options: o.withDefaults(), changed: make(chan struct{})}
	tb.Cleanup(func() {
		l.mu.Lock()
		wires := l.wires
		l.mu.Unlock()
		for _, w := range wires {
			w.end(reasonForcedClose)
			_ = w.pipe.Close()
		}
		l.running.Wait()
	})
	return l
}

// notify wakes who waits for a change. The caller holds mu.
func (l *link) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wait blocks until done, which is called with mu held, returns true. It fails
// the test when that takes too long.
func (l *link) wait(what string, done func() bool) {
	l.tb.Helper()
	patience := time.NewTimer(l.options.Patience)
	defer patience.Stop()
	for {
		l.mu.Lock()
		ok, changed := done(), l.changed
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-patience.C:
			l.tb.Fatalf("upshifttest: waited %s in vain for %s", l.options.Patience, what)
		}
	}
}

// live returns the current wire, or nil. The caller holds mu.
func (l *link) live() *wire {
	if n := len(l.wires); n > 0 && l.wires[n-1].reason == "" {
		return l.wires[n-1]
	}
	return nil
}

// dial opens a session. Clients that want to be connected join their
// namespaces when the server has opened it.
func (l *link) dial() error {
	l.mu.Lock()
	server := l.server
	l.mu.Unlock()
	p, err := memory.Dial(server, l.options.Handshake)
	if err != nil {
		return err
	}
	w := &wire{
		link: l, pipe: p, in: newLane(), out: newLane(),
		over: make(chan struct{}), decoder: l.options.Codec.NewDecoder(),
	}
	l.mu.Lock()
	l.wires = append(l.wires, w)
	l.mu.Unlock()
	l.running.Go(w.receive)
	l.running.Go(func() { w.in.run(w.over, w.deliver) })
	l.running.Go(func() { w.out.run(w.over, w.send) })
	return nil
}

// A wire is one connection to the server.
type wire struct {
	link    *link
	pipe    *pipe.Client
	in, out *lane
	over    chan struct{} // closed when the client's side has ended
	decoder codec.Decoder // of deliver

	// Guarded by link.mu.
	opened   bool
	vanished bool   // neither side hears of the other
	reason   string // not empty when over is closed
	patience time.Duration
	silence  *time.Timer // runs out when the server is not heard
}

// receive takes what the server sends off the pipe, until there is no more.
func (w *wire) receive() {
	for {
		p, err := w.pipe.Receive(context.Background()) // ends with the pipe
		if err != nil {
			p = transports.Packet{Type: transports.Close}
		}
		w.link.mu.Lock()
		delay := w.link.delay
		w.link.mu.Unlock()
		w.in.push(delay, p)
		if err != nil {
			return
		}
	}
}

// send passes one packet of the client to the server.
func (w *wire) send(p transports.Packet) bool {
	l := w.link
	l.mu.Lock()
	vanished := w.vanished
	l.mu.Unlock()
	// Counted before it arrives: what the test does upon its arrival is about
	// those that follow.
	last := !vanished && p.Type == transports.Message && l.count(&l.sends)
	switch {
	case vanished:
		return true
	case p.Type == transports.Close:
		w.end(reasonForcedClose) // before the end that the server makes of it arrives
		_ = w.pipe.Close()
		return false
	case w.pipe.Send(p) != nil:
		return false // receive says why
	case last:
		w.cut()
		return false
	}
	return true
}

// deliver passes one packet of the server to the client.
func (w *wire) deliver(p transports.Packet) bool {
	l := w.link
	l.mu.Lock()
	vanished := w.vanished
	l.mu.Unlock()
	if vanished {
		return true
	}
	switch p.Type {
	case transports.Open:
		w.open(p.Data)
	case transports.Ping:
		l.mu.Lock()
		w.silence.Reset(w.patience)
		w.out.push(l.delay, transports.Packet{Type: transports.Pong, Data: p.Data})
		l.mu.Unlock()
	case transports.Message:
		last := l.count(&l.receives) // before it is handled, see send
		r, ok, err := w.decoder.Decode(codec.Frame{Binary: p.Binary, Data: p.Data})
		if err != nil {
			l.tb.Errorf("upshifttest: the server has sent %q: %v", p.Data, err)
		}
		if ok {
			w.handle(&r)
		}
		if last {
			w.cut()
			return false
		}
	case transports.Close:
		w.end(reasonTransportClose)
		return false
	case transports.Pong, transports.Upgrade, transports.Noop:
		l.tb.Errorf("upshifttest: the server has sent a packet %s", p.Type)
	}
	return true
}

// count counts down to a cut, and reports whether it has come to it.
func (l *link) count(left *int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *left == 0 {
		return false
	}
	*left--
	return *left == 0
}

// open starts what the first packet of a session starts.
func (w *wire) open(data []byte) {
	l := w.link
	var open struct{ PingInterval, PingTimeout int64 }
	if err := json.Unmarshal(data, &open); err != nil {
		l.tb.Errorf("upshifttest: the server has sent %q: %v", data, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.patience = time.Duration(open.PingInterval+open.PingTimeout) * time.Millisecond
	w.silence = time.AfterFunc(w.patience, w.silent)
	w.opened = true
	for _, c := range l.clients {
		if c.state == connecting {
			c.connect(w)
		}
	}
}

// silent ends a connection on which the server was not heard in time.
func (w *wire) silent() {
	w.link.mu.Lock()
	vanished := w.vanished
	w.link.mu.Unlock()
	w.end(reasonPingTimeout)
	if !vanished {
		_ = w.pipe.Close()
	}
}

// cut ends the connection as a network failure does that both sides notice.
func (w *wire) cut() {
	w.end(reasonTransportError) // before the end that the server makes of it arrives
	w.pipe.Cut()
}

// end ends the client's side.
func (w *wire) end(reason string) {
	l := w.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.reason != "" {
		return
	}
	w.reason = reason
	close(w.over)
	if w.silence != nil {
		w.silence.Stop()
	}
	for _, c := range l.clients {
		c.lose(lost, reason)
	}
	l.notify()
}
