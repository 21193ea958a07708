package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(
		m,
		// fasthttp keeps the current date up to date from its first answer on,
		// and sweeps a stopped server's workers some seconds later.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// Both HTTP stacks carry the transport: net/http with the page beside it, and
// the server's own door.
func TestWall(t *testing.T) {
	for name, listen := range map[string]func(t *testing.T, srv *core.Server) (url string){
		"net/http": func(t *testing.T, srv *core.Server) string {
			front := httptest.NewServer(routes(srv))
			t.Cleanup(front.Close)
			return front.URL
		},
		"ListenAndServe": func(t *testing.T, srv *core.Server) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = srv.ServeListener(listener) }() // until Shutdown
			return "http://" + listener.Addr().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := newServer()
			if err != nil {
				t.Fatal(err)
			}
			url := listen(t, srv)
			t.Cleanup(func() {
				http.DefaultClient.CloseIdleConnections()
				if err := srv.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			})
			ann, ben := open(t, url), open(t, url)
			ann.posts(t, `420["write","Hi"]`)
			ben.receives(t, `42["written","Hi"]`)
			ann.receives(t, `42["written","Hi"]`)
			ann.receives(t, `430[2]`)
			ben.posts(t, `420["write",""]`)
			ben.receives(t, `430[{"error":{"code":"bad_text","message":"Write 1 to 200 characters, not 0."}}]`)
			ann.posts(t, "1")
			if _, err := ann.events.ReadString('\n'); err != io.EOF {
				t.Errorf("after its goodbye the client reads: %v", err)
			}
		})
	}
}

// A page looks at the bare packets.
type page struct {
	url    string
	events *bufio.Reader
}

func open(t *testing.T, url string) *page {
	t.Helper()
	p := &page{url: url + "/socket.io/?EIO=4&transport=sse"}
	res, err := http.Get(p.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	p.events = bufio.NewReader(res.Body)
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(p.next(t), "0")), &open); err != nil {
		t.Fatal(err)
	}
	p.url += "&sid=" + open.SID
	p.posts(t, "40")
	if got := p.next(t); !strings.HasPrefix(got, `40{"sid":`) {
		t.Fatalf("connecting is answered by %s", got)
	}
	return p
}

func (p *page) posts(t *testing.T, packet string) {
	t.Helper()
	res, err := http.Post(p.url, "text/plain", strings.NewReader(packet))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("POST %s: %s", packet, res.Status)
	}
}

// next reads the packet of one event.
func (p *page) next(t *testing.T) (packet string) {
	t.Helper()
	line, err := p.events.ReadString('\n')
	if err == nil {
		_, err = p.events.ReadString('\n') // the empty line that ends the event
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &packet); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return packet
}

func (p *page) receives(t *testing.T, want string) {
	t.Helper()
	if got := p.next(t); got != want {
		t.Fatalf("received %s, want %s", got, want)
	}
}
