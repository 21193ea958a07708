package client_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

const (
	goodOpen = `0{"sid":"x","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`
	goodJoin = `40{"sid":"me","pid":"secret"}`
)

// A rogue is a server that sends what it likes.
type rogue struct {
	how   byte
	data  []byte
	polls atomic.Int64 // over all connections: the client polls one at a time

	asked func()        // says that the client has asked to join
	join  chan struct{} // closed by asked
}

func newRogue(how byte, data []byte) *rogue {
	r := &rogue{how: how, data: data, join: make(chan struct{})}
	r.asked = sync.OnceFunc(func() { close(r.join) })
	return r
}

// The ways in which a rogue misbehaves.
const (
	rawHTTP     = iota // the data is all there is on the connection
	openBody           // the data is the body of the first response
	pollBody           // and that of the second
	joinedBody         // that of the third, after the namespace was joined
	rawFrames          // the data follows the 101 and the handshake
	textFrame          // the data is a message of a client that has joined
	binaryFrame        // the same
	badUpgrade         // the data follows the 101 of an upgrade
	rogueWays
)

// serve answers the requests that come over a connection.
func (r *rogue) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		upgrade := request.Header.Get("Upgrade") != ""
		switch {
		case r.how == rawHTTP:
			_, _ = conn.Write(r.data)
			return
		case upgrade:
			_, _ = conn.Write(switching(request))
			if r.how != badUpgrade {
				_, _ = conn.Write(frame(0x81, []byte(goodOpen)))
			}
			if r.how == textFrame || r.how == binaryFrame {
				_, _ = in.ReadByte()
			}
			go func() { _, _ = io.Copy(io.Discard, in) }()
			switch r.how {
			case textFrame, binaryFrame:
				_, _ = conn.Write(frame(0x81, []byte(goodJoin)))
				_, _ = conn.Write(frame(0x81+r.how-textFrame, r.data))
			default:
				_, _ = conn.Write(r.data)
			}
			return
		case request.Method == http.MethodPost:
			r.asked()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			continue
		}
		polls := r.polls.Add(1)
		body := []byte(goodOpen)
		switch {
		case r.how == openBody && polls == 1, r.how == pollBody && polls == 2, r.how == joinedBody && polls == 3:
			body = r.data
		case polls == 2:
			select {
			case <-r.join:
			case <-time.After(time.Second): // it may be on its way out
			}
			body = []byte(goodJoin)
		case polls > 2:
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// switching is the answer to a WebSocket handshake.
func switching(request *http.Request) []byte {
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
}

func frame(first byte, payload []byte) []byte {
	b := []byte{first, 127}
	b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	return append(b, payload...)
}

// FuzzServer has a client meet a server that sends anything. It must come out
// of it disconnected and whole.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"", goodOpen, goodJoin, goodOpen + "\x1e" + goodJoin, `42["a",{"b":[1]}]`, `4520-["a"]`, "4511-[\"a\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID",
		`2["a"]`, `12["a"]`, `44{"message":"no"}`, `44"no"`, `44[]`, `41`, `430[]`, `43999[1]`, "2", "2probe", "1", "6", "5", "0", "0{}", `0{"sid":"x","pingInterval":1e99}`,
		`0{"sid":"x","pingInterval":9223372036854775807,"pingTimeout":9223372036854775807,"upgrades":null}`,
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "\x88\x02\x03\xe8", "\x88\x01\x03", "\x89\x00", "\x81\x066probe", "\x81\x063probe\x81\x0242", "\xc1\x01x",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2", "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP/1.1 400 \r\n\r\n{\"code\":1}",
		"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1x\xa3nsp\xa1/", "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a",
	} {
		for how := range byte(rogueWays) {
			f.Add(how, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, how byte, data []byte) {
		r := newRogue(how%rogueWays, data)
		o := client.Options{
			Transports:         []string{client.Polling},
			FirstTransportOnly: true,
			MaxMessageBytes:    1 << 16,
			MaxQueuedBytes:     1 << 16,
			Timeout:            patience,
			Reconnection:       client.Reconnection{Disabled: true},
		}
		switch {
		case r.how == rawFrames, r.how == textFrame, r.how == binaryFrame, r.how == rawHTTP && how >= 128:
			o.Transports[0] = client.WebSocket
		case r.how == badUpgrade:
			o.Transports = append(o.Transports, client.WebSocket)
		}
		if how >= 64 {
			o.Codec = codec.MsgPack(codec.MsgPackOptions{})
		}
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go r.serve(theirs)
			return ours, nil
		}}
		defer transport.CloseIdleConnections()
		o.HTTPClient = &http.Client{Transport: transport}
		c := newClient(t, memory, o)
		over := make(chan struct{})
		c.OnState(func(_ context.Context, change client.StateChange) {
			if change.State == client.Disconnected && c.State() == client.Disconnected {
				select {
				case <-over:
				default:
					close(over)
				}
			}
		})
		c.OnAny(func(_ context.Context, _ string, args codec.Args) {
			var values [4]any
			_ = args.Bind(&values[0], &values[1], &values[2], &values[3])
		})
		client.On(c, "a", func(context.Context, map[string]any) (event.None, error) { return event.None{}, nil })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		called := make(chan error, 1)
		go func() { called <- c.Call(ctx, "question", nil, new(any)) }()
		_ = c.Connect(ctx)
		if c.State() != client.Disconnected {
			select {
			case <-over:
			case <-time.After(patience):
				t.Fatalf("state %s", c.State())
			}
		}
		_ = c.Close()
		if err := <-called; err == nil {
			t.Log("the question was answered")
		}
	})
}
