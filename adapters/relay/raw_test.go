package relay_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A response is what a request without a client of ours was answered with.
type response struct {
	status int
	body   string
	header http.Header
}

const unknownSession = `{"code":1,"message":"Session ID unknown"}`

func do(ctx context.Context, method, url, body string, fields ...string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, string(all), resp.Header}, err
}

func tryGet(ctx context.Context, url string) (response, error) { return do(ctx, "GET", url, "") }

func get(t testing.TB, url string, fields ...string) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := do(ctx, "GET", url, "", fields...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func post(t testing.TB, url, body string, fields ...string) response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := do(ctx, "POST", url, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// pollURL is where a session polls at a server.
func pollURL(base, sid string) string { return base + "/socket.io/?EIO=4&transport=polling&sid=" + sid }

// openSession opens a session and connects it to the main namespace.
func openSession(t testing.TB, n *node) (sid string) {
	t.Helper()
	answer := get(t, n.base+"/socket.io/?EIO=4&transport=polling")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(answer.body, "0")), &open); err != nil {
		t.Fatalf("%+v: %v", answer, err)
	}
	if answer := post(t, pollURL(n.base, open.SID), "40"); answer.status != 200 {
		t.Fatalf("%+v", answer)
	}
	if answer := get(t, pollURL(n.base, open.SID)); !strings.HasPrefix(answer.body, "40") {
		t.Fatalf("%+v", answer)
	}
	return open.SID
}

// dialWebSocket sends an upgrade request for a session and returns the connection
// after the 101.
func dialWebSocket(t testing.TB, base, sid string, fields ...string) net.Conn {
	t.Helper()
	conn, status := tryWebSocket(t, base, sid, fields...)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	return conn
}

func tryWebSocket(t testing.TB, base, sid string, fields ...string) (conn net.Conn, status int) {
	t.Helper()
	u, _ := url.Parse(base)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	var head strings.Builder
	head.WriteString("GET /socket.io/?EIO=4&transport=websocket&sid=" + sid + " HTTP/1.1\r\nHost: " + u.Host +
		"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
	for i := 0; i < len(fields); i += 2 {
		head.WriteString(fields[i] + ": " + fields[i+1] + "\r\n")
	}
	if _, err := io.WriteString(conn, head.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // an upgrade has none; a refusal's is not looked at
	return buffered{conn, r}, resp.StatusCode
}

// buffered is a connection of which something has been read already.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }
