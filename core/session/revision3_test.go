package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// openedOld is a session of revision 3 with a poll parked.
func openedOld(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, Options{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second})
	conn := &fakeConn{}
	link, err := r.manager.open(r.polling, opening{id: "old", revision: transports.Revision3, handshake: &transports.Handshake{}}, conn)
	if err != nil {
		t.Fatal(err)
	}
	first := link.session.manager.sessions.get("old")
	r.session, r.conn, r.sink = first, conn, link
	r.receiver = &fakeReceiver{}
	first.receiver = r.receiver
	t.Cleanup(func() { first.fail(&transports.CloseError{Reason: transports.ForcedClose}) })
	r.sink.Ready()
	r.expectSent(t, conn, "open")
	r.sink.Ready()
	return r
}

// Spec 9.2: the client pings, its data is not echoed, and silence for both
// intervals together ends the session.
func TestRevision3Heartbeat(t *testing.T) {
	ping := transports.Packet{Type: transports.Ping, Data: []byte("data")}
	synctest.Test(t, func(t *testing.T) {
		r := openedOld(t)
		if r.session.Revision() != transports.Revision3 {
			t.Error("revision", r.session.Revision())
		}
		for range 5 {
			<-time.After(45*time.Second - time.Nanosecond)
			receive(t, r.sink, ping)
			r.expectSent(t, r.conn, "3")
			r.sink.Ready()
		}
		<-time.After(45*time.Second - time.Nanosecond)
		receive(t, r.sink, text("messages do not count"))
		r.expectReason(t, "")
		<-time.After(time.Nanosecond)
		synctest.Wait()
		r.expectReason(t, transports.PingTimeout)
	})
	t.Run("pong", func(t *testing.T) {
		r := openedOld(t)
		if err := r.sink.Receive(pongPacket); err == nil {
			t.Error("a client's pong is taken")
		}
		r.expectReason(t, transports.TransportError)
	})
	t.Run("upgrade", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := openedOld(t)
			conn := &fakeConn{streaming: true}
			sink, err := r.manager.Open(r.target, transports.Handshake{SessionID: "old"}, conn)
			if err != nil {
				t.Fatal(err)
			}
			sink.Ready()
			receive(t, sink, probePacket)
			r.expectSent(t, conn, "3probe")
			receive(t, sink, upgradePacket)
			<-time.After(40 * time.Second)
			receive(t, sink, ping)
			r.expectSent(t, conn, "3")
			<-time.After(45 * time.Second)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
		})
	})
}
