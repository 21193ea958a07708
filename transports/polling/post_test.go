package polling

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// B18: what a POST brings is received in order; its answer.
func TestPost(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		fields := d.post("4a\x1ebAQIDBA==\x1e3\x1e4c", "Content-Type: text/plain;charset=UTF-8").want(200, "ok")
		d.wantReceived(t, "4a", "b01020304", "3", "4c")
		for name, want := range map[string]string{
			"Content-Type": "text/html", "Cache-Control": "no-store", "Content-Length": "2",
		} {
			if got := fields.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		// Open, upgrade and noop are the session's to ignore.
		d.post("0\x1e5\x1e6").want(200, "ok")
		d.wantReceived(t, "0", "5", "6")
		d.wantOpenOrReported(t)
	})
}

// B27: text of any language, also where it meets a separator.
func TestPostNonASCII(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		d.post("4你好\x1e4😀\x1e4€").want(200, "ok")
		d.wantReceived(t, "4你好", "4😀", "4€")
		_ = d.send(text("你好"), text("😀"))
		d.get().want(200, "4你好\x1e4😀")
	})
}

// B19: a body in chunks, one of which ends inside a character.
func TestPostChunked(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		d.dial().put(head("POST", sid, "Transfer-Encoding: chunked")+"3\r\n4\xe2\x82\r\n2\r\n\xac!\r\n0\r\n\r\n").want(200, "ok")
		d.wantReceived(t, "4€!")

		r := d.dial().put(head("POST", sid, "Transfer-Encoding: chunked") + "1\r\n4\r\n")
		for range 999 {
			r.put(fmt.Sprintf("%x\r\n%s\r\n", 1000, strings.Repeat("x", 1000)))
		}
		r.put("0\r\n\r\n").want(200, "ok")
		d.wantReceived(t, "4"+strings.Repeat("x", 999_000))
	})
}

// B20, A2: the limit is exact. A body over it is refused, nothing of it is
// received, and the session goes on.
func TestPostLimit(t *testing.T) {
	const limit = 10_000
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.maxPayload = limit
		d.open()
		for size, status := range map[int]int{limit - 1: 200, limit: 200, limit + 1: 413, 3 * limit: 413} {
			body := "4" + strings.Repeat("x", size-1)
			want := map[int]string{200: "ok"}[status]
			fields := d.post(body).want(status, want)
			if fields.Get("Cache-Control") != "no-store" {
				t.Errorf("%d: Cache-Control %q", size, fields.Get("Cache-Control"))
			}
			if status == 200 {
				d.wantReceived(t, body)
			} else {
				d.wantReceived(t)
			}
		}
		d.post("4next").want(200, "ok")
		d.wantReceived(t, "4next")
		d.wantOpenOrReported(t)
	})
}

// B21: a body that is not a payload ends the session; what came before the
// broken packet is received, what comes after is not.
func TestPostMalformed(t *testing.T) {
	for _, test := range []struct {
		name, body string
		received   []string
		text       string
	}{
		{"empty", "", nil, "packet at byte 0 of the payload: malformed packet: empty packet at byte 0"},
		{"type", "abc", nil, "packet at byte 0 of the payload: malformed packet: unknown packet type at byte 0"},
		{"second", "4a\x1e7\x1e4b", []string{"4a"}, "packet at byte 3 of the payload: malformed packet: unknown packet type at byte 0"},
		{"trailing separator", "4a\x1e", []string{"4a"}, "packet at byte 3 of the payload: malformed packet: empty packet at byte 0"},
		{"base64", "4a\x1eb*\x1e4b", []string{"4a"}, "packet at byte 3 of the payload: malformed packet: invalid base64"},
		{"UTF-8", "4a\x1e4\xff", []string{"4a"}, "packet at byte 3 of the payload: malformed packet: invalid UTF-8 at byte 0"},
		{"too many", "41\x1e42\x1e43\x1e44", []string{"41", "42", "43"}, "malformed packet: too many packets in a payload: the limit is 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachDoor(t, Options{MaxPackets: 3}, func(t *testing.T, d *door) {
				d.open()
				poll := d.park()
				d.post(test.body).want(400, "")
				poll.want(200, "1")
				d.wantReceived(t, test.received...)
				d.wantClosed(t, "parse error: "+test.text, transports.ErrMalformed)
				d.get().want(400, `{"code":1,"message":"Session ID unknown"}`)
			})
		})
	}
}

// As many packets as the limit has are fine.
func TestPostMaxPackets(t *testing.T) {
	d := httpDoor(t, Options{MaxPackets: 3})
	d.open()
	d.post("41\x1e42\x1e43").want(200, "ok")
	d.wantReceived(t, "41", "42", "43")
}

// B23, A23: the one content type that is refused. With a parameter it is
// another string, in the reference too.
func TestPostContentType(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		d.post("4a", "Content-Type: application/octet-stream; charset=utf-8").want(200, "ok")
		poll := d.park()
		d.post("4b", "Content-Type: application/octet-stream").want(400, "")
		poll.want(200, "1")
		d.wantReceived(t, "4a")
		d.wantClosed(t, "transport error: invalid content", transports.ErrInvalidContent)
	})
}

// A4: the client's own close is answered with a noop, and "ok". What comes
// after it is dropped.
func TestPostClose(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		poll := d.park()
		d.post("4a\x1e1\x1e4b").want(200, "ok")
		poll.want(200, "6")
		d.wantReceived(t, "4a")
		d.wantClosed(t, "transport close", nil)
	})
}

// B41, A29: nothing is received after the session was closed from inside
// Receive.
func TestPostClosedInside(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.onReceive = func(transports.Packet) error {
			d.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
			return nil
		}
		d.open()
		d.post("4a\x1e4b").want(400, "")
		d.wantReceived(t, "4a")
		d.wantClosed(t, "forced close", nil)
	})
}

