package transporttest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// errServerCloses is the cause with which the suite's sessions close.
var errServerCloses = &transports.CloseError{Reason: transports.ForcedClose}

// A rig is what a check works with. Its methods are called from the goroutine
// of the check.
type rig struct {
	testing.TB
	config *Config
	host   *Host
	dial   Dial
	over   chan struct{} // closed when the check has run, also in vain
}

// connect opens a session whose client has taken the Open packet. At the end of
// the check both are closed, and the end must have been reported.
func (k *rig) connect(early ...transports.Packet) (*session, *peer) {
	k.Helper()
	client, err := k.dial(early...)
	if err != nil {
		k.Fatalf("dialling: %v", err)
	}
	p := &peer{rig: k, client: client}
	k.Cleanup(client.Vanish) // in case there is no session
	s := k.session()
	k.Cleanup(func() { k.finish(s, p) })
	open := s.openPacket()
	if got := p.next(); !same(got, open) {
		k.Fatalf("the first packet is %s, want %s", describe(got), describe(open))
	}
	return s, p
}

// session waits for the session of the connection that was dialled last.
func (k *rig) session() *session {
	k.Helper()
	select {
	case s := <-k.host.arrived:
		return s
	case <-time.After(k.config.patience):
		k.Fatal("no conn was attached")
		return nil
	}
}

// finish ends both sides and looks at what is to be true of every session.
func (k *rig) finish(s *session, p *peer) {
	s.mu.Lock()
	closable := s.readies > 0 && len(s.causes) == 0 && !s.retired
	s.mayBeLate = 1
	s.mu.Unlock()
	if closable {
		k.within("Close", func() { s.close(errServerCloses) })
	}
	p.client.Vanish()
	p.readers.Wait()
	s.mu.Lock()
	retired := s.retired
	s.mu.Unlock()
	if !retired {
		k.await(s, "the report of the end", func() bool { return len(s.causes) > 0 })
	}
	k.await(s, "the end of Send and Receive", func() bool { return !s.flushing && !s.receiving })
	s.mu.Lock()
	s.checkSentLocked()
	s.mu.Unlock()
}

// await waits until done, which is called with s.mu held, returns true.
func (k *rig) await(s *session, what string, done func() bool) {
	k.Helper()
	timeout := time.NewTimer(k.config.patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		ok, changed, state := done(), s.changed, s.stateLocked()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			k.Fatalf("waited in vain for %s\nsession: %s", what, state)
		}
	}
}

// awaitReceived waits until the session has received n packets.
func (k *rig) awaitReceived(s *session, n int) {
	k.Helper()
	k.await(s, "packets to be received", func() bool { return len(s.received) >= n })
}

// wantReceived waits for packets and checks them, and that there are no others.
func (k *rig) wantReceived(s *session, want ...transports.Packet) {
	k.Helper()
	k.awaitReceived(s, len(want))
	s.mu.Lock()
	defer s.mu.Unlock()
	k.compare("the session received", s.received, want)
}

// wantClosed waits for the end and returns its cause. Send and Receive have
// returned by then.
func (k *rig) wantClosed(s *session) *transports.CloseError {
	k.Helper()
	k.await(s, "Closed", func() bool { return len(s.causes) > 0 && !s.flushing && !s.receiving && !s.closing })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.causes[0] == nil {
		k.Error("Closed was called without a cause")
	}
	return transports.AsCloseError(s.causes[0])
}

// wantReason is wantClosed for one of some reasons.
func (k *rig) wantReason(s *session, reasons ...transports.Reason) {
	k.Helper()
	if cause := k.wantClosed(s); !slices.Contains(reasons, cause.Reason) {
		k.Errorf("the session was closed by %q, want one of %q", cause, reasons)
	}
}

func (k *rig) compare(who string, got, want []transports.Packet) {
	k.Helper()
	for i, w := range want {
		if i < len(got) && !same(got[i], w) {
			k.Fatalf("%s, as packet %d, %s, want %s", who, i, describe(got[i]), describe(w))
		}
	}
	if len(got) != len(want) {
		k.Fatalf("%s %d packets, want %d", who, len(got), len(want))
	}
}

// within calls f and waits for it to return.
func (k *rig) within(what string, f func()) {
	k.Helper()
	k.wait(what+" to return", k.start(f))
}

