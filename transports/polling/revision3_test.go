package polling

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

func collect3(body []byte, isBinary bool) (packets []transports.Packet, err error) {
	for p, splitErr := range Split3(body, isBinary) {
		if splitErr != nil {
			return packets, splitErr
		}
		packets = append(packets, clone(p))
	}
	return packets, nil
}

// The vectors that were taken from the reference implementation.
func TestPayload3Vectors(t *testing.T) {
	packet := func(ty transports.Type, data string) transports.Packet {
		return transports.Packet{Type: ty, Data: []byte(data)}
	}
	for _, test := range []struct {
		wire     string
		isBinary bool
		packets  []transports.Packet
	}{
		{"2:4€", false, []transports.Packet{text("€")}},
		{"3:4😀", false, []transports.Packet{text("😀")}},
		{"6:4hello2:4€", false, []transports.Packet{text("hello"), text("€")}},
		{"8:b4AQIDBA", false, nil}, // without padding; another writer's
		{"10:b4AQIDBA==", false, []transports.Packet{binary("\x01\x02\x03\x04")}},
		{"6:b4AQID", false, []transports.Packet{binary("\x01\x02\x03")}},
		{"1:1", false, []transports.Packet{packet(transports.Close, "")}},
		{"1:61:1", false, []transports.Packet{packet(transports.Noop, ""), packet(transports.Close, "")}},
		{"6:2probe1:5", false, []transports.Packet{packet(transports.Ping, "probe"), packet(transports.Upgrade, "")}},
		{"2:b4", false, []transports.Packet{binary("")}},
		{
			"\x00\x05\xff4h€\x01\x04\xff\x04\x01\x02\x03", true,
			[]transports.Packet{text("h€"), binary("\x01\x02\x03")},
		},
		{"\x00\x01\x00\x01\xff4" + strings.Repeat("x", 100) + "\x01\x01\xff\x04", true, []transports.Packet{text(strings.Repeat("x", 100)), binary("")}},
	} {
		got, err := collect3([]byte(test.wire), test.isBinary)
		if test.packets == nil {
			if err != nil || !equal(got, []transports.Packet{binary("\x01\x02\x03\x04")}) {
				t.Errorf("Split3(%q): %v, %v", test.wire, got, err)
			}
			continue
		}
		if err != nil || !equal(got, test.packets) {
			t.Errorf("Split3(%q): %v, %v", test.wire, got, err)
		}
		wire, isBinary := AppendPayload3([]byte("before"), test.packets, test.isBinary)
		if string(wire) != "before"+test.wire || isBinary != test.isBinary {
			t.Errorf("AppendPayload3: %q, %v, want %q", wire, isBinary, test.wire)
		}
	}
	if wire, isBinary := AppendPayload3(nil, []transports.Packet{text("x")}, true); string(wire) != "2:4x" || isBinary {
		t.Errorf("text to a client that takes binary payloads: %q, %v", wire, isBinary)
	}
	if wire, _ := AppendPayload3(nil, nil, true); string(wire) != "0:" {
		t.Errorf("no packets: %q", wire)
	}
}

func TestPayload3Malformed(t *testing.T) {
	for _, test := range []struct {
		wire     string
		isBinary bool
		good     int // packets before the bad one
	}{
		{"", false, 0},
		{"zz", false, 0},
		{"4hello", false, 0},
		{":4", false, 0},
		{"0:", false, 0},
		{"2:4", false, 0},
		{"-1:4x", false, 0},
		{"+2:4x", false, 0},
		{"2:4x3", false, 1},
		{"2:4xx", false, 1},
		{"2:4😀", false, 0}, // half a character
		{"2:7x", false, 0},
		{"1:b", false, 0},
		{"4:b7AA", false, 0},
		{"4:b2AA", false, 0},
		{"3:b4*", false, 0},
		{"2:4\xff", false, 0},
		{"99999999999:4x", false, 0},
		{strings.Repeat("9", 400) + ":4x", false, 0},
		{"2:4x1:", false, 1},
		{"", true, 0},
		{"\x00", true, 0},
		{"\x02\x01\xff4", true, 0},
		{"\x00\xff4", true, 0},
		{"\x00\x00\xff4", true, 0},
		{"\x00\x02\xff4", true, 0},
		{"\x00\x0a\xff4", true, 0},
		{"\x00\x01\xff4\x01\x02\xff\x04", true, 1},
		{"\x00\x01\xff7", true, 0},
		{"\x01\x01\xff\x02", true, 0},
		{"\x01\x01\xff4", true, 0},
		{"\x00" + strings.Repeat("\x09", 400) + "\xff4", true, 0},
	} {
		got, err := collect3([]byte(test.wire), test.isBinary)
		if transports.AsCloseError(err).Reason != transports.ParseError || !errors.Is(err, transports.ErrMalformed) || len(got) != test.good {
			t.Errorf("Split3(%.50q, %v): %v, %v", test.wire, test.isBinary, got, err)
		}
	}
}

