package transporttest

import (
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// errNoHeartbeat is the cause with which they close for a client that says
// nothing.
var errNoHeartbeat = &transports.CloseError{Reason: transports.PingTimeout}

// What was sent before the session closes still leaves if it can, and the
// cause that is reported is the one that Close was given. Where something is
// lost, it is lost at times.
func checkSessionCloses(k *rig) {
	for range 20 {
		s, p := k.connect()
		got, done := p.listen()
		k.await(s, "Ready", func() bool { return s.ready && !s.flushing }) // so that send calls Send itself
		last := []transports.Packet{text("one"), binary("two"), text("three")}
		s.send(last...)
		k.within("Close", func() { s.close(errServerCloses) })
		p.wantEnd(got, done, last...)
		k.wantReason(s, transports.ForcedClose)
		if err := p.client.Send(text("after the end")); err == nil {
			// It may not have noticed yet; but nothing arrives, which the session
			// sees to.
			k.Log("the client could still send")
		}
	}
}

// A session may send the last it has to say and close as soon as the conn is
// ready, which is when a writer that is told of both may look at the end first.
func checkSessionClosesWhenReady(k *rig) {
	last := text("the last")
	k.host.script.ready = func(s *session, first bool) {
		if first {
			s.send(last)
		} else {
			s.flush()
		}
		s.mu.Lock()
		sent := len(s.sent)
		s.mu.Unlock()
		if sent == 2 { // with the Open packet
			s.close(errServerCloses)
		}
	}
	for range 20 {
		s, p := k.connect()
		got, done := p.listen()
		p.wantEnd(got, done, last)
		k.wantReason(s, transports.ForcedClose)
	}
}

// B40, B44: the last batch of an orderly close ends with a packet of type
// Close.
func checkSessionClosesOrderly(k *rig) {
	s, p := k.connect()
	got, done := p.listen()
	k.await(s, "Ready", func() bool { return s.ready && !s.flushing }) // so that send calls Send itself
	s.send(text("goodbye"), transports.Packet{Type: transports.Close})
	k.within("Close", func() { s.close(errServerCloses) })
	p.wantEnd(got, done, text("goodbye"))
	k.wantReason(s, transports.ForcedClose)
}

// Close may be called from anywhere, also again. A28: Closed is called once.
func checkCloseOnce(k *rig) {
	k.host.script.closed = func(s *session) { s.conn.Close(errOnPurpose) }
	for range 20 {
		s, p := k.connect()
		got, done := p.listen()
		var closing sync.WaitGroup
		for range 4 {
			closing.Go(func() { s.conn.Close(errServerCloses) })
		}
		k.within("Close", closing.Wait)
		p.wantEnd(got, done)
		k.within("another Close", func() { s.conn.Close(errOnPurpose) })
		k.wantReason(s, transports.ForcedClose)
	}
}

// A33: Close does not wait for a client that takes nothing.
func checkCloseSlowClient(k *rig) {
	s, _ := k.connect()
	k.fill(s)
	k.within("Close", func() { s.close(errServerCloses) })
	k.wantReason(s, transports.ForcedClose)
}

func checkCloseWhileSending(k *rig) {
	for i := range 20 {
		s, p := k.connect()
		_, done := p.listen()
		sending := k.sendOn(s)
		k.await(s, "some batches to be sent", func() bool { return len(s.sent) > 1+i })
		k.within("Close", func() { s.close(errServerCloses) })
		k.wait("the client to notice the end", done)
		k.wantReason(s, transports.ForcedClose)
		k.wait("Send to return", sending)
	}
}

// sendOn sends until the session has ended. It does not run far ahead of the
// conn.
func (k *rig) sendOn(s *session) (done <-chan struct{}) {
	return k.start(func() {
		for n := 0; ; {
			s.mu.Lock()
			ended, waiting, changed := len(s.causes) > 0, len(s.outbox), s.changed
			s.mu.Unlock()
			switch {
			case ended:
				return
			case waiting < 10:
				s.send(numbered(n, 2000))
				n++
			default:
				select {
				case <-changed:
				case <-k.over:
					return
				}
			}
		}
	})
}

// B41: nothing is received after the end, but what another goroutine was about
// to pass on.
func checkCloseWhileReceiving(k *rig) {
	for i := range 20 {
		s, p := k.connect()
		_, done := p.listen()
		sending := k.start(func() {
			var err error
			for n := 0; err == nil; n++ {
				err = p.client.Send(numbered(n, 1000), numbered(n, 1000))
			}
		})
		k.awaitReceived(s, 1+i)
		s.mayStraggle()
		k.within("Close", func() { s.close(errServerCloses) })
		k.wait("the client to notice the end", done)
		p.client.Vanish()
		k.wait("the client's Send", sending)
		k.wantReason(s, transports.ForcedClose)
	}
}

// Close does not wait for Receive.
func checkCloseWhileReceiveBlocks(k *rig) {
	receive, open := k.gate(errEnded)
	k.host.script.receive = receive
	s, p := k.connect()
	_, done := p.listen()
	sending := k.start(func() { _ = p.client.Send(text("one"), text("two"), text("three")) })
	k.await(s, "Receive", func() bool { return s.receiving })
	closing := k.start(func() { s.close(errServerCloses) })
	defer k.wait("the client's Send", sending)
	defer p.client.Vanish()
	defer open()
	k.wait("Close to return while Receive blocks", closing)
	k.wait("the client to notice the end", done)
}

// B41: Close from inside Receive is the end of what is received.
func checkCloseInsideReceive(k *rig) {
	k.host.script.receive = func(s *session, p transports.Packet) error {
		if string(p.Data) == "three" {
			s.close(errServerCloses)
		}
		return nil
	}
	s, p := k.connect()
	_, done := p.listen()
	sending := k.start(func() { _ = p.client.Send(text("one"), text("two"), text("three"), text("four"), text("five")) })
	k.wantReason(s, transports.ForcedClose)
	k.wait("the client to notice the end", done)
	k.wait("the client's Send", sending)
	k.wantReceived(s, text("one"), text("two"), text("three"))
}

// The server may be shutting down when the session starts.
func checkCloseInsideFirstReady(k *rig) {
	k.host.script.ready = func(s *session, first bool) {
		if first {
			s.close(errServerCloses)
		}
	}
	var client Client
	var err error
	k.within("dialling", func() { client, err = k.dial(text("early")) })
	s := k.session()
	k.wantReason(s, transports.ForcedClose)
	if err == nil {
		k.Cleanup(client.Vanish)
		p := &peer{rig: k, client: client}
		defer p.readers.Wait()
		defer client.Vanish()
		_, done := p.listen()
		k.wait("the client to notice the end", done)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.compare("the session received", s.received, nil)
}

func checkCloseInsideReady(k *rig) {
	closing := make(chan struct{})
	k.host.script.ready = func(s *session, _ bool) {
		select {
		case <-closing:
			s.close(errServerCloses)
		default:
		}
	}
	s, p := k.connect()
	k.fill(s)
	close(closing)
	_, done := p.listen()
	k.wantReason(s, transports.ForcedClose)
	k.wait("the client to notice the end", done)
}

// After an error of Receive what is left of the input is dropped, whether or
// not the session has called Close.
func checkReceiveFails(k *rig) {
	k.host.script.receive = func(_ *session, p transports.Packet) error {
		if string(p.Data) == "three" {
			return errOnPurpose
		}
		return nil
	}
	s, p := k.connect()
	_, done := p.listen()
	sending := k.start(func() { _ = p.client.Send(text("one"), text("two"), text("three"), text("four"), text("five")) })
	k.awaitReceived(s, 3)
	select {
	case <-sending: // the conn has dropped the rest
	case <-time.After(quiet): // or does not read on
	}
	k.within("Close", func() { s.close(errServerCloses) })
	k.wait("the client to notice the end", done)
	k.wait("the client's Send", sending)
	k.wantReason(s, transports.ForcedClose)
	k.wantReceived(s, text("one"), text("two"), text("three"))
}

// B40: the session receives what a client sent before it said goodbye, and
// then the end, however slow it is.
func checkClientCloses(k *rig) {
	receive, open := k.gate(nil)
	k.host.script.receive = receive
	k.host.script.closed = func(s *session) { s.conn.Close(errOnPurpose) }
	s, p := k.connect()
	_, done := p.listen()
	want := sequence(0, 20)
	leaving := k.start(func() {
		for _, batch := range batches(want) {
			_ = p.client.Send(batch...)
		}
		_ = p.client.Close()
	})
	k.await(s, "Receive", func() bool { return s.receiving })
	open()
	k.wait("the client's Close", leaving)
	k.wantReason(s, transports.TransportClose)
	k.wait("the client's Receive", done)
	k.wantReceived(s, want...)
}

// B24: a lost connection is noticed, at the latest when the client was
// expected to say something. There is a goroutine in its Receive.
func checkClientVanishes(k *rig) {
	s, p := k.connect()
	_, done := p.listen()
	p.send(text("one"), text("two"))
	k.awaitReceived(s, 2)
	k.await(s, "Ready", func() bool { return s.ready })
	p.client.Vanish()
	k.wantReason(s, transports.TransportClose, transports.TransportError)
	k.wait("the client's Receive", done)
	k.wantReceived(s, text("one"), text("two"))
}

// A client that vanishes while it is sent to ends the session, and Send does
// not wait for it.
func checkClientVanishesWhileSentTo(k *rig) {
	for range 10 {
		s, p := k.connect()
		_, done := p.listen()
		k.await(s, "Ready", func() bool { return s.ready })
		sending := k.sendOn(s)
		k.await(s, "some batches to be sent", func() bool { return len(s.sent) > 5 })
		p.client.Vanish()
		k.wait("the client's Receive", done)
		if k.config.VanishesUnnoticed {
			k.within("Close", func() { s.close(errNoHeartbeat) })
		}
		k.wantReason(s, transports.TransportClose, transports.TransportError, transports.PingTimeout)
		k.wait("Send to return", sending)
	}
}

// The end is noticed, at the latest, when Receive returns.
func checkClientVanishesWhileReceiveBlocks(k *rig) {
	receive, open := k.gate(nil)
	k.host.script.receive = receive
	s, p := k.connect()
	_, done := p.listen()
	sending := k.start(func() { _ = p.client.Send(text("one")) })
	k.await(s, "Receive", func() bool { return s.receiving })
	k.await(s, "Ready", func() bool { return s.ready })
	p.client.Vanish()
	k.wait("the client's Receive", done)
	k.wait("the client's Send", sending)
	open()
	k.wantReason(s, transports.TransportClose, transports.TransportError)
	k.wantReceived(s, text("one"))
}
