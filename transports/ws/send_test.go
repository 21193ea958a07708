package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// B50, spec 7.1 and 7.2: how packets look on the wire.
func TestSend(t *testing.T) {
	large := strings.Repeat("x", 70_000)
	tests := map[string]struct {
		packet transports.Packet
		query  string
		first  byte
		want   string
	}{
		"open":          {transports.Packet{Type: transports.Open, Data: []byte(`{}`)}, "", textFrame, "0{}"},
		"ping":          {transports.Packet{Type: transports.Ping}, "", textFrame, "2"},
		"probe":         {transports.Packet{Type: transports.Pong, Data: []byte("probe")}, "", textFrame, "3probe"},
		"noop":          {transports.Packet{Type: transports.Noop}, "", textFrame, "6"},
		"message":       {text("1€"), "", textFrame, "4\x31\xe2\x82\xac"},
		"empty message": {text(""), "", textFrame, "4"},
		"125 bytes":     {text(large[:124]), "", textFrame, "4" + large[:124]},
		"126 bytes":     {text(large[:125]), "", textFrame, "4" + large[:125]},
		"65535 bytes":   {text(large[:65534]), "", textFrame, "4" + large[:65534]},
		"65536 bytes":   {text(large[:65535]), "", textFrame, "4" + large[:65535]},
		"binary":        {binaryPacket("\x00\x01"), "", binaryFrame, "\x00\x01"},
		"empty binary":  {binaryPacket(""), "", binaryFrame, ""},
		"b64":           {binaryPacket("\x01\x02\x03\x04"), "&b64=1", textFrame, "bAQIDBA=="},
		"b64 of 2":      {binaryPacket("\x01\x02"), "&b64=0", textFrame, "bAQI="},
		"b64 of none":   {binaryPacket(""), "&b64=1", textFrame, "b"},
		"b64 of text":   {text("x"), "&b64=1", textFrame, "4x"},
		"b64 empty":     {binaryPacket("\x01\x02"), "&b64=", binaryFrame, "\x01\x02"},
	}
	for name, test := range tests {
		for _, shared := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", shared"}[shared], func(t *testing.T) {
				l := connect(t, setup{request: func(r *request) { r.query += test.query }})
				p := test.packet
				if shared {
					p.Shared = new(transports.Shared)
				}
				if !l.send(t, p) {
					t.Error("not ready")
				}
				l.want(t, test.first, test.want)
				l.send(t, text("between"), p, p)
				l.want(t, textFrame, "4between")
				l.want(t, test.first, test.want)
				l.want(t, test.first, test.want)
			})
		}
	}
}

// A batch leaves in one write; a packet of type Close in it has no form here.
func TestSendBatch(t *testing.T) {
	l := connect(t, setup{})
	closing := transports.Packet{Type: transports.Close}
	if !l.send(t, text("a"), closing, transports.Packet{Type: transports.Noop}, binaryPacket("b")) {
		t.Error("not ready")
	}
	got := make([]byte, 100)
	n, err := l.Read(got)
	if want := "\x81\x024a\x81\x016\x82\x01b"; string(got[:n]) != want || err != nil {
		t.Errorf("read %q, %v; want %q", got[:n], err, want)
	}
	shared := closing
	shared.Shared = new(transports.Shared)
	if !l.send(t, closing) || !l.send(t, shared) {
		t.Error("a batch of nothing is not done at once")
	}
	l.send(t, text("after"))
	l.want(t, textFrame, "4after")
}

// A40: a broadcast is framed once, and all send the same bytes.
func TestSharedFrame(t *testing.T) {
	p := text("to all")
	p.Shared = new(transports.Shared)
	links := []link{connect(t, setup{}), connect(t, setup{}), connect(t, setup{})}
	links[0].send(t, p)
	first := sharedFrame(&p, revision4)
	for _, l := range links[1:] {
		l.send(t, p)
	}
	for _, l := range links {
		l.want(t, textFrame, "4to all")
	}
	if again := sharedFrame(&p, revision4); &again[0] != &first[0] {
		t.Error("framed anew")
	}
	p.Data[0] = 'X' // proves that what is sent now was made before
	links[0].send(t, p, text("x"))
	links[0].want(t, textFrame, "4to all")
}

