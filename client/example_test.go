package client_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

type note struct {
	Text string `json:"text"`
}

// What server and client share.
var (
	send = event.New[note, int]("send") // answered with the number of the note
	sent = event.New[note, event.None]("sent")
)

// exampleServer passes on the notes it gets.
func exampleServer() (url string, stop func()) {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	chat, n := srv.Of("/chat"), 0
	core.OnEvent(chat, send, func(ctx context.Context, _ *core.Socket, in note) (int, error) {
		n++
		return n, sent.Emit(ctx, chat, in)
	})
	host := httptest.NewServer(srv)
	return host.URL, func() {
		_ = srv.Shutdown(context.Background())
		host.Close()
	}
}

func Example() {
	url, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.New(url+"/chat", client.Options{})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	heard := make(chan string, 1)
	sent.On(c, func(_ context.Context, n note) (event.None, error) {
		heard <- n.Text
		return event.None{}, nil
	})
	if err := c.Connect(ctx); err != nil {
		panic(err)
	}
	number, err := send.Call(ctx, c, note{Text: "hello"})
	fmt.Println(number, err)
	fmt.Println(<-heard)
	// Output:
	// 1 <nil>
	// hello
}

// The events of a kind are a sequence, which ends with its context, or when the
// server does not want the client any more.
func ExampleDial_sequence() {
	url, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.Dial(ctx, url+"/chat", client.Options{})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	go func() { // what comes before the loop has begun is not seen by it
		for range time.Tick(10 * time.Millisecond) {
			if send.Emit(ctx, c, note{Text: "tick"}) != nil {
				return
			}
		}
	}()
	heard := 0
	for n, err := range sent.All(ctx, c) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n.Text)
		if heard++; heard == 3 {
			break
		}
	}
	// Output:
	// tick
	// tick
	// tick
}

// Sockets of several namespaces share a connection.
func ExampleManager() {
	url, stop := exampleServer()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	m, err := client.NewManager(url, client.Options{})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	for _, namespace := range []string{"/chat", "/nowhere"} {
		s, err := m.Socket(namespace, client.SocketOptions{Auth: map[string]string{"token": "secret"}})
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Connect(ctx))
	}
	// Output:
	// <nil>
	// client: /nowhere: Invalid namespace
}
