package transporttest

import (
	"context"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// A fault is one way to break the contract. What is nil works as it should.
type fault struct {
	attach  func(f *faulty, err error) (transports.Sink, error) // the outcome of Open
	limit   int64                                               // instead of MaxPayload
	name    func() string
	send    func(f *faulty, batch []transports.Packet) (bool, error)
	close   func(f *faulty, cause error)
	retire  func(f *faulty)
	receive func(f *faulty, p transports.Packet) error
	ready   func(f *faulty)
	closed  func(f *faulty, cause error)
}

// A faultyTransport puts a fault between a pipe and the suite. It is
// upgradable, which pipes are not.
type faultyTransport struct {
	pipe    *pipe.Transport
	fault   fault
	forever chan struct{} // closed after the test, for what must not be left for ever
}

func (t *faultyTransport) Name() string {
	if t.fault.name != nil {
		return t.fault.name()
	}
	return "faulty"
}

func (t *faultyTransport) Features() transports.Features {
	return transports.Features{Upgradable: true}
}

// faulty is the pipe's sink and the suite's conn.
type faulty struct {
	fault     fault
	transport *faultyTransport
	host      *Host
	conn      transports.Conn
	sink      transports.Sink
	lock      chan struct{}      // see locked
	end       chan struct{}      // closed when the conn is over
	receiving sync.WaitGroup     // packets on their way from the client
	life      context.Context    // of the client's Receive
	release   context.CancelFunc // ends it

	mu       sync.Mutex // guards what follows
	count    int        // for faults that do not come at once
	kept     []transports.Packet
	draining bool
	retired  bool
	over     bool
}

var _ transports.Retirer = (*faulty)(nil)

// start is the Start of a Config.
func (t *faultyTransport) start(_ testing.TB, host *Host) Dial {
	return func(early ...transports.Packet) (Client, error) {
		f := &faulty{
			fault: t.fault, transport: t, host: host,
			lock: make(chan struct{}, 1), end: make(chan struct{}),
		}
		f.life, f.release = context.WithCancel(context.Background())
		client, err := t.pipe.Dial(f, transports.Handshake{})
		if err != nil {
			return nil, err
		}
		c := faultyClient{client, f}
		_ = c.Send(early...) // it may be over already
		return c, nil
	}
}

// A faultyClient is the client of a transport that can be retired.
type faultyClient struct {
	*pipe.Client
	f *faulty
}

func (c faultyClient) Send(batch ...transports.Packet) error {
	c.f.mu.Lock()
	if c.f.retired {
		c.f.mu.Unlock()
		return transports.ErrRetired
	}
	c.f.receiving.Add(len(batch))
	c.f.mu.Unlock()
	for i, p := range batch {
		if err := c.Client.Send(p); err != nil {
			c.f.receiving.Add(i - len(batch)) // these will not be received
			return err
		}
	}
	return nil
}

func (c faultyClient) Receive(ctx context.Context) (transports.Packet, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.f.life, cancel)()
	return c.Client.Receive(ctx)
}

func (c faultyClient) Vanish() {
	c.Cut()
	c.f.release()
}

// Open implements transports.Host for the pipe.
func (f *faulty) Open(_ transports.Transport, h transports.Handshake, conn transports.Conn) (transports.Sink, error) {
	f.conn = conn
	sink, err := f.host.Open(f.transport, h, f)
	f.sink = sink
	if f.fault.attach != nil {
		return f.fault.attach(f, err)
	}
	return f, err
}

func (f *faulty) MaxPayload() int64 {
	if f.fault.limit != 0 {
		return f.fault.limit
	}
	return f.host.MaxPayload()
}

func (f *faulty) Send(batch []transports.Packet) (bool, error) {
	f.mu.Lock()
	retired := f.retired
	f.mu.Unlock()
	switch {
	case f.fault.send != nil:
		return f.fault.send(f, batch)
	case retired:
		return false, transports.ErrRetired
	}
	return f.conn.Send(batch)
}

func (f *faulty) Close(cause error) {
	if f.fault.close != nil {
		f.fault.close(f, cause)
		return
	}
	f.conn.Close(cause)
}

func (f *faulty) Retire() {
	if f.fault.retire != nil {
		f.fault.retire(f)
		return
	}
	f.refuse()
	f.release()
	f.receiving.Wait()
}

// refuse makes Send, and the client's, fail.
func (f *faulty) refuse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retired = true
}

func (f *faulty) Receive(p transports.Packet) error {
	defer f.receiving.Done()
	if f.fault.receive != nil {
		return f.fault.receive(f, p)
	}
	return f.sink.Receive(p)
}

func (f *faulty) Ready() {
	if f.fault.ready != nil {
		f.fault.ready(f)
		return
	}
	f.sink.Ready()
}

func (f *faulty) Closed(cause error) {
	f.mu.Lock()
	if !f.over {
		f.over = true
		close(f.end)
	}
	f.mu.Unlock()
	if f.fault.closed != nil {
		f.fault.closed(f, cause)
		return
	}
	f.sink.Closed(cause)
}

// nth counts, and reports whether this is the nth call.
func (f *faulty) nth(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.count == n
}

// keep and take keep packets from one call for another.
func (f *faulty) keep(packets ...transports.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = packets
}

func (f *faulty) take() []transports.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.kept
	f.kept = nil
	return kept
}

// locked calls do with a lock held, as who forgets that the session calls back.
// Only the end of the conn breaks it.
func (f *faulty) locked(do func()) {
	select {
	case f.lock <- struct{}{}:
		defer func() { <-f.lock }()
	case <-f.end:
	case <-f.transport.forever:
	}
	do()
}
