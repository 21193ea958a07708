package session

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// cell is one cell of the table in the comment of phase.
type cell struct {
	phase phase
	input string

	next    phase
	ends    transports.Reason // of the session; "" if it lives
	onOld   string            // what the old transport sends
	onNew   string            // what the candidate sends
	aborted bool              // the candidate is closed
	refused bool              // the input is answered with an error
}

var cells = []cell{
	{phase: idle, input: "offer", next: offered},
	{phase: offered, input: "offer", next: offered, refused: true},
	{phase: probed, input: "offer", next: probed, refused: true},
	{phase: committing, input: "offer", next: committing, refused: true},
	{phase: upgraded, input: "offer", next: upgraded, refused: true},

	{phase: offered, input: "2probe", next: probed, onNew: "3probe", onOld: "6"},
	{phase: probed, input: "2probe", next: probed, onNew: "3probe", onOld: "6"},

	{phase: offered, input: "5", next: upgraded},
	{phase: probed, input: "5", next: upgraded},
	{phase: upgraded, input: "5", next: upgraded},

	{phase: offered, input: "other", next: idle, aborted: true, refused: true},
	{phase: probed, input: "other", next: idle, aborted: true, refused: true},
	{phase: committing, input: "other", next: committing, refused: true},
	{phase: upgraded, input: "other", next: upgraded},

	{phase: offered, input: "candidate ends", next: idle},
	{phase: probed, input: "candidate ends", next: idle},
	{phase: committing, input: "candidate ends", next: committing}, // ends the session when the old one is retired
	{phase: upgraded, input: "candidate ends", next: upgraded, ends: transports.TransportClose},

	{phase: offered, input: "timeout", next: idle, aborted: true},
	{phase: probed, input: "timeout", next: idle, aborted: true},
	{phase: committing, input: "timeout", next: committing},
	{phase: upgraded, input: "timeout", next: upgraded},

	{phase: offered, input: "noop tick", next: offered},
	{phase: probed, input: "noop tick", next: probed, onOld: "6"},
	{phase: committing, input: "noop tick", next: committing},

	{phase: offered, input: "session ends", next: idle, ends: transports.ForcedClose, aborted: true},
	{phase: probed, input: "session ends", next: idle, ends: transports.ForcedClose, aborted: true},
	{phase: committing, input: "session ends", next: committing, ends: transports.ForcedClose, aborted: true},
	{phase: upgraded, input: "session ends", next: upgraded, ends: transports.ForcedClose, aborted: true},

	{phase: committing, input: "old retired", next: upgraded},
}

func TestUpgradeTable(t *testing.T) {
	for _, c := range cells {
		t.Run(fmt.Sprintf("%s/%s", phaseNames[c.phase], c.input), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testCell(t, c) })
		})
	}
}

var phaseNames = map[phase]string{
	idle: "idle", offered: "offered", probed: "probed", committing: "committing", upgraded: "upgraded",
}

