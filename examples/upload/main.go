// Command upload takes files from a page, in chunks that are answered: progress
// that is true, and a transfer that goes on where it was when the connection was
// cut.
//
//	make run EXAMPLE=upload      # installs the client and prints the address
//	go run ./examples/upload     # the page loads the client from a CDN
//
// Choose a file of some megabytes and cut the connection while it is on its way;
// there is a button for it. Files end in -dir under the name of their SHA-256,
// which the page has announced and the server has found to be right: what a
// client calls a file is never a path.
package main

import (
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"

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
	dir := flag.String("dir", "", "`directory` for the files (default: a new one for temporary files)")
	limit := flag.Int64("max", 100_000_000, "largest file, in `bytes`")
	flag.Parse()

	var err error
	if *dir == "" {
		if *dir, err = os.MkdirTemp("", "upload-"); err != nil {
			log.Fatal(err)
		}
	}
	srv, err := core.New(core.Options{ClientDir: *client})
	if err != nil {
		log.Fatal(err)
	}
	serveUploads(srv.Of("/"), newStore(*dir, *limit))
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Upload at http://%s into %s\n", listener.Addr(), *dir)
	log.Fatal(http.Serve(listener, routes(srv)))
}
