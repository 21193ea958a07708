// Command sse serves a page whose client is thirty lines of its own, on a
// transport that is two hundred: server-sent events down, POST up. For networks
// that let nothing else through, and as the example of writing a transport.
//
//	go run ./examples/sse       # prints the address; open it in two windows
//
// Package eventstream is the transport, and its test the conformance suite that
// polling and WebSocket pass. web/client.js is the client. The server is as with
// any other transport: it does not know what carries its events.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"unicode/utf8"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/examples/sse/eventstream"
	"github.com/upshift-go/upshift/transports"
)

//go:embed web
var web embed.FS

// Written is what everybody is told when somebody has written on the wall.
var Written = core.NewEvent[string, core.None]("written")

// newServer returns a server that has no transport but ours.
func newServer() (*core.Server, error) {
	srv, err := core.New(core.Options{Transports: []transports.Transport{eventstream.New()}})
	if err != nil {
		return nil, err
	}
	wall := srv.Of("/")
	core.On(wall, "write", func(ctx context.Context, _ *core.Socket, text string) (int, error) {
		if n := utf8.RuneCountInString(text); n == 0 || n > 200 {
			return 0, core.Errorf("bad_text", "Write 1 to 200 characters, not %d.", n)
		}
		return wall.Len(), Written.Emit(ctx, wall, text) // the answer is how many could read it
	})
	return srv, nil
}

// routes has the page at / and the server below /socket.io/.
func routes(srv *core.Server) http.Handler {
	page, _ := fs.Sub(web, "web") // the path is valid
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServerFS(page))
	return mux
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`host:port` to listen on; port 0 takes a free one")
	flag.Parse()
	srv, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The wall is at http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes(srv)))
}
