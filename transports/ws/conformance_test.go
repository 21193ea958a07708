package ws

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/transporttest"
)

func TestConformance(t *testing.T) {
	for name, listen := range map[string]func(testing.TB, *transporttest.Host) string{
		"net/http": func(t testing.TB, host *transporttest.Host) string {
			return transporttest.ListenHTTP(t, host.Serve)
		},
		"fasthttp": func(t testing.TB, host *transporttest.Host) string {
			return listenFast(t, host, false)
		},
		"fasthttp, kept": func(t testing.TB, host *transporttest.Host) string {
			return listenFast(t, host, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Config{
				Transport:  New(Options{}),
				Background: []string{"github.com/valyala/fasthttp.updateServerDate.func1"},
				Start: func(t testing.TB, host *transporttest.Host) transporttest.Dial {
					addr := listen(t, host)
					return func(early ...transports.Packet) (transporttest.Client, error) {
						return dialConforming(addr, early)
					}
				},
			})
		})
	}
}

// listenFast runs a fasthttp server in front of host.
func listenFast(t testing.TB, host *transporttest.Host, kept bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{
		Handler:           func(ctx *fasthttp.RequestCtx) { host.Serve(exchange.FastHTTP(ctx, kept)) },
		KeepHijackedConns: kept,
	}
	var serving sync.WaitGroup
	serving.Go(func() { // Serve would leave a goroutine behind for a while
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = server.ServeConn(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// A conforming client is the suite's.
type conforming struct {
	*client
	writing sync.Mutex // held while frames are written
}

// dialConforming sends the early packets in the same write as the request.
func dialConforming(addr string, early []transports.Packet) (transporttest.Client, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conforming{client: newClient(conn)}
	request := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: example.org\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := conn.Write(append([]byte(request), framesOf(early)...)); err != nil {
		c.Vanish()
		return nil, err
	}
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.Vanish()
		return nil, err
	}
	defer res.Body.Close() // a 101 has none
	if res.StatusCode != http.StatusSwitchingProtocols {
		c.Vanish()
		return nil, fmt.Errorf("the handshake is answered by %s", res.Status)
	}
	return c, nil
}

func framesOf(batch []transports.Packet) []byte {
	var frames [][]byte
	for _, p := range batch {
		if p.Binary {
			frames = append(frames, frame(binaryFrame, string(p.Data)))
		} else {
			frames = append(frames, frame(textFrame, string(p.AppendText(nil))))
		}
	}
	return slices.Concat(frames...)
}

func (c *conforming) Send(batch ...transports.Packet) error { return c.write(framesOf(batch)) }

func (c *conforming) write(frames []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.Write(frames)
	return err
}

func (c *conforming) Receive(ctx context.Context) (transports.Packet, error) {
	stop := context.AfterFunc(ctx, c.Vanish)
	defer stop()
	first, payload, err := c.read()
	switch {
	case err != nil:
		return transports.Packet{}, err
	case first == binaryFrame:
		return transports.Packet{Type: transports.Message, Binary: true, Data: payload}, nil
	case first == textFrame:
		return transports.ParseText(payload)
	case first == closeFrame:
		_ = c.client.Close() // a client that has closed itself would do so too
		return transports.Packet{}, io.EOF
	}
	return transports.Packet{}, fmt.Errorf("frame %x", first)
}

func (c *conforming) Close() error { return c.write(frame(closeFrame, "")) }

func (c *conforming) Vanish() { _ = c.client.Close() }
