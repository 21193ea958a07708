package routers

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A client speaks Engine.IO and Socket.IO as bare text, so that the test sees
// what goes over the wire.
type client struct {
	t       *testing.T
	http    *http.Client
	addr    string
	session string
	ws      *websocket.Conn
	unread  []string // packets of a poll that nobody has asked for yet
}

func newClient(t *testing.T, addr string) *client {
	return &client{t: t, http: &http.Client{Transport: new(http.Transport)}, addr: addr}
}

func (c *client) close() {
	if c.ws != nil {
		_ = c.ws.CloseNow() // the server has ended the session by now
	}
	c.http.CloseIdleConnections()
}

// do sends a request and returns the body of its answer, which must be a 200.
func (c *client) do(ctx context.Context, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &statusError{res.Status, string(answer)}
	}
	return string(answer), err
}

type statusError struct{ status, body string }

func (e *statusError) Error() string { return e.status + ": " + e.body }

func (c *client) path(transport string) string {
	path := "/socket.io/?EIO=4&transport=" + transport
	if c.session != "" {
		path += "&sid=" + c.session
	}
	return path
}

func (c *client) poll(ctx context.Context) ([]string, error) {
	body, err := c.do(ctx, http.MethodGet, c.path("polling"), "")
	return strings.Split(body, "\x1e"), err
}

func (c *client) post(ctx context.Context, packet string) {
	c.t.Helper()
	if answer, err := c.do(ctx, http.MethodPost, c.path("polling"), packet); err != nil || answer != "ok" {
		c.t.Fatalf("POST %s: %q, %v", packet, answer, err)
	}
}

// polled returns the next packet, polling for it if there is none.
func (c *client) polled(ctx context.Context) string {
	c.t.Helper()
	for len(c.unread) == 0 {
		packets, err := c.poll(ctx)
		if err != nil {
			c.t.Fatalf("poll: %v", err)
		}
		c.unread = packets
	}
	packet := c.unread[0]
	c.unread = c.unread[1:]
	return packet
}

// opens makes a session and connects to the main namespace.
func (c *client) opens(ctx context.Context) {
	c.t.Helper()
	packets, err := c.poll(ctx)
	if err != nil || len(packets) != 1 || !strings.HasPrefix(packets[0], "0{") {
		c.t.Fatalf("handshake: %q, %v", packets, err)
	}
	var open struct {
		SID      string   `json:"sid"`
		Upgrades []string `json:"upgrades"`
	}
	if err := json.Unmarshal([]byte(packets[0][1:]), &open); err != nil {
		c.t.Fatal(err)
	}
	if !slices.Equal(open.Upgrades, []string{"websocket"}) {
		c.t.Errorf("upgrades = %q", open.Upgrades)
	}
	c.session = open.SID
	c.post(ctx, "40")
	if p := c.polled(ctx); !strings.HasPrefix(p, `40{"sid":"`) {
		c.t.Fatalf("connect was answered with %s", p)
	}
}

// talksOnPolling sends an event, and receives an event and an answer.
func (c *client) talksOnPolling(ctx context.Context) {
	c.t.Helper()
	c.post(ctx, `420["echo","on polling"]`)
	for _, want := range []string{`42["echoed","on polling"]`, `430["on polling"]`} {
		if got := c.polled(ctx); got != want {
			c.t.Errorf("polled %s, want %s", got, want)
		}
	}
}

// movesUp probes WebSocket while a poll is parked, and commits to it when the
// poll has been let go.
func (c *client) movesUp(ctx context.Context) {
	c.t.Helper()
	type result struct {
		packets []string
		err     error
	}
	parked := make(chan result, 1)
	go func() {
		packets, err := c.poll(ctx)
		parked <- result{packets, err}
	}()
	conn, res, err := websocket.Dial(ctx, "ws://"+c.addr+c.path("websocket"), &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		c.t.Fatalf("dial: %v", err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	c.ws = conn
	c.sends(ctx, "2probe")
	c.receives(ctx, "3probe")
	if r := <-parked; r.err != nil || !slices.Equal(r.packets, []string{"6"}) {
		c.t.Errorf("the parked poll got %q, %v, want a noop", r.packets, r.err)
	}
	c.sends(ctx, "5")
}

// talksOnWebSocket is talksOnPolling after the move.
func (c *client) talksOnWebSocket(ctx context.Context) {
	c.t.Helper()
	c.sends(ctx, `421["echo","on websocket"]`)
	c.receives(ctx, `42["echoed","on websocket"]`)
	c.receives(ctx, `431["on websocket"]`)
}

func (c *client) sends(ctx context.Context, packet string) {
	c.t.Helper()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(packet)); err != nil {
		c.t.Fatalf("send %s: %v", packet, err)
	}
}

func (c *client) receives(ctx context.Context, want string) {
	c.t.Helper()
	kind, got, err := c.ws.Read(ctx)
	if err != nil || kind != websocket.MessageText || string(got) != want {
		c.t.Fatalf("received %s (%v), %v, want %s", got, kind, err, want)
	}
}

// endsWithTheServer reads on until the connection ends, which it must do by
// itself.
func (c *client) endsWithTheServer(ctx context.Context) {
	c.t.Helper()
	for {
		if _, _, err := c.ws.Read(ctx); err != nil {
			if ctx.Err() != nil {
				c.t.Errorf("the connection outlives the server: %v", err)
			}
			return
		}
	}
}

// hello asks for the route beside the server's.
func (c *client) hello(ctx context.Context) {
	c.t.Helper()
	if got, err := c.do(ctx, http.MethodGet, "/hello", ""); err != nil || got != "hello" {
		c.t.Errorf("GET /hello: %q, %v", got, err)
	}
}
