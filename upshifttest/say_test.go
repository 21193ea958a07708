package upshifttest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/upshifttest"
)

// What the program and its test share.
var (
	Say   = event.New[string, int]("say")
	Heard = event.New[string, event.None]("heard")
)

// Register is what the program does with its server.
func Register(srv *core.Server) {
	ns := srv.Of("/")
	core.OnEvent(ns, Say, func(ctx context.Context, _ *core.Socket, text string) (int, error) {
		return len(text), Heard.Emit(ctx, ns, text)
	})
}

func TestSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
		Register(srv)
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		bob := upshifttest.Dial(t, srv, "/", upshifttest.Options{})

		if n, err := Say.Call(t.Context(), ann, "hello"); n != 5 || err != nil {
			t.Errorf("answered %d, %v", n, err)
		}
		bob.Expect("heard", "hello")

		bob.Vanish() // his network is gone, and nobody knows
		if _, err := Say.Call(t.Context(), ann, "still there?"); err != nil {
			t.Error(err)
		}
		<-time.After(time.Minute) // takes no time
		bob.Reconnect()
		if got := upshifttest.Receive(bob, Heard); !bob.Recovered() || got != "still there?" {
			t.Errorf("bob heard %q", got)
		}
	})
}
