package ws

import (
	"errors"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// Revision 3 writes the type in front of binary data too, and a packet that is
// shared has a frame for each dialect.
func TestRevision3Send(t *testing.T) {
	p := binaryPacket("\x01\x02\x03")
	p.Shared = new(transports.Shared)
	for _, test := range []struct {
		rev   int
		query string
		first byte
		want  string
	}{
		{transports.Revision4, "", binaryFrame, "\x01\x02\x03"},
		{transports.Revision3, "", binaryFrame, "\x04\x01\x02\x03"},
		{transports.Revision4, "&b64=1", textFrame, "bAQID"},
		{transports.Revision3, "&b64=1", textFrame, "b4AQID"},
	} {
		for _, deflated := range []bool{false, true} {
			l := connect(t, setup{rev: test.rev, options: Options{Compression: Compression{Enabled: deflated}}, request: func(r *request) {
				r.query += test.query
				if deflated {
					*r = *r.with("Sec-WebSocket-Extensions", "permessage-deflate")
				}
			}})
			for _, packet := range []transports.Packet{p, binaryPacket("\x01\x02\x03")} {
				if !l.send(t, packet) {
					t.Error("not ready")
				}
				l.want(t, test.first, test.want)
			}
			l.send(t, text("text"))
			l.want(t, textFrame, "4text")
		}
	}
}

func TestRevision3Receive(t *testing.T) {
	l := connect(t, setup{rev: transports.Revision3})
	for _, test := range []struct {
		frame []byte
		want  transports.Packet
	}{
		{frame(binaryFrame, "\x04\x00\xff"), binaryPacket("\x00\xff")},
		{frame(binaryFrame, "\x04"), binaryPacket("")},
		{frame(textFrame, "b4AQI="), binaryPacket("\x01\x02")},
		{frame(textFrame, "4text"), text("text")},
		{frame(textFrame, "2probe"), transports.Packet{Type: transports.Ping, Data: []byte("probe")}},
	} {
		l.put(t, frame(binaryFrame, "\x07ignored"), frame(binaryFrame, "4ignored"), test.frame)
		if got := describe(wait(t, "packet", l.received)); got != describe(test.want) {
			t.Errorf("received %s, want %s", got, describe(test.want))
		}
	}
	for name, bad := range map[string][]byte{
		"empty binary": frame(binaryFrame, ""), "empty base64": frame(textFrame, "b"), "bad base64": frame(textFrame, "b4*"),
	} {
		l := connect(t, setup{rev: transports.Revision3})
		l.put(t, bad)
		if err := wait(t, "end", l.closed); !errors.Is(err, transports.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
