package polling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
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
		"fasthttp streaming": func(t testing.TB, host *transporttest.Host) string {
			return listenFast(t, host, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, transporttest.Config{
				Transport:         polling.New(polling.Options{}),
				OversizeSurvives:  true, // A2
				VanishesUnnoticed: true, // A14: by the transport
				Background:        []string{"github.com/valyala/fasthttp.updateServerDate.func1"},
				Start: func(t testing.TB, host *transporttest.Host) transporttest.Dial {
					addr := listen(t, host)
					return func(early ...transports.Packet) (transporttest.Client, error) {
						return dialPolling(addr, early)
					}
				},
			})
		})
	}
}

// listenFast runs a fasthttp server in front of host.
func listenFast(t testing.TB, host *transporttest.Host, streaming bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{
		Handler:            func(ctx *fasthttp.RequestCtx) { host.Serve(exchange.FastHTTP(ctx, false)) },
		StreamRequestBody:  streaming,
		MaxRequestBodySize: 64 << 20,
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

// A pollingClient is the suite's client. It polls only when it is asked for a
// packet.
type pollingClient struct {
	http  *http.Client
	url   string
	life  context.Context // ends when the client vanishes
	leave context.CancelFunc

	posting sync.Mutex // held during a POST: there may be one at a time

	// Owned by the goroutine that receives.
	polled []transports.Packet
	over   bool // the server has said goodbye
}

func dialPolling(addr string, early []transports.Packet) (transporttest.Client, error) {
	life, leave := context.WithCancel(context.Background())
	c := &pollingClient{
		http:  &http.Client{Transport: &http.Transport{}},
		url:   "http://" + addr + "/engine.io/?EIO=4&transport=polling",
		life:  life,
		leave: leave,
	}
	if err := c.open(); err != nil {
		c.Vanish()
		return nil, err
	}
	if len(early) > 0 {
		if err := c.Send(early...); err != nil {
			c.Vanish()
			return nil, err
		}
	}
	return c, nil
}

// open makes the handshake.
func (c *pollingClient) open() error {
	if err := c.poll(c.life); err != nil {
		return err
	}
	if len(c.polled) == 0 || c.polled[0].Type != transports.Open {
		return fmt.Errorf("the handshake is answered by %d packets and no open", len(c.polled))
	}
	var open struct{ SID string }
	if err := json.Unmarshal(c.polled[0].Data, &open); err != nil {
		return err
	}
	c.url += "&sid=" + open.SID
	return nil
}

// poll makes one GET and keeps what it brings.
func (c *pollingClient) poll(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodGet, nil)
	if err != nil {
		return err
	}
	for p, err := range polling.Split(body) {
		if err != nil {
			return err
		}
		if p.Type == transports.Close {
			c.over = true
			break
		}
		p.Data = bytes.Clone(p.Data)
		c.polled = append(c.polled, p)
	}
	return nil
}

func (c *pollingClient) Receive(ctx context.Context) (transports.Packet, error) {
	for len(c.polled) == 0 {
		if c.over {
			return transports.Packet{}, io.EOF
		}
		ctx, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(c.life, cancel)
		err := c.poll(ctx)
		stop()
		cancel()
		if err != nil {
			return transports.Packet{}, err
		}
	}
	p := c.polled[0]
	c.polled = c.polled[1:]
	return p, nil
}

func (c *pollingClient) Send(batch ...transports.Packet) error {
	c.posting.Lock()
	defer c.posting.Unlock()
	body, err := c.do(c.life, http.MethodPost, polling.AppendPayload(nil, batch))
	if err == nil && string(body) != "ok" {
		err = fmt.Errorf("a POST is answered by %q", body)
	}
	return err
}

func (c *pollingClient) Close() error { return c.Send(transports.Packet{Type: transports.Close}) }

func (c *pollingClient) Vanish() {
	c.leave()
	c.http.CloseIdleConnections()
}

func (c *pollingClient) do(ctx context.Context, method string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered by %s %s", method, res.Status, answer)
	}
	return answer, err
}
