package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

func TestOpenPacket(t *testing.T) { // engine-io B10, A1
	r := newRig(t, Options{})
	var p transports.Packet
	r.conn.streaming = true
	conn := &capture{fakeConn: r.conn, first: &p}
	r.session.link.conn = conn
	r.sink.Ready()
	want := fmt.Sprintf(`{"sid":%q,"upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, r.session.ID())
	if string(p.Data) != want {
		t.Errorf("open packet %s, want %s", p.Data, want)
	}
	if len(r.session.ID()) != 20 {
		t.Errorf("session id %q is not of 20 characters", r.session.ID())
	}
}

// What the layer above sends while the session opens leaves together with the
// open packet, and after it (B13, A34).
func TestSentWhileOpening(t *testing.T) {
	tr, conn := &fakeTransport{name: "x"}, &fakeConn{}
	m, err := New(handlerFunc(func(s *Session) Receiver {
		if err := s.Send(text("hello")); err != nil {
			t.Error(err)
		}
		return &fakeReceiver{}
	}), Options{Transports: []transports.Transport{tr}})
	if err != nil {
		t.Fatal(err)
	}
	sink, err := m.Open(tr, transports.Handshake{}, conn)
	if err != nil {
		t.Fatal(err)
	}
	sink.Ready()
	if got := conn.sent(); got != "open 4hello" {
		t.Errorf("sent %q", got)
	}
	sink.Closed(nil)
}

// capture keeps the first packet as it is.
type capture struct {
	*fakeConn
	first *transports.Packet
}

func (c *capture) Send(batch []transports.Packet) (bool, error) {
	if c.first.Data == nil {
		*c.first = batch[0]
	}
	return c.fakeConn.Send(batch)
}

func TestUpgradesIsNeverNull(t *testing.T) {
	r := newRig(t, Options{DisableUpgrades: true})
	p := r.manager.openPacket(r.session, r.polling)
	var open struct{ Upgrades []string }
	if err := json.Unmarshal(p.Data, &open); err != nil || open.Upgrades == nil {
		t.Errorf("open packet %s: %v", p.Data, err)
	}
}

func TestClose(t *testing.T) {
	forced := &transports.CloseError{Reason: transports.ForcedClose}
	t.Run("A4 a parked poll is answered with a close", func(t *testing.T) {
		r := opened(t, Options{})
		r.session.Close(forced)
		r.expectSent(t, r.conn, "1")
		r.expectReason(t, transports.ForcedClose)
		if r.manager.Len() != 0 {
			t.Error("the session is still counted")
		}
	})
	t.Run("A4 a poll that comes later is answered with a noop and a close", func(t *testing.T) {
		r := newRig(t, Options{})
		r.sink.Ready()
		r.conn.sent()
		r.session.Close(forced)
		r.expectReason(t, transports.ForcedClose)
		if r.manager.sessions.get(r.session.ID()) == nil {
			t.Error("the poll would not find its session")
		}
		r.sink.Ready()
		r.expectSent(t, r.conn, "6 1")
		if r.manager.sessions.get(r.session.ID()) != nil {
			t.Error("the session is still registered")
		}
	})
	t.Run("B44 what was sent is delivered first", func(t *testing.T) {
		r := newRig(t, Options{})
		r.sink.Ready()
		r.conn.sent()
		if err := r.session.Send(text("a")); err != nil {
			t.Fatal(err)
		}
		r.session.Close(forced)
		if err := r.session.Send(text("b")); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close: %v", err)
		}
		r.sink.Ready()
		r.expectSent(t, r.conn, "4a") // by itself, or official clients would not handle it
		r.sink.Ready()
		r.expectSent(t, r.conn, "1")
	})
	t.Run("a client that never polls again is given up after PingTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{PingTimeout: 10 * time.Second})
			r.sink.Ready()
			r.session.Close(forced)
			<-time.After(10*time.Second - time.Nanosecond)
			if r.conn.cause() != nil {
				t.Error("closed early")
			}
			<-time.After(time.Nanosecond)
			synctest.Wait()
			if r.conn.cause() == nil || r.manager.Len() != 0 {
				t.Error("the session is still there")
			}
			r.expectReason(t, transports.ForcedClose)
		})
	})
	t.Run("a client that takes its leave as well ends the wait", func(t *testing.T) {
		r := newRig(t, Options{})
		r.sink.Ready()
		r.session.Close(forced)
		receive(t, r.sink, transports.Packet{Type: transports.Close})
		if r.manager.Len() != 0 || r.conn.cause() == nil {
			t.Error("the session is still there")
		}
		r.expectReason(t, transports.ForcedClose)
	})
	t.Run("A29 input after close is dropped", func(t *testing.T) {
		r := newRig(t, Options{})
		r.sink.Ready()
		r.session.Close(forced)
		receive(t, r.sink, text("late"))
		if got := r.receiver.got(); got != "" {
			t.Errorf("received %q after the close", got)
		}
	})
	t.Run("A28 closed is reported once, whatever races", func(t *testing.T) {
		r := opened(t, Options{})
		done := make(chan struct{})
		for _, f := range []func(){
			func() { r.session.Close(forced) },
			func() { r.session.fail(&transports.CloseError{Reason: transports.PingTimeout}) },
			func() { r.sink.Closed(&transports.CloseError{Reason: transports.TransportClose}) },
			func() { _ = r.sink.Receive(transports.Packet{Type: transports.Close}) },
		} {
			go func() { f(); done <- struct{}{} }()
		}
		for range 4 {
			<-done
		}
		if reason := r.receiver.reason(); reason == "" || strings.HasSuffix(string(reason), "times") {
			t.Errorf("reason %q", reason)
		}
	})
	t.Run("before the transport has started", func(t *testing.T) {
		r := newRig(t, Options{})
		r.session.fail(forced)
		if r.conn.cause() != nil {
			t.Error("the transport was called before its first Ready")
		}
		r.sink.Ready()
		if r.conn.cause() == nil {
			t.Error("the transport was not closed by its first Ready")
		}
	})
}

func TestOutbox(t *testing.T) {
	t.Run("gathers while the transport is busy", func(t *testing.T) {
		r := newRig(t, Options{})
		r.sink.Ready()
		r.conn.sent()
		for i := range 3 {
			if err := r.session.Send(text(strconv.Itoa(i))); err != nil {
				t.Fatal(err)
			}
		}
		r.sink.Ready()
		r.expectSent(t, r.conn, "40 41 42")
	})
	t.Run("a client that falls behind is closed", func(t *testing.T) {
		r := newRig(t, Options{MaxOutboxBytes: 1000})
		r.sink.Ready()
		var err error
		for range 100 {
			if err = r.session.Send(text("0123456789")); err != nil {
				break
			}
		}
		if !errors.Is(err, transports.ErrSlowConsumer) {
			t.Errorf("Send: %v", err)
		}
		r.expectReason(t, transports.TransportError)
		if !errors.Is(r.receiver.causes[0], transports.ErrSlowConsumer) {
			t.Errorf("cause %v", r.receiver.causes[0])
		}
	})
	t.Run("what the transport has not written counts", func(t *testing.T) {
		r := opened(t, Options{MaxOutboxBytes: 1000})
		if err := r.session.Send(text(strings.Repeat("x", 600))); err != nil {
			t.Fatal(err)
		}
		if err := r.session.Send(text(strings.Repeat("x", 600))); !errors.Is(err, transports.ErrSlowConsumer) {
			t.Errorf("Send: %v", err)
		}
	})
	t.Run("one message that is too large is refused and costs nobody", func(t *testing.T) {
		r := opened(t, Options{MaxOutboxBytes: 1000})
		if err := r.session.Send(text(strings.Repeat("x", 1001))); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Send: %v", err)
		}
		r.expectReason(t, "")
		if err := r.session.Send(text("ok")); err != nil {
			t.Error(err)
		}
		r.expectSent(t, r.conn, "4ok")
	})
	t.Run("a write error ends the session", func(t *testing.T) {
		r := opened(t, Options{})
		broken := errors.New("broken")
		r.conn.err = broken
		_ = r.session.Send(text("x"))
		r.expectReason(t, transports.TransportError)
		if !errors.Is(r.receiver.causes[0], broken) {
			t.Errorf("cause %v", r.receiver.causes[0])
		}
	})
	t.Run("corked packets leave together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{})
			r.conn.streaming = true
			r.sink.Ready()
			r.conn.sent()
			r.session.Cork()
			for i := range 3 {
				if err := r.session.Send(text(strconv.Itoa(i))); err != nil {
					t.Fatal(err)
				}
			}
			r.expectSent(t, r.conn, "")
			r.session.Uncork()
			r.expectSent(t, r.conn, "40 41 42")
			r.session.Cork()
			if err := r.session.Send(text(strings.Repeat("x", maxCorked))); err != nil {
				t.Fatal(err)
			}
			if n := len(r.conn.sent()); n <= maxCorked { // too much to wait
				t.Errorf("sent %d bytes", n)
			}
			r.session.Uncork()
		})
	})
	t.Run("corked packets do not wait for a cork that stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{})
			r.conn.streaming = true
			r.sink.Ready()
			r.conn.sent()
			r.session.Cork()
			if err := r.session.Send(text("a")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r.expectSent(t, r.conn, "")
			<-time.After(corkTime)
			synctest.Wait()
			r.expectSent(t, r.conn, "4a")
			if err := r.session.Send(text("b")); err != nil { // the timer starts anew
				t.Fatal(err)
			}
			<-time.After(corkTime)
			synctest.Wait()
			r.expectSent(t, r.conn, "4b")
		})
	})
}

func TestShutdown(t *testing.T) {
	down := &transports.CloseError{Reason: "server shutting down"}
	t.Run("delivers and waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{})
			r.sink.Ready()
			r.conn.sent()
			if err := r.session.Send(text("bye")); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, r.sink.Ready)
			time.AfterFunc(2*time.Second, r.sink.Ready)
			if err := r.manager.Shutdown(t.Context(), down); err != nil {
				t.Error(err)
			}
			r.expectSent(t, r.conn, "4bye|1")
			r.expectReason(t, down.Reason)
			if _, err := r.manager.Open(r.polling, transports.Handshake{}, &fakeConn{}); !errors.Is(err, ErrShutdown) {
				t.Errorf("Open after Shutdown: %v", err)
			}
		})
	})
	t.Run("gives up with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Options{})
			r.sink.Ready()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := r.manager.Shutdown(ctx, down); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			if r.manager.Len() != 0 || r.conn.cause() == nil {
				t.Error("the session is still there")
			}
		})
	})
	t.Run("idle", func(t *testing.T) {
		r := opened(t, Options{})
		r.session.fail(down)
		if err := r.manager.Shutdown(t.Context(), down); err != nil {
			t.Error(err)
		}
		if err := r.manager.Shutdown(t.Context(), down); err != nil {
			t.Error("second call:", err)
		}
	})
}

// A session that the layer above ends before it has even returned its receiver
// is refused, and the receiver is told.
func TestEndedWhileOpening(t *testing.T) {
	for name, end := range map[string]func(*Session){
		"closed": func(s *Session) { s.Close(&transports.CloseError{Reason: transports.ForcedClose}) },
		"failed": func(s *Session) { s.fail(&transports.CloseError{Reason: transports.ForcedClose}) },
	} {
		t.Run(name, func(t *testing.T) {
			receiver := &fakeReceiver{}
			tr := &fakeTransport{name: "x"}
			m, err := New(handlerFunc(func(s *Session) Receiver { end(s); return receiver }), Options{Transports: []transports.Transport{tr}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Open(tr, transports.Handshake{}, &fakeConn{}); !errors.Is(err, ErrClosed) {
				t.Errorf("Open: %v", err)
			}
			if got := receiver.reason(); got != transports.ForcedClose || m.Len() != 0 {
				t.Errorf("reason %q, %d sessions", got, m.Len())
			}
		})
	}
}

func TestSessionLimit(t *testing.T) {
	r := newRig(t, Options{MaxSessions: 1})
	if _, err := r.manager.Open(r.polling, transports.Handshake{}, &fakeConn{}); !errors.Is(err, ErrTooManySessions) {
		t.Errorf("second session: %v", err)
	}
	r.session.fail(&transports.CloseError{Reason: transports.ForcedClose})
	conn := &fakeConn{}
	if _, err := r.manager.Open(r.polling, transports.Handshake{}, conn); err != nil {
		t.Errorf("after the first has gone: %v", err)
	}
}

func TestGenerateID(t *testing.T) { // B12
	ids := []string{"first", "first", ""}
	next := 0
	r := newRig(t, Options{GenerateID: func(*transports.Handshake) (string, error) {
		id := ids[next]
		next++
		return id, nil
	}})
	if r.session.ID() != "first" {
		t.Errorf("id %q", r.session.ID())
	}
	for range 2 {
		if _, err := r.manager.Open(r.polling, transports.Handshake{}, &fakeConn{}); !errors.Is(err, errDuplicateID) {
			t.Errorf("id in use, or empty: %v", err)
		}
	}
	receive(t, r.sink, text("unharmed"))
}

func TestOptions(t *testing.T) {
	h := handlerFunc(func(*Session) Receiver { return &fakeReceiver{} })
	tr := &fakeTransport{name: "x"}
	for want, o := range map[string]Options{
		"Transports is empty":      {},
		`Transports has "x" twice`: {Transports: []transports.Transport{tr, tr}},
		"PingInterval":             {Transports: []transports.Transport{tr}, PingInterval: -1},
		"PingTimeout":              {Transports: []transports.Transport{tr}, PingTimeout: -1},
		"UpgradeTimeout":           {Transports: []transports.Transport{tr}, UpgradeTimeout: -1},
		"MaxPayload":               {Transports: []transports.Transport{tr}, MaxPayload: -1},
		"MaxOutboxBytes":           {Transports: []transports.Transport{tr}, MaxOutboxBytes: -1},
		"CORS allows no origin":    {Transports: []transports.Transport{tr}, CORS: &CORS{}},
		"browsers refuse":          {Transports: []transports.Transport{tr}, CORS: &CORS{Origins: []string{"*"}, Credentials: true}},
		`"*" stands alone`:         {Transports: []transports.Transport{tr}, CORS: &CORS{Origins: []string{"*", "https://a"}}},
		"Cookie":                   {Transports: []transports.Transport{tr}, Cookie: &Cookie{Name: "a b"}},
	} {
		if _, err := New(h, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not speak of %s", err, want)
		}
	}
}
