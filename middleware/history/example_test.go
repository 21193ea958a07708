package history_test

import (
	"fmt"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/middleware/history"
	"github.com/upshift-go/upshift/upshifttest"
)

// Who joins a room gets what was sent there last, and then what is sent later.
func Example() {
	exampletest.Run(func(t testing.TB) {
		srv := upshifttest.NewServer(t, core.Options{})
		chat := srv.Of("/chat")
		h, err := history.New(srv, chat, history.Options{Size: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		for _, text := range []string{"one", "two", "three"} {
			if err := h.Emit(t.Context(), "room:1", "message", text); err != nil { // in place of chat.To("room:1").Emit
				t.Fatal(err)
			}
		}

		ann := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		if err := h.Join(t.Context(), chat.Socket(ann.ID()), "room:1"); err != nil { // in place of Socket.Join
			t.Fatal(err)
		}
		_ = h.Emit(t.Context(), "room:1", "message", "four")

		var greeting struct {
			Room   string
			Events []history.Entry
		}
		if err := ann.Next().Args.Bind(&greeting); err != nil {
			t.Fatal(err)
		}
		for _, e := range greeting.Events {
			var args []string
			if err := e.Args.Bind(&args); err != nil {
				t.Fatal(err)
			}
			fmt.Println(greeting.Room, e.Event, args)
		}
		fmt.Println(ann.Next())
	})
	// Output:
	// room:1 message [two]
	// room:1 message [three]
	// "message" ["four"]
}
