package polling

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

func TestFeatures(t *testing.T) {
	tr := New(Options{})
	if tr.Name() != "polling" || tr.Features() != (transports.Features{Upgradable: true, Revision3: true}) {
		t.Errorf("%q %+v", tr.Name(), tr.Features())
	}
}

// A34: the open packet is the answer to the first request, and what was queued
// with it comes along. A26, B28: its header.
func TestHandshake(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.outbox = append(d.outbox, text("initial"))
		fields := d.dial().put(head("GET", "")).want(200, "0{}\x1e4initial")
		for name, want := range map[string]string{
			"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store",
			"Content-Length": "12", "X-Xss-Protection": "", "Vary": "", "Content-Encoding": "",
		} {
			if got := fields.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	})
}

func TestHandshakeRefused(t *testing.T) {
	eachDoor(t, Options{}, func(_ *testing.T, d *door) {
		d.attachErr = errors.New("shutting down")
		d.dial().put(head("GET", "")).want(400, "refused: shutting down")
	})
}

// Somebody who knows a session's id before its client does gets nowhere.
func TestRequestBeforeReady(t *testing.T) {
	s := newSession()
	s.onAttach = func(conn transports.Conn) {
		for _, method := range []string{"GET", "POST"} {
			ex := &fakeExchange{method: method}
			conn.(transports.RequestConn).ServeRequest(ex)
			if ex.status != 400 {
				t.Errorf("%s: status %d", method, ex.status)
			}
		}
	}
	New(Options{}).Accept(&fakeExchange{method: "GET", woken: make(chan struct{})}, s.admission())
	s.wantReceived(t)
	s.wantOpenOrReported(t)
}

// B18: packets arrive as one body, in order, binary ones as base64.
func TestPoll(t *testing.T) {
	eachDoor(t, Options{}, func(_ *testing.T, d *door) {
		d.open()
		poll := d.park()
		_ = d.send(text("a"))
		poll.want(200, "4a")

		_ = d.send(text("1€"), transports.Packet{Type: transports.Ping})
		_ = d.send(binary("\x01\x02\x03\x04"), binary(""), transports.Packet{Type: transports.Noop})
		d.get().want(200, "41€\x1e2\x1ebAQIDBA==\x1eb\x1e6")
	})
}

// A19, B25: the session is not tied to a connection; A20: a client may poll
// again as soon as it has the answer.
func TestPollAgain(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		var sending sync.WaitGroup
		const n = 200
		sending.Go(func() {
			for range n {
				_ = d.send(text("x"))
			}
		})
		kept := d.dial()
		for got := 0; got < n; {
			r := kept
			if got%2 == 0 {
				r = d.dial()
				r.put(getText("Connection: close"))
			} else {
				r.put(getText())
			}
			res := r.read()
			if res.status != 200 {
				t.Fatalf("after %d: answer %d %q", got, res.status, res.body)
			}
			got += strings.Count(res.body, "4x")
		}
		sending.Wait()
		d.wantOpenOrReported(t)
	})
}

// B22, A3: of two polls the first is told that the session is over, the second
// is refused, and so is what comes later.
func TestPollOverlap(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		first := d.park()
		d.get().want(400, "")
		first.want(200, "1")
		d.wantClosed(t, "transport error: overlap from client", transports.ErrOverlap)
		fields := d.get().want(400, `{"code":1,"message":"Session ID unknown"}`)
		if got := fields.Get("Content-Type"); got != "application/json" {
			t.Errorf("content type %q", got)
		}
		d.post("4late").want(400, `{"code":1,"message":"Session ID unknown"}`)
		d.wantReceived(t)
	})
}

// B24: the connection of a parked poll dies.
func TestPollClientLeaves(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		_ = d.park().conn.Close()
		d.wantClosed(t, "transport error: poll connection closed prematurely", transports.ErrClientGone)
		// A session that does not know yet learns the same from Send.
		if err := d.send(text("x")); !errors.Is(err, transports.ErrClientGone) {
			t.Errorf("Send: %v", err)
		}
		d.wantOpenOrReported(t)
	})
}