// Whatever comes in, nothing breaks, and what was read is written and read
// again as it was.
func FuzzSplit3(f *testing.F) {
	for _, seed := range []string{
		"2:4€", "3:4😀", "6:4hello2:4€", "10:b4AQIDBA==", "1:1", "1:61:1", "zz", "0:", "99999999999:4x", "2:4😀", "2:b4", "6:2probe",
	} {
		f.Add([]byte(seed), false)
	}
	for _, seed := range []string{"\x00\x05\xff4h€\x01\x04\xff\x04\x01\x02\x03", "\x00\x01\xff4", "\x01\x01\xff\x04", "\x00\x09\x09\x09\xff", "\x02"} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, isBinary bool) {
		packets, err := collect3(body, isBinary)
		if len(packets) > len(body) {
			t.Fatalf("%d packets", len(packets))
		}
		if err != nil && !errors.Is(err, transports.ErrMalformed) {
			t.Fatalf("error %v", err)
		}
		if len(packets) == 0 {
			return
		}
		for _, takesBinary := range []bool{false, true} {
			wire, isBinary := AppendPayload3(nil, packets, takesBinary)
			again, err := collect3(wire, isBinary)
			if err != nil || !equal(again, packets) {
				t.Fatalf("%v became %q and %v, %v", packets, wire, again, err)
			}
		}
	})
}

// A session of revision 3 on the wire: payloads of either kind in both
// directions, and the ways to end.
func TestRevision3(t *testing.T) {
	open := func(d *door, query string) *request {
		d.revision = transports.Revision3
		r := d.dial().put(strings.Replace(head("GET", ""), " HTTP/1.1", query+" HTTP/1.1", 1))
		r.want(200, "3:0{}")
		d.waitParked(d.t)
		return r
	}
	t.Run("binary", func(t *testing.T) {
		eachDoor(t, Options{}, func(t *testing.T, d *door) {
			open(d, "")
			poll := d.park()
			if err := d.send(text("h€"), binary("\x01\x02\x03")); err != nil {
				t.Fatal(err)
			}
			fields := poll.want(200, "\x00\x05\xff4h€\x01\x04\xff\x04\x01\x02\x03")
			if got := fields.Get("Content-Type"); got != "application/octet-stream" {
				t.Errorf("Content-Type %q", got)
			}
			poll = d.park()
			if err := d.send(text("only text")); err != nil {
				t.Fatal(err)
			}
			if got := poll.want(200, "10:4only text").Get("Content-Type"); got != "text/plain; charset=UTF-8" {
				t.Errorf("Content-Type %q", got)
			}
			d.post("\x00\x02\xff4a\x01\x03\xff\x04\x01\x02", "Content-Type: application/octet-stream").want(200, "ok")
			d.wantReceived(t, "4a", "b0102")
			d.post("2:4a6:b4AQID", "Content-Type: text/plain;charset=UTF-8").want(200, "ok")
			d.wantReceived(t, "4a", "b010203")
			poll = d.park()
			d.post("1:1").want(200, "ok")
			poll.want(200, "1:6")
			d.wantClosed(t, "transport close", nil)
		})
	})
	t.Run("base64", func(t *testing.T) {
		eachDoor(t, Options{}, func(t *testing.T, d *door) {
			open(d, "&b64=1")
			poll := d.park()
			if err := d.send(binary("\x01\x02\x03")); err != nil {
				t.Fatal(err)
			}
			poll.want(200, "6:b4AQID")
			poll = d.park()
			d.post("zz").want(400, "")
			poll.want(200, "1:1")
			d.wantClosed(t, "parse error: packet at byte 0 of the payload: malformed packet: no length at byte 0", transports.ErrMalformed)
		})
	})
	t.Run("too many packets", func(t *testing.T) {
		eachDoor(t, Options{MaxPackets: 2}, func(t *testing.T, d *door) {
			open(d, "")
			d.post("2:412:422:43").want(400, "")
			d.wantReceived(t, "41", "42")
			d.wantClosed(t, "parse error: malformed packet: too many packets in a payload: the limit is 2", transports.ErrTooManyPackets)
		})
	})
}

func BenchmarkAppendPayload3(b *testing.B) {
	for _, withBinary := range []bool{false, true} {
		b.Run(fmt.Sprint("binary ", withBinary), func(b *testing.B) {
			packets := batch(withBinary)
			var dst []byte
			for b.Loop() {
				dst, _ = AppendPayload3(dst[:0], packets, true)
			}
			if bytes.Equal(dst, nil) {
				b.Fatal("nothing was written")
			}
		})
	}
}
