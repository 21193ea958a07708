package ws

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

func TestMask(t *testing.T) {
	for n := range 40 {
		data := bytes.Repeat([]byte{0xa5, 1, 2}, 20)[:n]
		const key = 0x44332211
		want := make([]byte, n)
		for i := range data {
			want[i] = data[i] ^ []byte{0x11, 0x22, 0x33, 0x44}[i%4]
		}
		masked := bytes.Clone(data)
		if mask(masked, key); !bytes.Equal(masked, want) {
			t.Errorf("%d bytes: %x, want %x", n, masked, want)
		}
	}
	for _, code := range []uint16{codeNone, codeNormal, codeTooLarge} {
		for _, masked := range []bool{false, true} {
			frame := appendClose(nil, code, masked)
			if got := closeCodeOf(frame, masked); got != code || frame[1]&maskBit != 0 != masked {
				t.Errorf("close %d, masked %v: %x has %d", code, masked, frame, got)
			}
		}
	}
}

// A server that answers the handshake with something else is told apart.
func TestDialRefused(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, key string){
		"status": func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusTeapot) },
		"accept": func(w http.ResponseWriter, _ string) { switchTo(w, "websocket", "Upgrade", "nonsense") },
		"upgrade": func(w http.ResponseWriter, key string) {
			switchTo(w, "h2c", "Upgrade", acceptKey(key))
		},
		"connection": func(w http.ResponseWriter, key string) { switchTo(w, "websocket", "close", acceptKey(key)) },
	} {
		t.Run(name, func(t *testing.T) {
			host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer(w, r.Header.Get("Sec-WebSocket-Key"))
			}))
			defer host.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, host.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			_, resp, err := NewDialer(Options{}).Dial(host.Client(), r)
			if !errors.Is(err, ErrNotSwitched) {
				t.Fatalf("Dial: %v", err)
			}
			_ = resp.Body.Close()
		})
	}
}

func switchTo(w http.ResponseWriter, protocol, connection, accept string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: %s\r\nSec-WebSocket-Accept: %s\r\n\r\n", protocol, connection, accept)
}

// A heard sink keeps what it receives.
type heardSink struct {
	ready    func()
	received chan string
	closed   chan error
}

func (s *heardSink) Ready() { s.ready() }
func (s *heardSink) Receive(p transports.Packet) error {
	s.received <- p.Type.String() + " " + string(p.Data)
	return nil
}
func (s *heardSink) Closed(cause error) { s.closed <- cause }

// What comes right behind the 101 is not lost, and what the client sends is
// masked.
func TestDialed(t *testing.T) {
	raw := make(chan []byte, 1)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		answer := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			acceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n")
		for n := range 3 {
			p := transports.Packet{Type: transports.Message, Data: []byte(strings.Repeat("early", 1000*n))}
			answer = appendFrame(answer, &p, revision4)
		}
		_, _ = conn.Write(answer)
		sent := make([]byte, 2+4+3)
		_, err = io.ReadFull(in, sent)
		if err != nil {
			t.Error(err)
		}
		raw <- sent
		_, _ = conn.Write(appendClose(nil, codeNormal, false))
		_, _ = io.Copy(io.Discard, in)
	}))
	defer host.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, host.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	dialed, resp, err := NewDialer(Options{}).Dial(host.Client(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // it is the connection
	sink := &heardSink{received: make(chan string, 4), closed: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		dialed.Serve(1<<20, func(c transports.Conn) (transports.Sink, error) {
			sink.ready = func() { _, _ = c.Send([]transports.Packet{{Type: transports.Message, Data: []byte("hi")}}) }
			return sink, nil
		})
	}()
	for n := range 3 {
		if got := <-sink.received; got != "message "+strings.Repeat("early", 1000*n) {
			t.Errorf("received %.20q", got)
		}
	}
	sent := <-raw
	if sent[0] != textFrame || sent[1] != maskBit|3 {
		t.Errorf("sent %x", sent)
	}
	mask(sent[6:], uint32(sent[2])|uint32(sent[3])<<8|uint32(sent[4])<<16|uint32(sent[5])<<24)
	if string(sent[6:]) != "4hi" {
		t.Errorf("sent %q", sent[6:])
	}
	if cause := transports.AsCloseError(<-sink.closed); cause.Reason != transports.TransportClose {
		t.Errorf("closed: %v", cause)
	}
	<-done
}
