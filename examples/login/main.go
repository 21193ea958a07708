// Command login is a chat behind a login: tokens that are short-lived, renewed while
// the page stays connected, and revoked at once when the user logs out.
//
//	make run EXAMPLE=login        # installs the client and prints the address
//	go run ./examples/login       # the page loads the client from a CDN
//
// Log in as ann with the password tea, or as ben with coffee. A token lives for 30
// seconds (-ttl). Before it ends the server says so to the page, which fetches the
// next one and sends it over the same connection. Untick "renew" to see what happens
// without; log out in one window and watch the other.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/auth/jwt"
)

//go:embed web
var web embed.FS

// A message is what is said, and by whom: the server knows that, and does not ask.
type message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// newSite makes the chat, and the pages and tokens that go with it.
func newSite(o core.Options, ttl time.Duration) (*core.Server, http.Handler, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := jwt.New(jwt.Options{
		Algorithms: []string{"EdDSA"}, Key: public, Issuer: issuer, RequireExpiry: true,
	})
	if err != nil {
		return nil, nil, err
	}
	srv, err := core.New(o)
	if err != nil {
		return nil, nil, err
	}
	guard, err := auth.New(srv, auth.Options{Verify: tokens.Verify})
	if err != nil {
		return nil, nil, err
	}
	srv.Use(guard.Middleware)
	core.On(srv.Of("/"), "say", func(ctx context.Context, s *core.Socket, text string) (core.None, error) {
		id, _ := auth.From(s)
		return core.None{}, s.Namespace().Emit(ctx, "said", message{From: id.Subject, Text: text})
	})

	page, _ := fs.Sub(web, "web") // the path is valid
	logins := newLogins(private, ttl, guard.Revoke)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("POST /login", logins.login)
	mux.HandleFunc("POST /token", logins.token)
	mux.HandleFunc("POST /logout", logins.logout)
	mux.Handle("/", http.FileServerFS(page))
	return srv, http.NewCrossOriginProtection().Handler(mux), nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:3000", "`host:port` to listen on; port 0 takes a free one")
	client := flag.String("client", "examples/chat/node_modules/socket.io-client/dist", "`directory` with the bundles of the official client")
	ttl := flag.Duration("ttl", 30*time.Second, "how long a token lives")
	flag.Parse()

	_, site, err := newSite(core.Options{ClientDir: *client}, *ttl)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The chat is at http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, site))
}
