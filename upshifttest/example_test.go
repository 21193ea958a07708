package upshifttest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/upshifttest"
)

// What a program's server and its clients share.
var (
	Post   = event.New[string, int]("post")
	Posted = event.New[string, event.None]("posted")
)

// serve is what the program does with its server.
func serve(srv *core.Server) {
	core.OnEvent(srv.Of("/"), Post, func(ctx context.Context, s *core.Socket, text string) (int, error) {
		return len(text), Posted.Emit(ctx, s.Broadcast(), text)
	})
}

// In a test, t is its *testing.T; inside of synctest.Test nothing takes time.
func Example() {
	exampletest.Run(func(t testing.TB) {
		srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
		serve(srv)
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		bob := upshifttest.Dial(t, srv, "/", upshifttest.Options{})

		fmt.Println(Post.Call(t.Context(), ann, "hello"))
		fmt.Println(upshifttest.Receive(bob, Posted))

		bob.Cut() // his network fails
		fmt.Println(Post.Call(t.Context(), ann, "still there?"))
		bob.Reconnect()
		fmt.Println(bob.Recovered(), upshifttest.Receive(bob, Posted))
	})
	// Output:
	// 5 <nil>
	// hello
	// 12 <nil>
	// true still there?
}