func testCell(t *testing.T, c cell) {
	var outcomes []error // as they were reported
	r := opened(t, Options{PingInterval: time.Hour, OnUpgrade: func(_ *Session, _ string, err error) {
		outcomes = append(outcomes, err)
	}})
	retire := make(chan struct{})
	if c.phase == committing {
		r.conn.retiring = retire
	}
	var conn *fakeConn
	var sink transports.Sink
	var pending sync.WaitGroup
	defer pending.Wait()
	release := sync.OnceFunc(func() { close(retire) })
	defer release()
	if c.phase != idle {
		conn, sink = r.offer(t)
	}
	if c.phase == probed {
		receive(t, sink, probePacket)
	}
	if c.phase == committing || c.phase == upgraded {
		pending.Go(func() { _ = sink.Receive(upgradePacket) })
		synctest.Wait()
	}
	if c.phase == upgraded {
		pending.Wait()
	}
	r.sink.Ready() // a poll is parked, whatever was answered before
	r.conn.sent()
	if conn != nil {
		conn.sent()
	}

	var err error
	switch c.input {
	case "offer":
		_, err = r.manager.Open(r.target, transports.Handshake{SessionID: r.session.ID()}, &fakeConn{})
	case "2probe":
		err = sink.Receive(probePacket)
	case "5":
		err = sink.Receive(upgradePacket)
	case "other":
		err = sink.Receive(text("early"))
	case "candidate ends":
		sink.Closed(&transports.CloseError{Reason: transports.TransportClose})
	case "timeout":
		<-time.After(10 * time.Second)
	case "noop tick":
		<-time.After(noopPeriod)
	case "session ends":
		r.session.fail(&transports.CloseError{Reason: transports.ForcedClose})
	case "old retired":
		release()
		pending.Wait()
	}
	synctest.Wait()

	if c.refused != (err != nil) {
		t.Errorf("input returned %v, want an error: %v", err, c.refused)
	}
	if c.input == "timeout" && c.phase == probed {
		r.conn.sent() // the ticker went on meanwhile
	}
	r.expectSent(t, r.conn, c.onOld)
	r.expectReason(t, c.ends)
	if conn != nil {
		r.expectSent(t, conn, c.onNew)
		if closed := conn.cause() != nil; closed != c.aborted {
			t.Errorf("candidate closed: %v, want %v", closed, c.aborted)
		}
	}
	r.session.mu.Lock()
	phase := r.session.phase
	r.session.mu.Unlock()
	if phase != c.next {
		t.Errorf("phase %s, want %s", phaseNames[phase], phaseNames[c.next])
	}
	// Each candidate has one outcome, as soon as there is one.
	over := c.phase != idle && (c.next == upgraded || c.next == idle || c.ends != "")
	switch {
	case over != (len(outcomes) == 1) || len(outcomes) > 1:
		t.Errorf("outcomes reported: %v", outcomes)
	case over && (outcomes[0] == nil) != (c.next == upgraded):
		t.Errorf("outcome reported: %v", outcomes[0])
	}
	if c.ends == "" && c.phase != committing && phase != upgraded {
		// The session is unharmed: it still takes and sends on polling.
		receive(t, r.sink, text("up"))
		r.sink.Ready()
		if err := r.session.Send(text("down")); err != nil {
			t.Error(err)
		}
		r.expectSent(t, r.conn, "4down")
	}
}

func receive(t *testing.T, sink transports.Sink, p transports.Packet) {
	t.Helper()
	if err := sink.Receive(p); err != nil {
		t.Fatalf("Receive(%s): %v", show([]transports.Packet{p}), err)
	}
}

func TestUpgradeKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened(t, Options{})
		conn, sink := r.offer(t)
		receive(t, sink, probePacket)
		r.expectSent(t, r.conn, "6")
		// Nothing waits for a poll now; these gather until "5".
		for _, m := range []string{"a", "b", "c"} {
			if err := r.session.Send(text(m)); err != nil {
				t.Fatal(err)
			}
		}
		r.expectSent(t, conn, "3probe")
		receive(t, sink, upgradePacket)
		r.expectSent(t, conn, "4a 4b 4c")
		r.expectSent(t, r.conn, "")
		if got := r.session.Transport(); got != "websocket" {
			t.Errorf("transport %q", got)
		}
		if err := r.sink.Receive(text("late")); err == nil {
			t.Error("the old transport may still deliver")
		}
		r.sink.Closed(errors.New("old transport is gone"))
		r.expectReason(t, "")
	})
}

