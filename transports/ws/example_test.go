package ws_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// Sessions open on polling and move to WebSocket when they can. A server with
// ws.New alone takes clients that start with WebSocket, and needs no sticky
// sessions.
func ExampleNew() {
	srv, err := core.New(core.Options{Transports: []transports.Transport{
		polling.New(polling.Options{}),
		ws.New(ws.Options{
			WriteTimeout: 5 * time.Second,
			Compression:  ws.Compression{Enabled: true, Threshold: 4096},
		}),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	site := httptest.NewServer(srv)
	defer site.Close()
	response, err := http.Get(site.URL + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		fmt.Println(err)
		return
	}
	open, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	fmt.Println(strings.Contains(string(open), `"upgrades":["websocket"]`))

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody polls any more
	_ = srv.Shutdown(ctx)
	http.DefaultClient.CloseIdleConnections()
	// Output: true
}
