// Package transporttest tests whether a transport keeps the contract of package
// transports. A transport written elsewhere runs it as ours do. What it needs
// of an implementer is a client and a way to connect it:
//
//	func TestConformance(t *testing.T) {
//		tr := mytransport.New()
//		transporttest.Run(t, transporttest.Config{
//			Transport: tr,
//			Start: func(t testing.TB, host *transporttest.Host) transporttest.Dial {
//				addr := ... // serve tr, and hand its connections to host
//				return func(early ...transports.Packet) (transporttest.Client, error) { ... }
//			},
//		})
//	}
//
// A transport with connections of its own passes host to them as its
// transports.Host. One that is carried by HTTP lets host answer every request:
// Host.Serve is what the session manager would do with it, and ListenHTTP runs
// a server around that.
//
// On the other side of the transport is a scripted session, which keeps its
// half of the contract to the letter: it calls nothing before the first Ready,
// sends from one goroutine at a time and only while the Conn is ready, takes
// batches back as soon as it may and overwrites them. Its first packet is of
// type Open and holds {"sid":"…"}; a client whose later requests have to name
// the session finds the name there.
package transporttest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// MaxPayload is the limit, in bytes, that the suite's sessions have for a
// message.
const MaxPayload = 100_000

// A Client is the far end of one connection. The suite calls Send and Receive
// from one goroutine each, the other methods from any.
type Client interface {
	// Send sends packets, in order and, if the transport has something of
	// the kind, as one batch. It may return before they have arrived; it
	// blocks while the transport holds the client back. An error says that
	// they were refused, or that the connection is over. The data is not
	// changed before Send returns.
	Send(batch ...transports.Packet) error

	// Receive returns the next packet; the Open packet of the session comes
	// first. It reads from the connection no more than it needs to, so that
	// a client that is not asked does not take what the session sends. It
	// returns an error when ctx ends or the connection is over, or on a
	// packet of type Close where the transport has that on its wire.
	Receive(ctx context.Context) (transports.Packet, error)

	// Close says goodbye as the clients of the transport do. What was sent
	// before arrives first; Close may block for as long as Send would.
	Close() error

	// Vanish drops the connection without a word, as a network failure
	// would, ends Send and Receive, and lets go of all that the client
	// holds. It is called at last for every client, also after Close and
	// also a second time.
	Vanish()
}

// Dial connects a client. It sends the early packets as soon as the transport
// lets it: together with the request, where the client speaks first. It
// returns an error if the connection is refused, unless that becomes known by
// Receive only.
type Dial func(early ...transports.Packet) (Client, error)

// Config says what is tested, and what it cannot do.
type Config struct {
	// Transport is the transport under test.
	Transport transports.Transport

	// Start serves Transport, with host behind it, until the cleanup of t,
	// and returns what connects clients to it. It is called once for every
	// subtest.
	Start func(t testing.TB, host *Host) Dial

	// OversizeSurvives: a message over MaxPayload is refused, with an error
	// from Client.Send, and the connection goes on, as polling's does with a
	// 413. By default it ends with ErrPayloadTooLarge.
	OversizeSurvives bool

	// VanishesUnnoticed: the connection is made of requests, and a client that
	// vanishes when none of its requests is under way, as between two polls,
	// is found out by the session's heartbeat only. By default a lost
	// connection is noticed at any time.
	VanishesUnnoticed bool

	// Bubble runs each subtest in a testing/synctest bubble. It is for
	// transports without sockets and system calls. A wait that nothing can
	// end is then found at once.
	Bubble bool

	// Background names functions, as they stand in a stack trace, whose
	// goroutines may be left when a subtest has ended: those of a server
	// that has a clock running, say, but not those of the transport.
	Background []string

	// patience is how long to wait for what has to happen. Zero means 20
	// seconds, which nothing takes.
	patience time.Duration
}

// A check is one subtest.
type check struct {
	name string
	run  func(*rig)
}

// checks are those that every transport has to pass.
var checks = []check{
	{"Identity", checkIdentity},
	{"Open", checkOpen},
	{"EarlyPacket", checkEarlyPacket},
	{"AttachRefused", checkAttachRefused},
	{"Order", checkOrder},
	{"Kinds", checkKinds},
	{"ControlPackets", checkControlPackets},
	{"SharedPackets", checkSharedPackets},
	{"SendInsideReceive", checkSendInsideReceive},
	{"MaxPayload", checkMaxPayload},
	{"FarOverMaxPayload", checkFarOverMaxPayload},
	{"SlowClient", checkSlowClient},
	{"SlowSession", checkSlowSession},
	{"SessionCloses", checkSessionCloses},
	{"SessionClosesWhenReady", checkSessionClosesWhenReady},
	{"SessionClosesOrderly", checkSessionClosesOrderly},
	{"CloseOnce", checkCloseOnce},
	{"CloseSlowClient", checkCloseSlowClient},
	{"CloseWhileSending", checkCloseWhileSending},
	{"CloseWhileReceiving", checkCloseWhileReceiving},
	{"CloseWhileReceiveBlocks", checkCloseWhileReceiveBlocks},
	{"CloseInsideReceive", checkCloseInsideReceive},
	{"CloseInsideFirstReady", checkCloseInsideFirstReady},
	{"CloseInsideReady", checkCloseInsideReady},
	{"ReceiveFails", checkReceiveFails},
	{"ClientCloses", checkClientCloses},
	{"ClientVanishes", checkClientVanishes},
	{"ClientVanishesWhileSentTo", checkClientVanishesWhileSentTo},
	{"ClientVanishesWhileReceiveBlocks", checkClientVanishesWhileReceiveBlocks},
}

// upgradableChecks are those for transports that a session can move away from.
var upgradableChecks = []check{
	{"Retire", checkRetire},
	{"RetireIdle", checkRetireIdle},
	{"RetireWaits", checkRetireWaits},
}

// Run runs the suite as subtests of t. They count goroutines, so nothing else
// may run at the same time.
func Run(t *testing.T, c Config) {
	t.Helper()
	all := checks
	if c.Transport.Features().Upgradable {
		all = slices.Concat(checks, upgradableChecks)
	}
	for _, check := range all {
		t.Run(check.name, func(t *testing.T) {
			if c.Bubble {
				synctest.Test(t, func(t *testing.T) { runCheck(t, c, check.run) })
				return
			}
			runCheck(t, c, check.run)
		})
	}
}

// runCheck runs one check. What was started for it has ended when t has.
func runCheck(t testing.TB, c Config, run func(*rig)) {
	if c.patience == 0 {
		c.patience = 20 * time.Second
	}
	host := newHost(c.Transport)
	before := goroutines()
	t.Cleanup(func() { // the last one to run
		if left := leftGoroutines(before, c.Background, c.patience); left != "" {
			t.Errorf("goroutines are left:\n%s", left)
		}
		for _, fault := range host.takeFaults() {
			t.Error(fault)
		}
	})
	k := &rig{TB: t, config: &c, host: host, over: make(chan struct{})}
	defer close(k.over)
	k.dial = c.Start(t, host)
	run(k)
}