// A peer that does not read makes Send report false; Ready comes after it has
// read; nothing is lost, doubled or reordered at the points where the socket
// was full.
func TestSlowReader(t *testing.T) {
	const total = 50 << 20
	for name, dial := range map[string]func(testing.TB) (server, peer net.Conn){"tcp": tcp, "pipe": pipe} {
		t.Run(name, func(t *testing.T) {
			l := open(t, setup{dial: dial})
			if dial := name; dial == "pipe" {
				l.readHead(t)
			}
			wait(t, "Ready", l.readied)
			received := make(chan error, 1)
			read := func() {
				if name == "tcp" {
					l.readHead(t)
				}
				received <- l.readNumbered()
			}
			reading := false
			number := uint64(0)
			for sent := 0; sent < total; {
				batch := make([]transports.Packet, 0, 8)
				for range 8 {
					size := 8 + int(number*7919%100_000)
					data := make([]byte, size)
					binary.BigEndian.PutUint64(data, number)
					p := binaryPacket(string(data))
					if number%5 == 0 {
						p.Shared = new(transports.Shared)
					}
					batch = append(batch, p)
					sent += size
					number++
				}
				if number%3 == 0 {
					for i := range batch {
						ready, err := l.conn.Send(batch[i : i+1])
						if err != nil {
							t.Fatal(err)
						}
						l.awaitReady(t, ready, &reading, read)
					}
					continue
				}
				l.awaitReady(t, l.send(t, batch...), &reading, read)
			}
			if !reading {
				t.Fatal("the socket took it all")
			}
			l.awaitReady(t, l.send(t, text("end")), &reading, read)
			if err := wait(t, "end of reading", received); err != nil {
				t.Error(err)
			}
			if len(l.readied) > 0 {
				t.Error("Ready without a Send that was not ready")
			}
		})
	}
}

func (l link) awaitReady(t testing.TB, ready bool, reading *bool, read func()) {
	t.Helper()
	if ready {
		return
	}
	if !*reading {
		*reading = true
		go read()
	}
	wait(t, "Ready", l.readied)
}

// readNumbered reads frames that begin with a number until one is a text.
func (c *client) readNumbered() error {
	for next := uint64(0); ; next++ {
		first, payload, err := c.read()
		if err != nil || first == textFrame {
			return err
		}
		if got := binary.BigEndian.Uint64(payload); got != next {
			return errors.New("a frame is missing, or out of order")
		}
		if !bytes.Equal(payload[8:], make([]byte, len(payload)-8)) {
			return errors.New("a frame is damaged")
		}
	}
}

// A peer that pings and does not read costs no more than the newest ping.
func TestPingsOfSlowReader(t *testing.T) {
	l := connect(t, setup{})
	l.clog(t)
	for range 1000 {
		l.put(t, frame(0x89, "old"))
	}
	l.put(t, frame(0x89, "new"), frame(textFrame, "4all read"))
	wait(t, "packet", l.received)
	g := &l.conn.(*conn).gather
	g.mu.Lock()
	pings := bytes.Count(g.ping, []byte("old")) + bytes.Count(g.ping, []byte("new"))
	g.mu.Unlock()
	if pings != 1 {
		t.Errorf("%d pings are remembered", pings)
	}
	for {
		first, payload, err := l.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == pongFrame {
			if string(payload) != "new" {
				t.Errorf("pong %q", payload)
			}
			break
		}
	}
	wait(t, "Ready", l.readied)
	l.send(t, text("after"))
	l.want(t, textFrame, "4after")
}

// A conn with nothing unsent holds no buffer; one that had something gives it
// back.
func TestIdleHoldsNothing(t *testing.T) {
	l := connect(t, setup{})
	g := &l.conn.(*conn).gather
	check := func() {
		t.Helper()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.unsent != nil || g.ping != nil || g.writing {
			t.Errorf("unsent: %t, ping: %t, writing: %t", g.unsent != nil, g.ping != nil, g.writing)
		}
	}
	check()
	l.send(t, text("x"))
	check()
	l.clog(t)
	go func() {
		for {
			if _, _, err := l.read(); err != nil {
				return
			}
		}
	}()
	wait(t, "Ready", l.readied)
	check()
}

// The deadline of a write that had to wait does not outlive it.
func TestSendAfterDrain(t *testing.T) {
	const timeout = 2 * time.Second
	l := connect(t, setup{options: Options{WriteTimeout: timeout}})
	l.clog(t)
	if _, _, err := l.read(); err != nil {
		t.Fatal(err)
	}
	wait(t, "Ready", l.readied)
	<-time.After(timeout + timeout/10) // the deadline has passed
	if !l.send(t, text("after")) {
		t.Error("not ready")
	}
	l.want(t, textFrame, "4after")
}