// A client that leaves while its answer is made has missed it for certain.
func TestPollAnswerLost(t *testing.T) {
	for name, ex := range map[string]*fakeExchange{
		"before it is written": {method: "GET", woken: make(chan struct{}), parkErr: transports.ErrClientGone},
		"while it is written":  {method: "GET", woken: make(chan struct{}), respondErr: io.ErrClosedPipe},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession()
			New(Options{}).Accept(ex, s.admission())
			cause := wait(t, "Closed", s.closed)
			if !errors.Is(cause, transports.ErrClientGone) ||
				!errors.Is(cause, &transports.CloseError{Reason: transports.TransportError}) {
				t.Errorf("closed by %v", cause)
			}
			if ex.parkErr != nil && ex.status != 400 { // for a handler in front that gave up, not the client
				t.Errorf("status %d", ex.status)
			}
		})
	}
}

// A session that closes as soon as it can stays closed.
func TestCloseInsideReady(t *testing.T) {
	s := newSession()
	s.onReady = func() { s.conn.Close(&transports.CloseError{Reason: transports.ForcedClose}) }
	first := &fakeExchange{method: "GET", woken: make(chan struct{})}
	New(Options{}).Accept(first, s.admission())
	if first.status != 200 || first.answer != "1" {
		t.Errorf("answer %d %q", first.status, first.answer)
	}
	second := &fakeExchange{method: "POST", body: "4a"}
	s.polling().ServeRequest(second)
	if second.status != 400 {
		t.Errorf("status %d", second.status)
	}
	s.wantClosed(t, "forced close", nil)
	s.wantReceived(t)
}

// A4: a poll that is parked when the session closes is answered with a close,
// or with a noop if it was the client that closed. Closed is called once,
// however often Close is.
func TestClose(t *testing.T) {
	for reason, want := range map[transports.Reason]string{
		transports.ForcedClose: "1", transports.PingTimeout: "1",
		transports.TransportError: "1", transports.TransportClose: "6",
	} {
		t.Run(string(reason), func(t *testing.T) {
			eachDoor(t, Options{}, func(t *testing.T, d *door) {
				d.open()
				poll := d.park()
				d.conn.Close(&transports.CloseError{Reason: reason})
				d.conn.Close(errors.New("again"))
				poll.want(200, want)
				d.wantClosed(t, string(reason), nil)
			})
		})
	}
}

// A4: a poll that comes after an orderly close gets what the session has
// queued for it.
func TestCloseWithoutPoll(t *testing.T) {
	eachDoor(t, Options{}, func(_ *testing.T, d *door) {
		d.open()
		_ = d.send(transports.Packet{Type: transports.Noop}, transports.Packet{Type: transports.Close})
		d.get().want(200, "6\x1e1")
	})
}

// However many ends meet, one is reported.
func TestClosedOnce(t *testing.T) {
	for range 50 {
		s := newSession()
		ex := &fakeExchange{method: "GET", woken: make(chan struct{})}
		New(Options{}).Accept(ex, s.admission())
		var racing sync.WaitGroup
		for range 3 {
			racing.Go(func() { s.conn.Close(&transports.CloseError{Reason: transports.PingTimeout}) })
			racing.Go(func() {
				s.polling().ServeRequest(&fakeExchange{method: "GET", woken: make(chan struct{}), parkErr: transports.ErrClientGone})
			})
			racing.Go(func() { s.polling().ServeRequest(&fakeExchange{method: "POST", body: "\xff"}) })
		}
		racing.Wait()
		if len(s.closed) != 1 {
			t.Fatalf("closed %d times", len(s.closed))
		}
	}
}

// B28.
func TestXSSProtection(t *testing.T) {
	eachDoor(t, Options{}, func(t *testing.T, d *door) {
		d.open()
		for agent, want := range map[string]string{
			"Mozilla/5.0 (Windows NT 10.0) Firefox/140.0":      "",
			"Mozilla/5.0 (compatible;MSIE 9.0; Windows NT)":    "0",
			"Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11)": "0",
			"Mozilla/5.0 (MSIE is not one of the two)":         "",
		} {
			_ = d.send(text("x"))
			poll := d.get("User-Agent: "+agent).want(200, "4x")
			post := d.post("4x", "User-Agent: "+agent).want(200, "ok")
			if got := poll.Get("X-XSS-Protection"); got != want {
				t.Errorf("poll of %s: %q", agent, got)
			}
			if got := post.Get("X-XSS-Protection"); got != want {
				t.Errorf("post of %s: %q", agent, got)
			}
		}
	})
}