// What was sent before the session is closed is delivered, on whichever
// transport the client is when it has been probed.
func TestUpgradeWhileClosing(t *testing.T) {
	forced := &transports.CloseError{Reason: transports.ForcedClose}
	closing := func(t *testing.T) (r *rig, conn *fakeConn, sink transports.Sink) {
		r = opened(t, Options{})
		conn, sink = r.offer(t)
		conn.streaming = true
		receive(t, sink, probePacket)
		r.expectSent(t, r.conn, "6")
		r.expectSent(t, conn, "3probe")
		if err := r.session.Send(text("bye")); err != nil {
			t.Fatal(err)
		}
		r.session.Close(forced)
		r.expectReason(t, transports.ForcedClose)
		return r, conn, sink
	}
	over := func(t *testing.T, r *rig, conn *fakeConn) {
		t.Helper()
		if r.manager.Len() != 0 || conn.cause() == nil || r.conn.cause() == nil {
			t.Errorf("%d sessions; closed: %v, %v", r.manager.Len(), r.conn.cause(), conn.cause())
		}
	}
	t.Run("the client commits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, conn, sink := closing(t)
			receive(t, sink, upgradePacket)
			r.expectSent(t, conn, "4bye|1")
			if r.manager.Len() != 0 || conn.cause() == nil {
				t.Errorf("%d sessions; closed: %v", r.manager.Len(), conn.cause())
			}
		})
	})
	t.Run("the client polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, conn, _ := closing(t)
			r.sink.Ready()
			r.expectSent(t, r.conn, "4bye")
			r.sink.Ready()
			r.expectSent(t, r.conn, "1")
			over(t, r, conn)
		})
	})
	t.Run("the client does neither", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, conn, _ := closing(t)
			<-time.After(orderlyCloseWait)
			synctest.Wait()
			over(t, r, conn)
		})
	})
	t.Run("a poll was about to be released", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, conn, _ := closing(t)
			r.session.noopTick() // has fired, and waited for the lock while the timer was stopped
			r.sink.Ready()
			r.expectSent(t, r.conn, "4bye")
			r.sink.Ready()
			r.expectSent(t, r.conn, "1")
			over(t, r, conn)
		})
	})
	t.Run("the candidate ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, _, sink := closing(t)
			sink.Closed(&transports.CloseError{Reason: transports.TransportClose})
			<-time.After(orderlyCloseWait)
			synctest.Wait()
			if r.manager.Len() != 0 || r.conn.cause() == nil {
				t.Errorf("%d sessions; closed: %v", r.manager.Len(), r.conn.cause())
			}
		})
	})
}

// A batch that was refused because the old transport was being retired leaves
// on the new one, once, before what was sent later.
func TestUpgradeRestoresRefusedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened(t, Options{})
		conn, sink := r.offer(t)
		r.conn.retired = true // refuses, while the session still uses it
		for _, m := range []string{"a", "b"} {
			if err := r.session.Send(text(m)); err != nil {
				t.Fatal(err)
			}
		}
		receive(t, sink, upgradePacket)
		if err := r.session.Send(text("c")); err != nil {
			t.Fatal(err)
		}
		r.expectSent(t, conn, "4a 4b|4c")
	})
}

// What a POST delivers while "5" waits for it is received, before anything
// that follows "5".
func TestUpgradeWaitsForPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened(t, Options{})
		r.conn.retiring = make(chan struct{})
		_, sink := r.offer(t)
		var reader sync.WaitGroup
		reader.Go(func() {
			_ = sink.Receive(upgradePacket)
			_ = sink.Receive(text("second"))
		})
		synctest.Wait()
		receive(t, r.sink, text("first"))
		close(r.conn.retiring)
		reader.Wait()
		if got := r.receiver.got(); got != "first second" {
			t.Errorf("received %q", got)
		}
	})
}

func TestUpgradeCandidateLostWhileCommitting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := opened(t, Options{})
		r.conn.retiring = make(chan struct{})
		_, sink := r.offer(t)
		var reader sync.WaitGroup
		reader.Go(func() { _ = sink.Receive(upgradePacket) })
		synctest.Wait()
		sink.Closed(&transports.CloseError{Reason: transports.TransportClose})
		r.expectReason(t, "")
		close(r.conn.retiring)
		reader.Wait()
		r.expectReason(t, transports.TransportClose)
	})
}

func TestUpgradeRefused(t *testing.T) {
	open := func(r *rig, target transports.Transport) error {
		_, err := r.manager.Open(target, transports.Handshake{SessionID: r.session.ID()}, &fakeConn{})
		return err
	}
	t.Run("when upgrades are disabled", func(t *testing.T) {
		r := opened(t, Options{DisableUpgrades: true})
		if err := open(r, r.target); !errors.Is(err, errNoUpgrade) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("to a transport that is no target", func(t *testing.T) {
		r := opened(t, Options{})
		if err := open(r, r.polling); !errors.Is(err, errNoUpgrade) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("of a session that is not known", func(t *testing.T) {
		r := opened(t, Options{})
		_, err := r.manager.Open(r.target, transports.Handshake{SessionID: "x"}, &fakeConn{})
		if e, ok := errors.AsType[*RequestError](err); !ok || e.Code != CodeUnknownSession {
			t.Errorf("error %v", err)
		}
	})
}