// start calls f on another goroutine.
func (k *rig) start(f func()) (done <-chan struct{}) {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		f()
	}()
	return ch
}

// wait waits for ch to be closed.
func (k *rig) wait(what string, ch <-chan struct{}) {
	k.Helper()
	select {
	case <-ch:
	case <-time.After(k.config.patience):
		k.Fatalf("waited in vain for %s", what)
	}
}

// gate returns a script's receive that blocks until open is called, or the
// check is over, and then returns err.
func (k *rig) gate(err error) (receive func(*session, transports.Packet) error, open func()) {
	gate := make(chan struct{})
	receive = func(*session, transports.Packet) error {
		select {
		case <-gate:
		case <-k.over:
		}
		return err
	}
	return receive, sync.OnceFunc(func() { close(gate) })
}

// quiet is how long it takes to believe that something does not happen. It
// cannot make a check fail that should pass.
const quiet = 50 * time.Millisecond

// never fails if ch is closed in a while.
func (k *rig) never(what string, ch <-chan struct{}) {
	k.Helper()
	select {
	case <-ch:
		k.Fatal(what)
	case <-time.After(quiet):
	}
}

// A peer is a client with its readers.
type peer struct {
	*rig
	client  Client
	readers sync.WaitGroup
}

// next receives one packet.
func (p *peer) next() transports.Packet {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), p.config.patience)
	defer cancel()
	packet, err := p.client.Receive(ctx)
	if err != nil {
		p.Fatalf("the client receives: %v", err)
	}
	return packet
}

// want receives packets and checks them.
func (p *peer) want(want ...transports.Packet) {
	p.Helper()
	for i, w := range want {
		if got := p.next(); !same(got, w) {
			p.Fatalf("the client received, as packet %d, %s, want %s", i, describe(got), describe(w))
		}
	}
}

// send sends a batch that has to be accepted.
func (p *peer) send(batch ...transports.Packet) {
	p.Helper()
	var err error
	p.within("the client's Send", func() { err = p.client.Send(batch...) })
	if err != nil {
		p.Fatalf("the client sends: %v", err)
	}
}

// listen receives until the connection is over. done is closed then; got may
// be read after that.
func (p *peer) listen() (got *[]transports.Packet, done <-chan struct{}) {
	got = new([]transports.Packet)
	ch := make(chan struct{})
	p.readers.Go(func() {
		defer close(ch)
		for {
			packet, err := p.client.Receive(context.Background())
			if err != nil {
				return
			}
			*got = append(*got, packet)
		}
	})
	return got, ch
}

// wantEnd waits for the end of what listen started and checks what came.
func (p *peer) wantEnd(got *[]transports.Packet, done <-chan struct{}, want ...transports.Packet) {
	p.Helper()
	p.wait("the client to notice the end", done)
	p.compare("the client received", *got, want)
}

// same reports whether two packets are alike on the wire.
func same(a, b transports.Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

func text(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Data: []byte(data)}
}

func binary(data string) transports.Packet {
	return transports.Packet{Type: transports.Message, Binary: true, Data: []byte(data)}
}

// numbered returns a packet that tells from which place in a sequence it is, of
// size bytes or some more, in turn text and binary.
func numbered(i, size int) transports.Packet {
	data := strings.Repeat(string(rune('a'+i%26)), size)
	data = strconv.Itoa(i) + " " + data
	if i%3 == 2 {
		return binary(data + "\xff\x00")
	}
	return text(data + "…")
}

// sequence returns numbered packets from a number on, of various sizes.
func sequence(from, n int) []transports.Packet {
	random := rand.New(rand.NewPCG(1, uint64(from))) //nolint:gosec // a sequence that is always the same
	packets := make([]transports.Packet, n)
	for i := range packets {
		packets[i] = numbered(from+i, random.IntN(1500))
	}
	return packets
}

// batches yields packets in batches of various sizes.
func batches(packets []transports.Packet) [][]transports.Packet {
	random := rand.New(rand.NewPCG(2, uint64(len(packets)))) //nolint:gosec // a sequence that is always the same
	var split [][]transports.Packet
	for len(packets) > 0 {
		n := min(1+random.IntN(20), len(packets))
		split = append(split, slices.Clone(packets[:n]))
		packets = packets[n:]
	}
	return split
}

// errOnPurpose is for what a check makes fail.
var errOnPurpose = errors.New("transporttest: on purpose")
