// Command gin is Upshift inside a gin program, behind its middleware: gin logs,
// recovers and asks for a password, and the handlers of events know who has
// given it.
//
//	go run -C examples/routers ./gin      # prints the address; log in as ann, with secret
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/upshift-go/upshift/core"
)

//go:embed page.html
var page []byte

// userKey is where the name of the user is, in the context of requests and then
// in that of sockets.
type userKey struct{}

func newServer(clientDir string) (*core.Server, error) {
	srv, err := core.New(core.Options{
		ClientDir: clientDir,
		// What middleware has put into the context of the handshake request ends
		// with that request; what handlers are to find is passed on here.
		AllowRequest: func(ctx context.Context, h *core.Handshake) error {
			h.Context = context.WithValue(context.Background(), userKey{}, ctx.Value(userKey{}))
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	core.On(srv.Of("/"), "greet", func(ctx context.Context, _ *core.Socket, _ core.None) (string, error) {
		return fmt.Sprintf("Hello %v, from gin", ctx.Value(userKey{})), nil
	})
	return srv, nil
}

// routes has everything behind a password: the page, and each request of a
// session.
func routes(srv *core.Server) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.Logger(), gin.Recovery(), gin.BasicAuth(gin.Accounts{"ann": "secret"}))
	e.Use(func(c *gin.Context) {
		ctx := context.WithValue(c.Request.Context(), userKey{}, c.GetString(gin.AuthUserKey))
		c.Request = c.Request.WithContext(ctx) // the request is all that Upshift sees of gin
	})
	e.Any("/socket.io/*rest", gin.WrapH(srv))
	e.GET("/", func(c *gin.Context) { c.Data(http.StatusOK, "text/html; charset=utf-8", page) })
	return e
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`host:port` to listen on; port 0 takes a free one")
	client := flag.String("client", "../chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	flag.Parse()
	srv, err := newServer(*client)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("gin is at http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes(srv)))
}
