package polling

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// until waits for something that is guarded by the lock of the conn.
func (d *door) until(condition func() bool) {
	d.t.Helper()
	c := d.polling()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		c.mu.Lock()
		ok := condition()
		c.mu.Unlock()
		if ok {
			return
		}
	}
	d.t.Fatal("it did not come about")
}

// B59: a poll that is parked when the client commits to another transport is
// answered with a close. Packets go elsewhere from then on, and requests with
// them (B57).
func TestRetire(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		poll := d.park()
		d.conn.(transports.Retirer).Retire()
		poll.want(200, "1")
		if ready, err := d.conn.Send([]transports.Packet{text("x")}); ready || !errors.Is(err, transports.ErrRetired) {
			t.Errorf("Send: %t, %v", ready, err)
		}
		const mismatch = `{"code":3,"message":"Bad request"}`
		d.get().want(400, mismatch)
		d.post("4late").want(400, mismatch)
		d.wantReceived(t)
		d.wantOpenOrReported(t) // A28
	})
}

// A10, B60: a POST that came before is received before Retire returns.
func TestRetireWaitsForReceive(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		entered, release := make(chan struct{}), make(chan struct{})
		d.onReceive = func(p transports.Packet) error {
			if string(p.Data) == "a" {
				close(entered)
				<-release
			}
			return nil
		}
		d.open()
		post := d.post("4a\x1e4b")
		wait(t, "Receive", entered)
		done := make(chan struct{})
		go func() {
			d.conn.(transports.Retirer).Retire()
			close(done)
		}()
		c := d.polling()
		d.until(func() bool { return c.state == retired })
		select {
		case <-done:
			t.Error("Retire did not wait")
		default:
		}
		close(release)
		wait(t, "end of Retire", done)
		d.wantReceived(t, "4a", "4b")
		post.want(200, "ok")
	})
}

// B60: that holds for a POST whose body is still on its way, too.
func TestRetireWaitsForBody(t *testing.T) {
	streamingDoors(t, func(t *testing.T, d *door) {
		d.open()
		body := "4" + strings.Repeat("x", 19_999)
		post := d.dial().put(head("POST", sid, "Content-Length: 20000") + body[:10_000])
		d.waitReading()
		done := make(chan struct{})
		go func() {
			d.conn.(transports.Retirer).Retire()
			close(done)
		}()
		c := d.polling()
		d.until(func() bool { return c.state == retired })
		post.put(body[10_000:]).want(200, "ok")
		wait(t, "end of Retire", done)
		d.wantReceived(t, body)
	})
}

// A session that ends while Retire waits does not wait with it.
func TestRetireClosed(t *testing.T) {
	streamingDoors(t, func(t *testing.T, d *door) {
		d.open()
		d.dial().put(head("POST", sid, "Content-Length: 20000") + "4" + strings.Repeat("x", 9999))
		d.waitReading()
		done := make(chan struct{})
		go func() {
			d.conn.(transports.Retirer).Retire()
			close(done)
		}()
		c := d.polling()
		d.until(func() bool { return c.state == retired })
		d.conn.Close(&transports.CloseError{Reason: transports.PingTimeout})
		wait(t, "end of Retire", done)
		d.wantReceived(t)
		d.wantClosed(t, "ping timeout", nil)
	})
}

// B60: POSTs and commits race; what the POST brings comes before whatever is
// received after Retire, or the POST is refused whole.
func TestRetireRace(t *testing.T) {
	for range 300 {
		s := newSession()
		New(Options{}).Accept(&fakeExchange{method: "GET", woken: make(chan struct{})}, s.admission())
		post := &fakeExchange{method: "POST", body: "4a\x1e4b"}
		done := make(chan struct{})
		go func() {
			s.polling().ServeRequest(post)
			close(done)
		}()
		s.polling().Retire()
		s.received <- "after"
		wait(t, "answer", done)
		if post.status == 200 {
			s.wantReceived(t, "4a", "4b", "after")
		} else {
			s.wantReceived(t, "after")
		}
	}
}