// B32, A24, A25: what is compressed, and how.
func TestCompression(t *testing.T) {
	long := func(n int) transports.Packet { return text(strings.Repeat("x", n-1)) } // n bytes with the digit
	without := func(p transports.Packet) transports.Packet { p.NoCompress = true; return p }
	// Data on a noop or close is not in the protocol; it makes them long enough.
	typed := func(ty transports.Type, p transports.Packet) transports.Packet { p.Type = ty; return p }
	const both = "gzip, deflate, br"
	for _, test := range []struct {
		name     string
		from     int
		accept   string
		batch    []transports.Packet
		encoding string
		vary     bool
	}{
		{"at threshold", 0, both, []transports.Packet{long(1024)}, "gzip", true},
		{"under threshold", 0, both, []transports.Packet{long(1023)}, "", false},
		{"packets count together", 0, both, []transports.Packet{long(511), long(512)}, "gzip", true},
		{"own threshold", 10, both, []transports.Packet{long(10)}, "gzip", true},
		{"under own threshold", 10, both, []transports.Packet{long(9)}, "", false},
		{"off", -1, both, []transports.Packet{long(5000)}, "", false},
		{"not wanted by the sender", 0, both, []transports.Packet{without(long(2000))}, "", false},
		{"wanted for one of two", 0, both, []transports.Packet{without(long(2000)), long(5)}, "gzip", true},
		{"noop", 0, both, []transports.Packet{typed(transports.Noop, long(2000))}, "", false},
		{"close", 0, both, []transports.Packet{typed(transports.Close, long(2000))}, "", false},
		{"noop and message without", 0, both, []transports.Packet{typed(transports.Noop, long(5)), without(long(2000))}, "", false},
		{"deflate only", 0, "deflate", []transports.Packet{long(2000)}, "deflate", true},
		{"deflate preferred", 0, "gzip;q=0.4, deflate;q=0.5", []transports.Packet{long(2000)}, "deflate", true},
		{"nothing accepted", 0, "br", []transports.Packet{long(2000)}, "", true},
		{"header absent", 0, "", []transports.Packet{long(2000)}, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := httpDoor(t, Options{CompressFrom: test.from})
			d.open()
			_ = d.send(test.batch...)
			var fields []string
			if test.accept != "" {
				fields = append(fields, "Accept-Encoding: "+test.accept)
			}
			res := d.get(fields...).read()
			if got := res.header.Get("Content-Encoding"); got != test.encoding {
				t.Errorf("content encoding %q, want %q", got, test.encoding)
			}
			if got := res.header.Get("Vary") == "Accept-Encoding"; got != test.vary {
				t.Errorf("Vary is %q", res.header.Get("Vary"))
			}
			if want := string(AppendPayload(nil, test.batch)); decode(t, test.encoding, res.body) != want {
				t.Errorf("answer %.50q", res.body)
			}
		})
	}
}

// The same compressor serves one answer after another, from any door.
func TestCompressionAgain(t *testing.T) {
	eachDoor(t, Options{CompressFrom: 1}, func(t *testing.T, d *door) {
		d.open()
		for i, coding := range slices.Repeat([]string{"gzip", "deflate"}, 3) {
			word := strings.Repeat("word", 1+i)
			_ = d.send(text(word))
			res := d.get("Accept-Encoding: " + coding).read()
			if got := res.header.Get("Content-Encoding"); got != coding || decode(t, coding, res.body) != "4"+word {
				t.Errorf("answer %q %q", got, res.body)
			}
		}
	})
}

func decode(t *testing.T, coding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestAcceptedCoding(t *testing.T) {
	for field, want := range map[string]coding{
		"":                                identity,
		"gzip":                            gzipped,
		"GZip":                            gzipped,
		"deflate":                         deflated,
		"deflate, gzip":                   gzipped,
		"deflate;q=1, gzip;q=1.0":         gzipped,
		"deflate;q=0.9,gzip;q=0.8":        deflated,
		"gzip;q=0":                        identity,
		"gzip;q=0, deflate":               deflated,
		"gzip; Q = 0.000, deflate; q=0.1": deflated,
		"*":                               gzipped,
		"*;q=0":                           identity,
		"gzip;q=0.1, *":                   deflated,
		"gzip;q=0, *":                     deflated,
		"br, identity":                    identity,
		"identity, gzip;q=0.1":            gzipped, // identity is not on offer
		"x-gzip":                          identity,
		"gzip;level=3;q=0.2, deflate":     deflated,
		"gzip;q=much":                     identity,
		"gzip;q=NaN":                      identity,
		"gzip;q=-1":                       identity,
		"gzip;q=2":                        identity,
		",,;;=,":                          identity,
	} {
		if got := acceptedCoding(field); got != want {
			t.Errorf("%q: %s, want %s", field, got, want)
		}
	}
}
