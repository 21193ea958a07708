package presence_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/middleware/presence"
	"github.com/upshift-go/upshift/upshifttest"
)

// Who joins a room is told who is there, and the others who has come and gone. With
// an adapter it is the same for the clients of all servers.
func Example() {
	exampletest.Run(func(t testing.TB) {
		srv := upshifttest.NewServer(t, core.Options{})
		chat := srv.Of("/chat")
		user := core.NewKey[string]("user")
		p, err := presence.New(srv, chat, presence.Options{
			Who: func(s *core.Socket, room string) (presence.Member, bool) {
				name, ok := user.Get(s)
				return presence.Member{Key: name}, ok && strings.HasPrefix(room, "room:")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		chat.OnConnect(func(ctx context.Context, s *core.Socket) error {
			var auth struct{ Name string } // better: what has been verified
			if err := s.Auth(&auth); err != nil {
				return err
			}
			user.Set(s, auth.Name)
			return s.Join(ctx, "room:1")
		})

		ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Auth: map[string]string{"name": "Ann"}})
		fmt.Println("Ann:", ann.Next())
		fmt.Println("Ann:", ann.Next()) // herself
		bob := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Auth: map[string]string{"name": "Bob"}})
		fmt.Println("Ann:", ann.Next())
		fmt.Println(p.Count("room:1"))
		bob.Disconnect()
		fmt.Println("Ann:", ann.Next())
	})
	// Output:
	// Ann: "presence:state" [{"room":"room:1","count":1,"members":[{"key":"Ann"}]}]
	// Ann: "presence:diff" [{"room":"room:1","count":1,"joined":[{"key":"Ann"}],"left":[]}]
	// Ann: "presence:diff" [{"room":"room:1","count":2,"joined":[{"key":"Bob"}],"left":[]}]
	// 2
	// Ann: "presence:diff" [{"room":"room:1","count":1,"joined":[],"left":["Bob"]}]
}