// A session that takes nothing more ends the delivery; the body was read.
func TestPostNotReceived(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		calls := 0
		d.onReceive = func(transports.Packet) error {
			calls++
			return errors.New("closed")
		}
		d.open()
		d.post("4a\x1e4b").want(200, "ok")
		if calls != 1 {
			t.Errorf("Receive was called %d times", calls)
		}
		d.wantOpenOrReported(t) // the session knows
	})
}

// A27: the answer to a POST waits until the session has taken everything, and
// a poll is answered meanwhile.
func TestPostBackPressure(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		entered, release := make(chan struct{}), make(chan struct{})
		d.onReceive = func(p transports.Packet) error {
			if string(p.Data) == "full" {
				close(entered)
				<-release
			}
			return nil
		}
		d.open()
		post := d.post("4full\x1e4next")
		answered := make(chan error, 1)
		go func() {
			_, err := post.br.Peek(1)
			answered <- err
		}()
		wait(t, "Receive", entered)
		poll := d.park()
		_ = d.send(text("reply"))
		poll.want(200, "4reply")
		for range 3 { // round trips, in which an early answer would have come
			d.dial().put(head("PUT", sid, "Content-Length: 0")).want(405, "")
		}
		if len(answered) > 0 || len(d.received) > 0 {
			t.Error("the POST was answered before it was received")
		}
		close(release)
		if err := wait(t, "answer", answered); err != nil {
			t.Fatal(err)
		}
		post.want(200, "ok")
		d.wantReceived(t, "4full", "4next")
	})
}

// B22: of two POSTs the second is refused and the first cut off.
func TestPostOverlapWhileReading(t *testing.T) {
	streamingDoors(t, func(t *testing.T, d *door) {
		d.open()
		poll := d.park()
		first := d.dial().put(head("POST", sid, "Content-Length: 20000") + "4" + strings.Repeat("x", 9999))
		d.waitReading()
		d.post("4second").want(400, "")
		if got := first.read(); got.status != 400 || !got.close {
			t.Errorf("first POST: answer %d, close %t", got.status, got.close)
		}
		poll.want(200, "1")
		d.wantReceived(t)
		d.wantClosed(t, "transport error: data request overlap from client", transports.ErrOverlap)
	})
}

// B22, A27: so it is when the first one is being received; the session hears
// of it at once, although it has not returned from Receive.
func TestPostOverlapWhileReceiving(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		entered, release := make(chan struct{}), make(chan struct{})
		d.onReceive = func(transports.Packet) error {
			close(entered)
			<-release
			return nil
		}
		d.open()
		first := d.post("4a\x1e4b")
		wait(t, "Receive", entered)
		d.post("4second").want(400, "")
		d.wantClosed(t, "transport error: data request overlap from client", transports.ErrOverlap)
		close(release)
		first.want(400, "")
		d.wantReceived(t, "4a")
	})
}

func TestPostClientLeaves(t *testing.T) {
	streamingDoors(t, func(t *testing.T, d *door) {
		d.open()
		poll := d.park()
		post := d.dial().put(head("POST", sid, "Content-Length: 20000") + "4a\x1e" + strings.Repeat("x", 9997))
		d.waitReading()
		_ = post.conn.Close()
		poll.want(200, "1")
		d.wantReceived(t)
		d.wantClosed(t, "transport error: data request connection closed prematurely", transports.ErrClientGone)
	})
}

// B26: a POST that is arriving when the session closes is cut off, so that the
// server can stop.
func TestPostCutOff(t *testing.T) {
	streamingDoors(t, func(t *testing.T, d *door) {
		d.open()
		post := d.dial().put(head("POST", sid, "Content-Length: 20000") + "4" + strings.Repeat("x", 9999))
		d.waitReading()
		d.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
		if got := post.read(); got.status != 400 || !got.close {
			t.Errorf("answer %d, close %t", got.status, got.close)
		}
		d.wantReceived(t)
		d.wantClosed(t, "forced close", nil)
	})
}

// The exchange of a POST is aborted while its body is read, and at no other
// time: it is not read at all if the conn is closed before.
func TestPostAbort(t *testing.T) {
	for name, test := range map[string]struct {
		arm  func(s *session, ex *fakeExchange)
		read bool
	}{
		"before": {func(s *session, ex *fakeExchange) {
			ex.onHeader = func() { s.conn.Close(&transports.CloseError{Reason: transports.ForcedClose}) }
		}, false},
		"after": {func(s *session, _ *fakeExchange) {
			s.onReceive = func(transports.Packet) error {
				s.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
				return nil
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession()
			New(Options{}).Accept(&fakeExchange{method: "GET", woken: make(chan struct{})}, s.admission())
			ex := &fakeExchange{method: "POST", body: "4a\x1e4b"}
			test.arm(s, ex)
			s.polling().ServeRequest(ex)
			if ex.read != test.read || ex.aborts != 0 || ex.status != 400 {
				t.Errorf("read %t, aborted %d times, status %d", ex.read, ex.aborts, ex.status)
			}
			s.wantClosed(t, "forced close", nil)
		})
	}
}

func TestOtherMethods(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
			fields := d.dial().put(head(method, sid, "Content-Length: 0")).want(405, "")
			if got := fields.Get("Allow"); got != "GET, POST" {
				t.Errorf("%s: Allow is %q", method, got)
			}
		}
		d.post("4a").want(200, "ok")
		d.wantOpenOrReported(t)
	})
}

// waitReading waits until the body of a POST is being read.
func (d *door) waitReading() {
	d.t.Helper()
	c := d.polling()
	d.until(func() bool { return c.reading })
}
