package adminui_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// What the UI can have done, in both ways of naming whom.
func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		srv := upshifttest.NewServer(t, core.Options{})
		srv.OfPattern("/made/{x}")
		n := srv.Of("/chat")
		instrument(t, srv, open(func(o *adminui.Options) {
			o.Development = false
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}))
		a, b := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{}), upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		other := b.Join("/", nil)
		p := watch(t, srv, upshifttest.Options{Handshake: transports.Handshake{RemoteAddr: "10.1.2.3:9"}})
		do := func(args ...any) {
			t.Helper()
			name := args[0].(string)
			if err := p.Emit(t.Context(), name, args[1:]...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		in := func(room string) int { return len(n.To(room).Sockets()) }

		do("join", "/chat", "one", a.ID())
		do("join", "/chat", "all")
		do("join", "/chat", "too", nil)
		do("join", "/chat", "three", "")
		do("join", "/chat", "of room", "one")
		for room, want := range map[string]int{"one": 1, "all": 2, "too": 2, "three": 2, "of room": 1} {
			if got := in(room); got != want {
				t.Errorf("%d in %q, want %d", got, room, want)
			}
		}
		do("leave", "/chat", "all", a.ID())
		do("leave", "/chat", "too")
		if in("all") != 1 || in("too") != 0 {
			t.Errorf("%d in all, %d in too", in("all"), in("too"))
		}
		do("emit", "/chat", a.ID(), "news", 1, []byte{2})
		a.Expect("news", 1, []byte{2})
		do("emit", "/chat", nil, "more")
		a.Expect("more")
		b.Expect("more")

		// None of this is a command.
		for _, bad := range [][]any{
			{"join"},
			{"join", "/chat"},
			{"join", "/chat", ""},
			{"join", "/chat", 7, nil},
			{"join", "/chat", map[string]any{"a": 1}, nil},
			{"join", "/chat", strings.Repeat("x", 1025), nil},
			{"join", "/none", "x"},
			{"join", "/made/up", "x"},
			{"leave", 1, 2, 3},
			{"_disconnect", "/chat", "yes", nil},
			{"_disconnect", "/none", true},
			{"emit", "/chat", nil},
			{"emit", "/chat", nil, "disconnect"},
			{"emit", "/chat", nil, ""},
			{"emit", "/admin", nil, "config", map[string]any{}},
			{"no such command", "/chat"},
		} {
			do(bad...)
		}
		for _, ns := range srv.Namespaces() {
			if strings.HasPrefix(ns.Name(), "/made") || ns.Name() == "/none" {
				t.Errorf("the UI has made %s", ns.Name())
			}
		}
		a.ExpectNone()
		p.expect(false, "config", map[string]any{"supportedFeatures": []string{
			"AGGREGATED_EVENTS", "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT",
		}})
		p.expectNone()

		do("_disconnect", "/chat", false, a.ID())
		if n.Socket(a.ID()) != nil || n.Len() != 1 {
			t.Errorf("%d in /chat", n.Len())
		}
		do("_disconnect", "/chat", true, b.ID())
		if n.Len() != 0 || srv.Of("/").Socket(other.ID()) != nil {
			t.Error("the session was not closed")
		}
		for _, want := range []string{`command=join namespace=/chat room="of room" close=false filter=one`, "remote=10.1.2.3:9", "socket=" + p.ID(), "command=emit", "event=news", "close=true"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in the audit:\n%s", want, &log)
			}
		}
	})
}
