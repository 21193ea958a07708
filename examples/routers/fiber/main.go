// Command fiber is Upshift inside a Fiber program, behind its middleware: Fiber
// logs, recovers and asks for a password, and the handlers of events know who
// has given it. Fiber runs on fasthttp, and so does Upshift here, without an
// adaptor.
//
//	go run -C examples/routers ./fiber      # prints the address; log in as ann, with secret
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"log"
	"net"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/basicauth"
	"github.com/gofiber/fiber/v3/middleware/logger"
	"github.com/gofiber/fiber/v3/middleware/recover"

	"github.com/upshift-go/upshift/core"
)

//go:embed page.html
var page []byte

// userKey is where the name of the user is, in the locals of requests and then
// in the context of sockets.
type userKey struct{}

func newServer(clientDir string) (*core.Server, error) {
	srv, err := core.New(core.Options{
		ClientDir: clientDir,
		// ctx has the locals of the handshake request, which Fiber uses again for
		// another request; what handlers are to find is passed on here.
		AllowRequest: func(ctx context.Context, h *core.Handshake) error {
			h.Context = context.WithValue(context.Background(), userKey{}, ctx.Value(userKey{}))
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	core.On(srv.Of("/"), "greet", func(ctx context.Context, _ *core.Socket, _ core.None) (string, error) {
		return fmt.Sprintf("Hello %v, from Fiber", ctx.Value(userKey{})), nil
	})
	return srv, nil
}

// routes has everything behind a password: the page, and each request of a
// session.
func routes(srv *core.Server) *fiber.App {
	app := fiber.New()
	app.Use(logger.New(), recover.New(), basicauth.New(basicauth.Config{
		Authorizer: func(user, password string, _ fiber.Ctx) bool { return user == "ann" && password == "secret" },
	}))
	app.Use(func(c fiber.Ctx) error {
		c.Locals(userKey{}, basicauth.UsernameFromContext(c))
		return c.Next()
	})
	app.All("/socket.io/*", func(c fiber.Ctx) error {
		srv.ServeFastHTTP(c.RequestCtx())
		return nil
	})
	app.Get("/", func(c fiber.Ctx) error { return c.Type("html").Send(page) })
	return app
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
	fmt.Printf("Fiber is at http://%s\n", listener.Addr())
	log.Fatal(routes(srv).Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}))
}
