// Command customcodec is a server with a codec of its own, which is in package
// plain. Clients have to speak it too: parser.mjs makes the official one do so.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/examples/customcodec/plain"
)

// A Message is what clients send to the event "message".
type Message struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// register says what the server does.
func register(srv *core.Server) {
	core.On(srv.Of("/"), "message", func(ctx context.Context, s *core.Socket, m Message) (string, error) {
		return "delivered", s.Broadcast().Emit(ctx, "message", m)
	})
}

func main() {
	srv, err := core.New(core.Options{Codec: plain.New()})
	if err != nil {
		log.Fatal(err)
	}
	register(srv)
	http.Handle("/socket.io/", srv)
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}
