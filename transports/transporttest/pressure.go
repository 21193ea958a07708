package transporttest

import (
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// What is sent to somebody who does not take it: more than the buffers of any
// connection hold.
const (
	floodPacket = 60_000 // bytes
	floodMost   = 1200   // packets
)

// fill sends to a client that takes nothing until the conn takes nothing more,
// and returns what was sent. The last packet waits in the session.
func (k *rig) fill(s *session) []transports.Packet {
	k.Helper()
	var sent []transports.Packet
	for i := range floodMost {
		sent = append(sent, numbered(i, floodPacket))
		k.within("Send to a client that takes nothing", func() { s.send(sent[i]) })
		if k.full(s) {
			return sent
		}
	}
	k.Fatalf("Send takes without end what the client does not: %d packets of %d bytes", floodMost, floodPacket)
	return nil
}

// full reports whether the conn holds a session back that has something to
// send. It may have to write for a while before it is ready.
func (k *rig) full(s *session) bool {
	timeout := time.NewTimer(quiet)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed, waiting := s.changed, len(s.outbox) > 0 && !s.flushing
		ready := s.ready || len(s.causes) > 0
		s.mu.Unlock()
		if ready {
			return false
		}
		select {
		case <-changed:
		case <-timeout.C:
			return waiting
		}
	}
}

// Send does not wait for the client; it says that the conn is full, and Ready
// is called when the client has taken what there was. Nothing is lost.
func checkSlowClient(k *rig) {
	s, p := k.connect()
	sent := k.fill(s)
	p.want(sent...)
	more := numbered(len(sent), 100)
	s.send(more)
	p.want(more)
	k.await(s, "all batches to be taken", func() bool { return len(s.outbox) == 0 && !s.flushing })
}

// B50, B53: a session that takes nothing stops the client, whatever the
// transport has for buffers, and loses nothing. Until then the packet that it
// looks at is left alone.
func checkSlowSession(k *rig) {
	receive, open := k.gate(nil)
	k.host.script.receive = receive
	s, p := k.connect()
	var sent atomic.Int64
	var stop atomic.Bool
	var err error
	sending := k.start(func() {
		for i := 0; i < floodMost && !stop.Load() && err == nil; i++ {
			err = p.client.Send(numbered(i, floodPacket))
			sent.Add(1)
		}
	})
	for before := int64(-1); before != sent.Load(); { // until there is no progress
		before = sent.Load()
		select {
		case <-sending:
			open()
			k.Fatalf("the session takes nothing, but the client has sent %d packets of %d bytes", sent.Load(), floodPacket)
		case <-time.After(quiet):
		}
	}
	s.mu.Lock()
	received := len(s.received)
	s.mu.Unlock()
	stop.Store(true)
	open()
	if received > 0 {
		k.Errorf("%d packets were received while the first was", received)
	}
	k.wait("the client's Send", sending)
	if err != nil {
		k.Fatalf("the client sends: %v", err)
	}
	want := make([]transports.Packet, sent.Load())
	for i := range want {
		want[i] = numbered(i, floodPacket)
	}
	k.wantReceived(s, want...)
}
