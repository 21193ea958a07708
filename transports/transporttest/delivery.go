package transporttest

import (
	"errors"
	"strings"

	"github.com/upshift-go/upshift/transports"
)

func checkIdentity(k *rig) {
	t := k.config.Transport
	name, features := t.Name(), t.Features()
	if name == "" {
		k.Error("the transport has no name")
	}
	s, _ := k.connect()
	if t.Name() != name || t.Features() != features {
		k.Error("name or features have changed")
	}
	if _, ok := s.conn.(transports.Retirer); features.Upgradable && !ok {
		k.Errorf("the transport is upgradable, but a %T is no Retirer", s.conn)
	}
}

// The first Ready comes by itself and starts the session, and connections are
// apart from each other.
func checkOpen(k *rig) {
	s1, p1 := k.connect()
	s2, p2 := k.connect()
	p1.send(text("from 1"))
	p2.send(text("from 2"))
	k.wantReceived(s1, text("from 1"))
	k.wantReceived(s2, text("from 2"))
	s2.send(text("to 2"))
	s1.send(text("to 1"))
	p1.want(text("to 1"))
	p2.want(text("to 2"))
}

// What a client sends in the same instant as it connects has somewhere to go.
// Where it is lost, it is lost rarely.
func checkEarlyPacket(k *rig) {
	want := []transports.Packet{text("first"), binary("second"), text("third"), text("fourth")}
	for range 50 {
		s, p := k.connect(want[:3]...)
		p.send(want[3])
		k.wantReceived(s, want...)
	}
}

// A session may be gone before the conn is attached.
func checkAttachRefused(k *rig) {
	k.host.script.refusal = errOnPurpose
	var client Client
	var err error
	k.within("dialling", func() { client, err = k.dial() })
	if err != nil {
		return
	}
	k.Cleanup(client.Vanish)
	p := &peer{rig: k, client: client}
	defer p.readers.Wait()
	defer client.Vanish()
	got, done := p.listen()
	p.wantEnd(got, done)
}

// B18, B49: order, both ways at once.
func checkOrder(k *rig) {
	s, p := k.connect()
	up, down := sequence(0, 1000), sequence(5000, 1000)
	sending := k.start(func() {
		for _, batch := range batches(down) {
			s.send(batch...)
		}
	})
	var err error
	posting := k.start(func() {
		for _, batch := range batches(up) {
			if err = p.client.Send(batch...); err != nil {
				return
			}
		}
	})
	p.want(down...)
	k.wait("the session's Send", sending)
	k.wait("the client's Send", posting)
	if err != nil {
		k.Fatalf("the client sends: %v", err)
	}
	k.wantReceived(s, up...)
}

// kinds are messages that are easily damaged.
func kinds() []transports.Packet {
	var every strings.Builder
	for b := range 256 {
		every.WriteByte(byte(b))
	}
	return []transports.Packet{
		text(""), binary(""), text("a"), binary("\x00"),
		text("€ 漢字 🙂 \u2028\x00\x7f"), text("b64"), text("4"), text("6"), text("[\"event\",1]"),
		text("lines\nlike\r\nthese\rand\n\nothers\n"), text(" data: \n"),
		binary("text"), binary("\xff\xfe"), binary("\xc3"), binary(every.String()),
		text(strings.Repeat("ä", 20_000)), binary(strings.Repeat("\x81", 20_000)),
	}
}

// B27, B50: messages of each kind, by themselves and together.
func checkKinds(k *rig) {
	s, p := k.connect()
	want := kinds()
	s.send(kinds()...)
	p.want(want...)
	p.send(kinds()...)
	k.wantReceived(s, want...)
	for _, message := range kinds() {
		s.send(message)
		p.want(message)
		p.send(message)
	}
	k.wantReceived(s, append(want, want...)...)
}

// Packets that are no messages are the session's to understand.
func checkControlPackets(k *rig) {
	s, p := k.connect()
	down := []transports.Packet{
		{Type: transports.Ping},
		{Type: transports.Pong, Data: []byte("probe")},
		{Type: transports.Noop},
		text("message"),
		{Type: transports.Ping, Data: []byte("data")},
	}
	up := []transports.Packet{
		{Type: transports.Pong},
		{Type: transports.Ping, Data: []byte("probe")},
		text("message"),
		{Type: transports.Upgrade},
		{Type: transports.Noop},
	}
	for _, packet := range down {
		s.send(packet)
	}
	p.want(down...)
	p.send(up...)
	k.wantReceived(s, up...)
}

// A40: the packets of a broadcast, of which a transport may keep its own form,
// go to several clients, alone and among others.
func checkSharedPackets(k *rig) {
	shared := []transports.Packet{text("text to all"), binary("\x00 bytes to all"), text(strings.Repeat("long text to all ", 2000))}
	for i := range shared {
		shared[i].Shared = new(transports.Shared)
	}
	terse := shared[2]
	terse.NoCompress = true
	for range 3 {
		s, p := k.connect()
		for _, packet := range shared {
			s.send(packet)
		}
		p.want(shared...)
		s.send(text("before"), shared[0], shared[2], text("between"), shared[1], terse)
		p.want(text("before"), shared[0], shared[2], text("between"), shared[1], terse)
	}
}

// A session answers from inside Receive, and sends from inside Ready what has
// waited for it: a conn holds no lock there that Send takes.
func checkSendInsideReceive(k *rig) {
	k.host.script.receive = func(s *session, p transports.Packet) error {
		s.send(p)
		return nil
	}
	s, p := k.connect()
	packets := sequence(0, 200)
	var err error
	sending := k.start(func() {
		for _, batch := range batches(packets) {
			if err = p.client.Send(batch...); err != nil {
				return
			}
		}
	})
	p.want(packets...)
	k.wait("the client's Send", sending)
	if err != nil {
		k.Fatalf("the client sends: %v", err)
	}
	k.wantReceived(s, packets...)
}

// B20, B51: the limit is exact. It counts the type digit.
func checkMaxPayload(k *rig) {
	s, p := k.connect()
	exact := text(strings.Repeat("x", MaxPayload-1))
	p.send(exact)
	k.wantReceived(s, exact)
	k.refused(s, p, text(strings.Repeat("x", MaxPayload)))
}

// What is far over the limit is refused as well, binary too.
func checkFarOverMaxPayload(k *rig) {
	s, p := k.connect()
	p.send(text("before"))
	k.wantReceived(s, text("before"))
	k.refused(s, p, binary(strings.Repeat("\xff", 50*MaxPayload)))
}

// refused sends a packet that is too large.
func (k *rig) refused(s *session, p *peer, packet transports.Packet) {
	s.mu.Lock()
	n := len(s.received)
	s.mu.Unlock()
	var err error
	k.within("the client's Send", func() { err = p.client.Send(packet) })
	if k.config.OversizeSurvives {
		if err == nil {
			k.Error("the client was not told that its packet was too large")
		}
		p.send(text("after"))
		s.send(text("answer"))
		p.want(text("answer"))
		k.awaitReceived(s, n+1)
		s.mu.Lock()
		defer s.mu.Unlock()
		k.compare("the session received", s.received[n:], []transports.Packet{text("after")})
		return
	}
	if cause := k.wantClosed(s); cause.Reason != transports.TransportError || !errors.Is(cause, transports.ErrPayloadTooLarge) {
		k.Errorf("the session was closed by %q, want a transport error with ErrPayloadTooLarge", cause)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.received) != n {
		k.Errorf("it received %s", describe(s.received[n]))
	}
}
