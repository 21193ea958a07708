package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/transports"
)

func TestHeartbeat(t *testing.T) {
	options := Options{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second}
	t.Run("B33 pings at the interval, counted from the pong", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			for range 3 {
				<-time.After(25*time.Second - time.Nanosecond)
				r.expectSent(t, r.conn, "")
				<-time.After(time.Nanosecond)
				synctest.Wait()
				r.expectSent(t, r.conn, "2")
				<-time.After(5 * time.Second)
				receive(t, r.sink, pongPacket)
				r.sink.Ready()
			}
		})
	})
	t.Run("B34 no pong", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			<-time.After(45*time.Second - time.Nanosecond)
			r.expectReason(t, "")
			<-time.After(time.Nanosecond)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
			if got := r.conn.cause(); got == nil || got.Reason != transports.PingTimeout {
				t.Errorf("transport closed with %v", got)
			}
		})
	})
	t.Run("A14 the timeout runs although the ping could not be written", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, options)
			r.sink.Ready() // fetches the open packet and never polls again
			<-time.After(45 * time.Second)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
		})
	})
	t.Run("A13 messages do not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			for range 44 {
				<-time.After(time.Second)
				receive(t, r.sink, text("x"))
			}
			<-time.After(time.Second)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
		})
	})
	t.Run("B37 an unsolicited pong postpones the ping", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			<-time.After(20 * time.Second)
			receive(t, r.sink, pongPacket)
			<-time.After(25*time.Second - time.Nanosecond)
			r.expectSent(t, r.conn, "")
			<-time.After(time.Nanosecond)
			synctest.Wait()
			r.expectSent(t, r.conn, "2")
		})
	})
	t.Run("B37 a client's ping is an error", func(t *testing.T) {
		r := opened(t, options)
		if err := r.sink.Receive(transports.Packet{Type: transports.Ping}); !errors.Is(err, errHeartbeatWrong) {
			t.Errorf("Receive: %v", err)
		}
		r.expectReason(t, transports.TransportError)
	})
	t.Run("B38 a ping outstanding at the switch is waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			<-time.After(25 * time.Second)
			synctest.Wait()
			r.expectSent(t, r.conn, "2")
			<-time.After(10 * time.Second)
			_, sink := r.offer(t)
			receive(t, sink, upgradePacket)
			<-time.After(20*time.Second - time.Nanosecond)
			r.expectReason(t, "")
			<-time.After(time.Nanosecond)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
		})
	})
	t.Run("A11 the pong may come on the new transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			<-time.After(25 * time.Second)
			synctest.Wait()
			_, sink := r.offer(t)
			receive(t, sink, upgradePacket)
			receive(t, sink, pongPacket)
			<-time.After(24 * time.Second)
			r.expectReason(t, "")
		})
	})
	t.Run("a client is not blamed for a message that we are slow to take", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := opened(t, options)
			busy := make(chan struct{})
			r.receiver.onMessage = func(transports.Packet) { <-busy }
			go func() {
				_ = r.sink.Receive(text("slow"))
				_ = r.sink.Receive(pongPacket)
			}()
			<-time.After(10 * time.Minute)
			synctest.Wait()
			r.expectReason(t, "")
			close(busy)
			synctest.Wait()
			r.receiver.onMessage = nil
			<-time.After(46 * time.Second)
			synctest.Wait()
			r.expectReason(t, transports.PingTimeout)
		})
	})
}
