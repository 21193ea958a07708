package adaptertest

import (
	"context"
	"errors"
	"sync"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// A Bus is a broker in memory, for tests of programs that are to run on several
// servers: each gets an engine of the same bus.
//
//	bus := new(adaptertest.Bus)
//	one := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
//	two := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
//
// Messages are encoded as engines encode them. The zero Bus is ready.
type Bus struct {
	mu      sync.RWMutex // guards what follows
	engines []*BusEngine
	log     []cluster.Publication // what is kept; the offset is the place, from 1 on
	clients map[string]savedClient
}

// Engine returns an engine for one more server.
func (b *Bus) Engine() *BusEngine { return &BusEngine{bus: b} }

// A BusEngine is a cluster.Engine on a Bus. Of the others its server learns by
// heartbeats.
type BusEngine struct {
	bus *Bus
	in  cluster.Inbox

	mu        sync.Mutex // guards what follows
	cut       bool
	held      bool
	echo      bool
	failReads int
	queue     []delivery
	closed    bool
	more      *sync.Cond
	done      chan struct{}

	position int // the last of the log that has been received
}

var errCut = errors.New("adaptertest: the bus cannot be reached")

// Cut cuts the server off from the bus, so that it neither sends nor receives,
// or joins it again.
func (e *BusEngine) Cut(cut bool) {
	e.mu.Lock()
	back := e.cut && !cut
	e.cut = cut
	e.mu.Unlock()
	if back {
		e.in.Gap(errCut)
	}
}

// Hold makes the bus take nothing from the server, and say nothing, or go on.
func (e *BusEngine) Hold(held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = held
}

// Echo makes the bus take what the server sends and say that it has not, or be
// honest again.
func (e *BusEngine) Echo(echo bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.echo = echo
}

// Name implements cluster.Engine.
func (e *BusEngine) Name() string { return "bus" }

// Start implements cluster.Engine.
func (e *BusEngine) Start(in cluster.Inbox) error {
	e.in, e.more, e.done = in, sync.NewCond(&e.mu), make(chan struct{})
	go e.receive()
	e.bus.mu.Lock()
	defer e.bus.mu.Unlock()
	e.position = len(e.bus.log)
	e.bus.engines = append(e.bus.engines, e)
	return nil
}

// Encode implements cluster.Engine.
func (e *BusEngine) Encode(m *cluster.Message) (cluster.Publication, error) {
	data, err := cluster.AppendMsgPack(nil, m)
	return cluster.Publication{Type: m.Type, Namespace: m.Namespace, Channel: m.To, Data: data}, err
}

// Publish implements cluster.Engine.
func (e *BusEngine) Publish(ctx context.Context, batch []cluster.Publication) error {
	e.mu.Lock()
	cut, held, echo := e.cut, e.held, e.echo
	e.mu.Unlock()
	switch {
	case held:
		<-ctx.Done()
		return context.Cause(ctx)
	case cut:
		return errCut
	}
	e.bus.publish(e, batch)
	if echo {
		return errCut
	}
	return nil
}

// publish gives a batch to everybody it is for.
func (b *Bus) publish(from *BusEngine, batch []cluster.Publication) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range batch {
		d := delivery{Publication: p}
		if p.Nonce != "" {
			b.log = append(b.log, p)
			d.offset = len(b.log)
		}
		for _, other := range b.engines {
			if other != from || p.Nonce != "" {
				other.enqueue(d)
			}
		}
	}
}

// A delivery is a publication on its way, and its offset if it is kept.
type delivery struct {
	cluster.Publication
	offset int
}

func (e *BusEngine) enqueue(d delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut || e.closed || d.Channel != "" && d.Channel != e.in.ID() {
		return
	}
	e.queue = append(e.queue, d)
	e.more.Signal()
}

// receive hands on what arrives, until the engine is closed.
func (e *BusEngine) receive() {
	defer close(e.done)
	for {
		e.mu.Lock()
		for len(e.queue) == 0 && !e.closed {
			e.more.Wait()
		}
		queue := e.queue
		e.queue = nil
		closed := e.closed
		e.mu.Unlock()
		if closed {
			return
		}
		for _, d := range queue {
			m, err := cluster.ReadMessage(d.Data)
			if err != nil {
				e.in.Malformed("bus", err)
				continue
			}
			if m.Nonce = d.Nonce; d.offset > 0 {
				m.Offset = offsetOf(d.offset)
			}
			e.in.Receive(m)
			e.mu.Lock()
			e.position = max(e.position, d.offset)
			e.mu.Unlock()
		}
	}
}

// Changed implements cluster.Engine.
func (e *BusEngine) Changed(string, ...string) {}

// Close implements cluster.Engine.
func (e *BusEngine) Close(context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.more.Signal()
	e.mu.Unlock()
	<-e.done
	e.bus.mu.Lock()
	defer e.bus.mu.Unlock()
	for i, other := range e.bus.engines {
		if other == e {
			e.bus.engines = append(e.bus.engines[:i:i], e.bus.engines[i+1:]...)
			break
		}
	}
	return nil
}
