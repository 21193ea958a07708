package transporttest

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/upshift-go/upshift/transports"
)

type faultTest struct {
	check     string
	name      string
	complaint string
	fault     fault
}

const inVain = "waited in vain for "

// faults are transports that are broken in one way each, and the check that
// has to find out.
func faults() []faultTest {
	names := 0
	lockedInReceive := func(f *faulty, p transports.Packet) (err error) {
		f.locked(func() { err = f.sink.Receive(p) })
		return err
	}
	lockedInReady := fault{
		ready: func(f *faulty) { f.locked(f.sink.Ready) },
		close: func(f *faulty, cause error) { f.locked(func() { f.conn.Close(cause) }) },
		send:  func(f *faulty, batch []transports.Packet) (bool, error) { return f.conn.Send(batch) },
	}
	return []faultTest{
		{"Identity", "name changes", "name or features have changed", fault{name: func() string {
			names++
			return "faulty" + strconv.Itoa(min(names, 2))
		}}},
		{"Identity", "no name", "has no name", fault{name: func() string { return "" }}},
		{"Open", "no first Ready", "the client receives", fault{ready: func(*faulty) {}}},
		{"Open", "receives before Ready", "before the first Ready", fault{ready: func(f *faulty) {
			_ = f.sink.Receive(text("too early"))
			f.sink.Ready()
		}}},
		{"Open", "leaves a goroutine", "goroutines are left", fault{closed: func(f *faulty, cause error) {
			go func() { <-f.transport.forever }()
			f.sink.Closed(cause)
		}}},
		{"EarlyPacket", "loses it", inVain + "packets", fault{receive: func(f *faulty, p transports.Packet) error {
			if f.nth(1) {
				return nil
			}
			return f.sink.Receive(p)
		}}},
		{"AttachRefused", "goes on", inVain + "the client to notice the end", fault{
			attach: func(*faulty, error) (transports.Sink, error) { return deafSink{}, nil },
		}},
		{"Order", "loses one to the client", "the client received", fault{send: dropPacket(500)}},
		{"Order", "swaps two to the client", "the client received", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			batch = slices.Clone(batch)
			if len(batch) > 10 {
				batch[3], batch[4] = batch[4], batch[3]
			}
			return f.conn.Send(batch)
		}}},
		{"Order", "keeps data", "~~~", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			earlier := f.kept
			f.kept = slices.Clone(batch) // the packets are its own now, their data is not
			switch {
			case batch[0].Type == transports.Open:
				f.kept = nil
				return f.conn.Send(batch)
			case earlier == nil:
				return true, nil
			}
			return f.conn.Send(earlier)
		}}},
		{"Order", "keeps the batch", "that was no longer the", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			kept := f.kept
			f.kept = batch
			if kept == nil {
				return f.conn.Send(batch)
			}
			return f.conn.Send(kept)
		}}},
		{"Order", "doubles one from the client", "the session received", fault{receive: func(f *faulty, p transports.Packet) error {
			if f.nth(300) {
				_ = f.sink.Receive(p)
			}
			return f.sink.Receive(p)
		}}},
		{"Kinds", "binary becomes text", "received, as packet 1,", fault{receive: func(f *faulty, p transports.Packet) error {
			p.Binary = false
			return f.sink.Receive(p)
		}}},
		{"Kinds", "drops the empty", "received, as packet 0,", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			batch = slices.DeleteFunc(slices.Clone(batch), func(p transports.Packet) bool { return len(p.Data) == 0 })
			return f.conn.Send(batch)
		}}},
		{"Kinds", "cuts at NUL", "received, as packet 3,", fault{receive: func(f *faulty, p transports.Packet) error {
			p.Data, _, _ = bytes.Cut(p.Data, []byte{0})
			return f.sink.Receive(p)
		}}},
		{"ControlPackets", "answers them itself", inVain + "packets", fault{receive: func(f *faulty, p transports.Packet) error {
			if p.Type != transports.Message {
				return nil
			}
			return f.sink.Receive(p)
		}}},
		{"ControlPackets", "sends messages only", "the client received, as packet 0,", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			batch = slices.Clone(batch)
			for i := range batch {
				if batch[i].Type != transports.Open {
					batch[i].Type = transports.Message
				}
			}
			return f.conn.Send(batch)
		}}},
		{"SharedPackets", "one form for all", "the client received", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			batch = slices.Clone(batch)
			for i, p := range batch {
				if p.Shared != nil {
					form, _ := p.Shared.Form("form", func() any { return append([]byte("header"), p.Data...) }).([]byte)
					batch[i].Data = form
				}
			}
			return f.conn.Send(batch)
		}}},
		{"SendInsideReceive", "holds a lock", "the client receives", fault{
			receive: lockedInReceive,
			send: func(f *faulty, batch []transports.Packet) (ready bool, err error) {
				f.locked(func() { ready, err = f.conn.Send(batch) })
				return ready, err
			},
		}},
		{"SendInsideReceive", "reuses the data too early", "changed while Receive ran", fault{
			receive: func(f *faulty, p transports.Packet) error {
				if f.nth(1) { // what is sent for later ones may be sent by another goroutine
					f.keep(p)
				}
				return f.sink.Receive(p)
			},
			send: func(f *faulty, batch []transports.Packet) (bool, error) {
				ready, err := f.conn.Send(batch)
				for _, p := range f.take() {
					clear(p.Data)
				}
				return ready, err
			},
		}},
		{"MaxPayload", "one more", inVain + "Closed", fault{limit: MaxPayload + 1}},
		{"MaxPayload", "one less", inVain + "packets", fault{limit: MaxPayload - 1}},
		{"MaxPayload", "another cause", "want a transport error with ErrPayloadTooLarge", fault{closed: func(f *faulty, _ error) {
			f.sink.Closed(&transports.CloseError{Reason: transports.TransportError})
		}}},
		{"FarOverMaxPayload", "no limit", inVain + "Closed", fault{limit: 1 << 40}},
		{"FarOverMaxPayload", "delivers it, then ends", "it received", fault{limit: 1 << 40, receive: func(f *faulty, p transports.Packet) error {
			err := f.sink.Receive(p)
			if len(p.Data) > MaxPayload {
				f.conn.Close(&transports.CloseError{Reason: transports.TransportError, Err: transports.ErrPayloadTooLarge})
			}
			return err
		}}},
		{"SlowClient", "Send waits", inVain + "Send to a client that takes nothing", fault{send: waitForClient}},
		{"SlowClient", "is always ready", "without end what the client does not", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			_, err := f.conn.Send(batch)
			return true, err
		}}},
		{"SlowClient", "is not ready again", "the client receives", fault{ready: func(f *faulty) {
			if f.nth(1) {
				f.sink.Ready()
			}
		}}},
		{"SlowClient", "drops what is too much", "the client received", fault{send: dropPacket(3)}},
		{"SlowSession", "buffers without end", "the session takes nothing, but the client has sent", fault{receive: buffered}},
		{"SlowSession", "two at a time", "while another Receive ran", fault{receive: func(f *faulty, p transports.Packet) error {
			p.Data = bytes.Clone(p.Data)
			f.receiving.Go(func() { _ = f.sink.Receive(p) })
			return nil
		}}},
		{"SlowSession", "drops one", inVain + "packets", fault{receive: func(f *faulty, p transports.Packet) error {
			if f.nth(2) {
				return nil
			}
			return f.sink.Receive(p)
		}}},
		{"SessionCloses", "drops what was sent", "the client received", fault{send: keepLast}},
		{"SessionCloses", "another cause", "want one of", fault{closed: func(f *faulty, _ error) { f.sink.Closed(errOnPurpose) }}},
		{"SessionCloses", "no cause", "without a cause", fault{closed: func(f *faulty, _ error) { f.sink.Closed(nil) }}},
		{"SessionCloses", "does not", inVain + "the client to notice the end", fault{
			close: func(f *faulty, cause error) { f.sink.Closed(cause) }, closed: func(*faulty, error) {},
		}},
		{"SessionClosesWhenReady", "drops what was sent", "the client received", fault{send: keepLast}},
		{"SessionClosesOrderly", "shows the packet", "the client received 2 packets", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			batch = slices.Clone(batch)
			for i := range batch {
				if batch[i].Type == transports.Close {
					batch[i].Type = transports.Noop
				}
			}
			return f.conn.Send(batch)
		}}},
		{"CloseOnce", "reports twice", "Closed was called again", fault{closed: func(f *faulty, cause error) {
			f.sink.Closed(cause)
			f.sink.Closed(cause)
		}}},
		{"CloseOnce", "reports each call", "Closed was called again", fault{close: func(f *faulty, cause error) {
			if f.nth(1) {
				f.conn.Close(cause)
			} else if f.nth(3) {
				f.sink.Closed(cause)
			}
		}}},
		{"CloseSlowClient", "waits for the client", inVain + "Close to return", fault{close: func(f *faulty, cause error) {
			if ready, _ := f.conn.Send([]transports.Packet{text("last")}); !ready {
				<-f.end
			}
			f.conn.Close(cause)
		}}},
		{"CloseWhileSending", "never reports", inVain, fault{closed: func(*faulty, error) {}}},
		{"CloseWhileReceiving", "goes on", "after Closed", fault{closed: func(f *faulty, cause error) {
			f.sink.Closed(cause)
			_ = f.sink.Receive(text("late"))
			_ = f.sink.Receive(text("later"))
		}}},
		{"CloseWhileReceiveBlocks", "Close waits for it", inVain + "Close to return while Receive blocks", fault{close: func(f *faulty, cause error) {
			f.receiving.Wait()
			f.conn.Close(cause)
		}}},
		{"CloseInsideReceive", "goes on", "after Closed", fault{receive: func(f *faulty, p transports.Packet) error {
			err := f.sink.Receive(p)
			select {
			case <-f.end:
				return f.sink.Receive(p)
			default:
				return err
			}
		}}},
		{"CloseInsideReceive", "holds a lock", inVain, fault{
			receive: lockedInReceive,
			close:   func(f *faulty, cause error) { f.locked(func() { f.conn.Close(cause) }) },
		}},
		{"CloseInsideFirstReady", "holds a lock", inVain, lockedInReady},
		{"CloseInsideFirstReady", "receives all the same", "after Closed", fault{ready: func(f *faulty) {
			f.sink.Ready()
			_ = f.sink.Receive(text("early"))
		}}},
		{"CloseInsideReady", "holds a lock", inVain, lockedInReady},
		{"ReceiveFails", "goes on", " packets, want 3", fault{receive: func(f *faulty, p transports.Packet) error {
			_ = f.sink.Receive(p)
			return nil
		}}},
		{"ClientCloses", "forgets what is not received", inVain + "packets", fault{receive: func(f *faulty, p transports.Packet) error {
			if bytes.HasPrefix(p.Data, []byte("19 ")) {
				return nil
			}
			return f.sink.Receive(p)
		}}},
		{"ClientCloses", "reports it first", "after Closed", fault{
			receive: func(f *faulty, p transports.Packet) error {
				if bytes.HasPrefix(p.Data, []byte("19 ")) {
					p.Data = bytes.Clone(p.Data)
					f.kept = []transports.Packet{p}
					return nil
				}
				return f.sink.Receive(p)
			},
			closed: func(f *faulty, cause error) {
				f.sink.Closed(cause)
				for _, p := range f.kept {
					_ = f.sink.Receive(p)
				}
			},
		}},
		{"ClientCloses", "another reason", "want one of", fault{closed: func(f *faulty, _ error) {
			f.sink.Closed(&transports.CloseError{Reason: transports.TransportError})
		}}},
		{"ClientVanishes", "is not noticed", inVain + "Closed", fault{closed: reportOurs}},
		{"ClientVanishesWhileSentTo", "is not noticed", inVain + "Closed", fault{closed: reportOurs, send: func(f *faulty, batch []transports.Packet) (bool, error) {
			ready, err := f.conn.Send(batch)
			return ready && err == nil, nil
		}}},
		{"ClientVanishesWhileReceiveBlocks", "is not noticed", inVain + "Closed", fault{closed: reportOurs}},
		{"Retire", "is not released", inVain + "the client's Receive to be released", fault{retire: func(f *faulty) {
			f.refuse()
			f.receiving.Wait()
		}}},
		{"Retire", "sends on", "want ErrRetired", fault{send: func(f *faulty, batch []transports.Packet) (bool, error) {
			return f.conn.Send(batch)
		}}},
		{"Retire", "does not return", inVain + "Retire to return", fault{retire: func(f *faulty) {
			f.refuse()
			f.release()
			<-f.transport.forever
		}}},
		{"Retire", "takes packets", "a retired conn took a packet", fault{retire: func(f *faulty) { f.release() }}},
		{"RetireIdle", "does not return", inVain + "Retire to return", fault{retire: func(f *faulty) { <-f.transport.forever }}},
		{"RetireIdle", "leaves a goroutine", "goroutines are left", fault{retire: func(f *faulty) { go func() { <-f.transport.forever }() }}},
		{"RetireWaits", "does not", "Retire returned while a packet was still being received", fault{retire: func(f *faulty) {
			f.refuse()
			f.release()
		}}},
		{"RetireWaits", "drops the rest", "before Retire returned, the session received 1 packets", fault{receive: func(f *faulty, p transports.Packet) error {
			f.mu.Lock()
			retired := f.retired
			f.mu.Unlock()
			if retired {
				return nil
			}
			return f.sink.Receive(p)
		}}},
	}
}

