// Command quickstart is the program of the README.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/upshift-go/upshift/core"
)

type Message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

func main() {
	srv, err := core.New(core.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	ns.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "lobby") })
	core.On(ns, "message", func(ctx context.Context, s *core.Socket, m Message) (string, error) {
		return "delivered", s.To("lobby").Emit(ctx, "message", m) // the answer, and what the others get
	})
	http.Handle("/socket.io/", srv)
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
