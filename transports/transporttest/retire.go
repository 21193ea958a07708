package transporttest

import (
	"errors"
	"slices"

	"github.com/upshift-go/upshift/transports"
)

// retire calls Retire. What the conn reports from then on does not count.
func (k *rig) retire(s *session) (done <-chan struct{}) {
	k.Helper()
	retirer, ok := s.conn.(transports.Retirer)
	if !ok {
		k.Fatalf("the transport is upgradable, but a %T is no Retirer", s.conn)
	}
	s.mu.Lock()
	s.retired = true
	s.mu.Unlock()
	return k.start(retirer.Retire)
}

// A parked poll is released, whoever comes later is refused, and Send gives the
// batch back.
func checkRetire(k *rig) {
	s, p := k.connect()
	_, done := p.listen()
	p.send(text("before"))
	k.await(s, "Ready", func() bool { return s.ready })
	k.wait("Retire to return", k.retire(s))
	k.wait("the client's Receive to be released", done)
	k.wantReceived(s, text("before"))

	s.mu.Lock()
	s.ready = true // as far as the session knows
	s.mu.Unlock()
	k.within("Send", func() { s.send(text("for the other transport")) })
	s.mu.Lock()
	err := s.sendErr
	s.mu.Unlock()
	if !errors.Is(err, transports.ErrRetired) {
		k.Errorf("Send of a retired conn returned %v, want ErrRetired", err)
	}
	if err := p.client.Send(text("too late")); err == nil {
		k.Error("a retired conn took a packet")
	}
	k.wantReceived(s, text("before"))
}

// A conn that has nothing under way is retired at once, and Close may follow.
func checkRetireIdle(k *rig) {
	s, _ := k.connect()
	k.wait("Retire to return", k.retire(s))
	k.within("Close", func() { s.conn.Close(errServerCloses) })
}

// A10, B60: what arrived before is received before Retire returns, because the
// other transport's packets come after it.
func checkRetireWaits(k *rig) {
	receive, open := k.gate(nil)
	k.host.script.receive = receive
	s, p := k.connect()
	_, done := p.listen()
	k.await(s, "Ready", func() bool { return s.ready })
	batch := sequence(0, 10)
	var err error
	sending := k.start(func() { err = p.client.Send(batch...) })
	k.await(s, "Receive", func() bool { return s.receiving })
	retired := k.retire(s)
	k.wait("the client's Receive to be released", done)
	k.never("Retire returned while a packet was still being received", retired)
	open()
	k.wait("Retire to return", retired)
	s.mu.Lock()
	received := slices.Clone(s.received)
	s.mu.Unlock()
	k.wait("the client's Send", sending)
	if err != nil { // not all of it had arrived, and the client knows
		batch = batch[:min(len(received), len(batch))]
	}
	k.compare("before Retire returned, the session received", received, batch)
	k.wantReceived(s, batch...)
}
