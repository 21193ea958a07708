// Command cursors shows who is on a page, and where each of them points:
// presence with volatile moves.
//
//	make run EXAMPLE=cursors      # installs the client and prints the address
//	go run ./examples/cursors     # the page loads the client from a CDN
//
// Open it in two windows and move the pointer. A move is worthless when the next
// one has come, so it is volatile, from the page and from the server: whoever
// cannot take it at once does not get it. Who is here is what must not be lost:
// it goes out in full at each change, and of two that wait for a client the
// newest is enough.
package main

import (
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"

	"github.com/upshift-go/upshift/core"
)

//go:embed web
var web embed.FS

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
	client := flag.String("client", "examples/chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	flag.Parse()

	srv, err := core.New(core.Options{ClientDir: *client})
	if err != nil {
		log.Fatal(err)
	}
	servePresence(srv.Of("/"))
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The canvas is at http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes(srv)))
}
