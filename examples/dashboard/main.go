// Command dashboard shows live prices, four hundred a second, to clients of
// which some cannot take that many. Target.Latest sees to it that a slow one
// gets the newest price of each symbol and not the backlog.
//
//	make run EXAMPLE=dashboard      # installs the client and prints the addresses
//	go run ./examples/dashboard     # the page loads the client from a CDN
//
// It prints two addresses, of which the second is a line that carries 8 KB a
// second, a third of what the prices need. Open both, side by side: they agree.
// The slow one has skipped most of the prices that the other has shown.
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
	"time"

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
	slow := flag.String("slow", "127.0.0.1:3001", "`host:port` of the slow line")
	rate := flag.Int("rate", 8000, "`bytes` per second that a connection of the slow line carries")
	client := flag.String("client", "examples/chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	flag.Parse()

	srv, err := core.New(core.Options{ClientDir: *client})
	if err != nil {
		log.Fatal(err)
	}
	go trade(context.Background(), srv.Of("/"), 20*time.Millisecond)

	fast, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	narrow, err := net.Listen("tcp", *slow)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The prices are at http://%s and, on a slow line, at http://%s\n", fast.Addr(), narrow.Addr())
	go func() { log.Fatal(http.Serve(slowListener{narrow, *rate}, routes(srv))) }()
	log.Fatal(http.Serve(fast, routes(srv)))
}
