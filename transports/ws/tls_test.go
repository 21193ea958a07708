package ws

import (
	"crypto/tls"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// tlsPair is a TLS connection, on which every write may block.
func tlsPair(t testing.TB) (server, peer net.Conn) {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS() // for its certificate
	certificates := certified.TLS.Certificates
	certified.Close()
	server, peer = tcp(t)
	tlsServer := tls.Server(server, &tls.Config{Certificates: certificates})
	tlsPeer := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- tlsServer.Handshake() }()
	if err := tlsPeer.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, "handshake", done); err != nil {
		t.Fatal(err)
	}
	return tlsServer, tlsPeer
}

func TestTLS(t *testing.T) {
	l := open(t, setup{dial: tlsPair})
	l.readHead(t)
	wait(t, "Ready", l.readied)
	l.put(t, frame(textFrame, "4hello"), frame(0x89, "ping"))
	l.want(t, pongFrame, "ping")
	if got := describe(wait(t, "packet", l.received)); got != describe(text("hello")) {
		t.Error("received", got)
	}
	// More than fits anywhere, to a peer that does not read yet: Send does
	// not wait for it.
	if l.send(t, binaryPacket(strings.Repeat("x", clogSize)), text("end")) {
		t.Error("ready at once")
	}
	if first, payload, err := l.read(); first != binaryFrame || len(payload) != clogSize {
		t.Fatalf("frame %x of %d bytes, %v", first, len(payload), err)
	}
	l.want(t, textFrame, "4end")
	wait(t, "Ready", l.readied)
	l.conn.Close(&transports.CloseError{Reason: transports.ForcedClose})
	l.want(t, closeFrame, "")
	l.put(t, frame(closeFrame, ""))
	l.wantEOF(t)
}

func TestTLSProtocolError(t *testing.T) {
	l := open(t, setup{dial: tlsPair})
	l.readHead(t)
	l.put(t, hostileFrame())
	l.want(t, closeFrame, "\x03\xea")
	l.wantEOF(t)
	l.wantClosed(t, transports.TransportError, nil)
}
