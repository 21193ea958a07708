package eventstream_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/examples/sse/eventstream"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, transporttest.Config{
		Transport:        eventstream.New(),
		OversizeSurvives: true, // a POST that is too large is refused, as polling's is
		Start: func(t testing.TB, host *transporttest.Host) transporttest.Dial {
			addr := transporttest.ListenHTTP(t, host.Serve)
			return func(early ...transports.Packet) (transporttest.Client, error) { return dial(addr, early) }
		},
	})
}

// A client does what the page does: an EventSource, and one POST at a time.
type client struct {
	http   *http.Client
	url    string
	life   context.Context // ends when the client vanishes
	leave  context.CancelFunc
	stream io.ReadCloser
	lines  *bufio.Reader
	open   []transports.Packet // until it is asked for
}

func dial(addr string, early []transports.Packet) (*client, error) {
	life, leave := context.WithCancel(context.Background())
	c := &client{
		http: &http.Client{Transport: new(http.Transport)},
		url:  "http://" + addr + "/socket.io/?EIO=4&transport=sse",
		life: life, leave: leave, stream: http.NoBody,
	}
	err := c.connect()
	if err == nil {
		err = c.Send(early...)
	}
	if err != nil {
		c.Vanish()
		return nil, err
	}
	return c, nil
}

// connect opens the stream and waits for the name of the session.
func (c *client) connect() error {
	res, err := c.do(http.MethodGet, "", nil) //nolint:bodyclose // it is the stream, which Vanish closes
	if err != nil {
		return err
	}
	c.stream, c.lines = res.Body, bufio.NewReaderSize(res.Body, 16)
	p, err := c.next()
	if err != nil {
		return err
	}
	var open struct{ SID string }
	if err := json.Unmarshal(p.Data, &open); err != nil {
		return err
	}
	c.url += "&sid=" + open.SID
	c.open = append(c.open, p)
	return nil
}

func (c *client) Send(batch ...transports.Packet) error {
	for _, p := range batch {
		kind, body := "text/plain", p.AppendText(nil)
		if p.Binary {
			kind, body = "application/octet-stream", p.Data
		}
		res, err := c.do(http.MethodPost, kind, body)
		if err != nil {
			return err
		}
		_ = res.Body.Close() // it is empty
	}
	return nil
}

func (c *client) do(method, kind string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.life, method, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	res, err := c.http.Do(req)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s is answered by %s", method, res.Status)
		_ = res.Body.Close()
	}
	return res, err
}

func (c *client) Receive(ctx context.Context) (transports.Packet, error) {
	if len(c.open) > 0 {
		p := c.open[0]
		c.open = nil
		return p, nil
	}
	defer context.AfterFunc(ctx, c.leave)()
	p, err := c.next()
	if err == nil && p.Type == transports.Close {
		err = io.EOF
	}
	return p, err
}

// next reads one event.
func (c *client) next() (transports.Packet, error) {
	var binary bool
	var data string
	for {
		line, err := c.lines.ReadString('\n')
		if err != nil {
			return transports.Packet{}, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			binary = value == "binary"
		case "data":
			data = value
		case "":
			if binary {
				bytes, err := base64.StdEncoding.DecodeString(data)
				return transports.Packet{Type: transports.Message, Binary: true, Data: bytes}, err
			}
			var text string
			if err := json.Unmarshal([]byte(data), &text); err != nil {
				return transports.Packet{}, err
			}
			return transports.ParseText([]byte(text))
		}
	}
}

func (c *client) Close() error { return c.Send(transports.Packet{Type: transports.Close}) }

func (c *client) Vanish() {
	c.leave()
	_ = c.stream.Close()
	c.http.CloseIdleConnections()
}