// dropPacket loses the nth packet that is sent.
func dropPacket(n int) func(*faulty, []transports.Packet) (bool, error) {
	return func(f *faulty, batch []transports.Packet) (bool, error) {
		return f.conn.Send(slices.DeleteFunc(slices.Clone(batch), func(transports.Packet) bool { return f.nth(n) }))
	}
}

// waitForClient is a Send that returns when there is room.
func waitForClient(f *faulty, batch []transports.Packet) (bool, error) {
	ready, err := f.conn.Send(batch)
	if !ready && err == nil {
		<-f.end
	}
	return true, err
}

// keepLast is a Send that sends a batch when the next one comes.
func keepLast(f *faulty, batch []transports.Packet) (bool, error) {
	if batch[0].Type == transports.Open {
		return f.conn.Send(batch)
	}
	kept := f.kept
	f.kept = slices.Clone(batch)
	if kept == nil {
		return true, nil
	}
	return f.conn.Send(kept)
}

// buffered is a Receive that takes whatever comes.
func buffered(f *faulty, p transports.Packet) error {
	p.Data = bytes.Clone(p.Data)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, p)
	if f.draining {
		return nil
	}
	f.draining = true
	go func() {
		for {
			f.mu.Lock()
			if len(f.kept) == 0 {
				f.draining = false
				f.mu.Unlock()
				return
			}
			next := f.kept[0]
			f.kept = f.kept[1:]
			f.mu.Unlock()
			_ = f.sink.Receive(next)
		}
	}()
	return nil
}

// reportOurs is a Closed that keeps to itself what comes from the client.
func reportOurs(f *faulty, cause error) {
	if transports.AsCloseError(cause).Reason == transports.ForcedClose {
		f.sink.Closed(cause)
	}
}

// A deafSink is nobody's.
type deafSink struct{}

func (deafSink) Receive(transports.Packet) error { return nil }
func (deafSink) Ready()                          {}
func (deafSink) Closed(error)                    {}
