package adminui_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// Long arguments are cut off, both ways, and say so.
func TestMaxArgsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		a := instrument(t, srv, open(func(o *adminui.Options) { o.MaxArgsBytes = 20 }))
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		long := strings.Repeat("☃", 100) // three bytes each
		for _, test := range []struct {
			args []any
			want []any
		}{
			{[]any{"short", 1}, []any{"x", "short", 1}},
			{[]any{long, 2, 3}, []any{"x", `"` + strings.Repeat("☃", 6) + "… (cut off, 302 bytes in all)", "… 2 more"}},
			{[]any{strings.Repeat("a", 100_000)}, []any{"x", "… 100002 bytes"}},
			{[]any{map[string]any{"list": []int{1, 2, 3, 4, 5, 6, 7, 8, 9}}}, []any{"x", `{"list":[1,2,3,4,5,6… (cut off, 28 bytes in all)`}},
			{[]any{[]byte("0123456789")}, []any{"x", "MDEyMzQ1Njc4OQ=="}},
		} {
			if err := c.Emit(t.Context(), "x", test.args...); err != nil {
				t.Fatal(err)
			}
			p.expect(true, "event_received", "/", c.ID(), test.want)
		}
		if err := srv.Of("/").Socket(c.ID()).Emit(t.Context(), "x", 1, long, 3); err != nil {
			t.Fatal(err)
		}
		p.expect(true, "event_sent", "/", c.ID(), []any{"x", 1, `"` + strings.Repeat("☃", 6) + "… (cut off, 302 bytes in all)", "… 1 more"})
		_ = srv.Of("/").Emit(t.Context(), strings.Repeat("n", 1000))
		p.expect(true, "event_sent", "/", c.ID(), []any{strings.Repeat("n", 512) + "…"})
		if got := a.Stats().Cut; got != 6 {
			t.Errorf("%d cut", got)
		}
		p.expectNone()
	})
}

// A broadcast to many is shown for some.
func TestMaxRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		instrument(t, srv, open(func(o *adminui.Options) { o.MaxRecipients = 3 }))
		for range 5 {
			upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		}
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		once := 0
		_ = srv.Of("/").Emit(t.Context(), "x", counted{&once})
		for range 3 {
			if e := p.next(); e.Name != "event_sent" {
				t.Errorf("page received %s", e)
			}
		}
		p.expectNone()
		if once != 2 { // for the clients, and for the page
			t.Errorf("encoded %d times", once)
		}
	})
}

// What a client sends to open its session cannot make the list large.
func TestHandshakeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		instrument(t, srv, open(nil))
		const many = 1000
		pairs := make([]string, 0, 4*many+4)
		query := append(make([]string, 0, many+1), "long="+strings.Repeat("q", 100_000))
		for i := range many {
			pairs = append(pairs, fmt.Sprintf("X-%d", i), strings.Repeat("v", 3000), fmt.Sprint("X-", i), "again\xff")
			query = append(query, fmt.Sprintf("q%d=%s", i, strings.Repeat("%26", 300)))
		}
		pairs = append(pairs, strings.Repeat("N", 100_000), "v", "X-Forwarded-For", strings.Repeat("1", 100_000))
		upshifttest.Dial(t, srv, "/", upshifttest.Options{Handshake: transports.Handshake{
			Header: transports.NewHeader(pairs...), Query: transports.Query(strings.Join(query, "&")), Path: "/" + strings.Repeat("p", 100_000),
		}})
		p := watch(t, srv, upshifttest.Options{})
		p.next() // config
		e := p.next()
		if size := e.Args.Size(); e.Name != "all_sockets" || size > 30_000 || size < 3000 {
			t.Errorf("%s of %d bytes", e.Name, size)
		}
	})
}

// The list of all sockets has a limit, and what is beyond is left out.
func TestMaxStateBytes(t *testing.T) {
	for name, o := range map[string]struct {
		options core.Options
		limit   int
	}{
		"own limit":        {core.Options{}, 3000},
		"limit of outbox":  {core.Options{MaxOutboxBytes: 4000}, 0},
		"room for nothing": {core.Options{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := upshifttest.NewServer(t, o.options)
				instrument(t, srv, open(func(a *adminui.Options) { a.MaxStateBytes = o.limit }))
				var last *upshifttest.Client
				for range 40 {
					last = upshifttest.Dial(t, srv, "/", upshifttest.Options{})
				}
				p := watch(t, srv, upshifttest.Options{})
				if got := len(p.begin()); got > 15 || (got < 3) != (o.limit == 1) {
					t.Errorf("%d sockets", got)
				}
				last.Close()
				p.expect(true, "socket_disconnected", "/", last.ID(), "transport close")
			})
		})
	}
}

// A full queue costs what finds no room in it, which is counted; the state is made
// good.
func TestMaxQueuedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		hold, held := make(chan struct{}), make(chan struct{}, 1)
		var once sync.Once
		a := instrument(t, srv, open(func(o *adminui.Options) {
			o.MaxQueuedBytes = 4096
			o.Data = func(s *core.Socket) map[string]any {
				if s.Handshake().RemoteAddr == "hold" {
					once.Do(func() { held <- struct{}{}; <-hold })
				}
				return nil
			}
		}))
		ann := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		bob := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		upshifttest.Dial(t, srv, "/", upshifttest.Options{Handshake: transports.Handshake{RemoteAddr: "hold"}})
		<-held

		for range 100 {
			_ = ann.Emit(t.Context(), "flood")
		}
		synctest.Wait()
		if got := a.Stats().Dropped; got != 100-14 { // 128 bytes and the text, in half of it
			t.Errorf("%d dropped", got)
		}
		s := srv.Of("/").Socket(ann.ID())
		for i := range 100 {
			_ = s.Join(t.Context(), fmt.Sprint("r", i))
		}
		for i := range 50 {
			_ = s.Leave(t.Context(), fmt.Sprint("r", i))
		}
		carl := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		bob.Close()
		synctest.Wait()
		close(hold)
		<-time.After(3 * time.Second)
		p.stats()

		rooms := map[string]bool{ann.ID(): true} // as the page was told first
		var events int
		var connected, disconnected []string
		for len(p.events) > 0 {
			switch e := p.next(); e.Name {
			case "event_received":
				events++
			case "room_joined", "room_left":
				values, _ := e.Values()
				if values[2] != ann.ID() {
					continue
				}
				room := values[1].(string)
				if rooms[room] == (e.Name == "room_joined") {
					t.Errorf("%s twice", e)
				}
				rooms[room] = e.Name == "room_joined"
			case "socket_connected":
				var info map[string]any
				_ = e.Args.Bind(&info)
				connected = append(connected, info["id"].(string))
			case "socket_disconnected":
				values, _ := e.Values()
				disconnected = append(disconnected, fmt.Sprint(values[1], " ", values[2]))
			default:
				t.Errorf("page received %s", e)
			}
		}
		if events != 14 {
			t.Errorf("%d events", events)
		}
		for i := range 100 {
			if rooms[fmt.Sprint("r", i)] != (i >= 50) {
				t.Errorf("room r%d: %v", i, i < 50)
			}
		}
		if len(connected) != 2 || connected[1] != carl.ID() {
			t.Errorf("connected: %v, want %s last", connected, carl.ID())
		}
		if want := bob.ID() + " transport close"; len(disconnected) != 1 || disconnected[0] != want {
			t.Errorf("disconnected: %v, want %s", disconnected, want)
		}
	})
}

// Data is shown when it changes, not more often than a page can read, and a
// function that panics harms nobody.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		user := core.NewKey[any]("user")
		a := instrument(t, srv, open(func(o *adminui.Options) {
			o.MaxArgsBytes = 60
			o.Data = func(s *core.Socket) map[string]any {
				v, ok := user.Get(s)
				if !ok {
					return nil
				}
				if v == "panic" {
					panic("oops")
				}
				return map[string]any{"user": v}
			}
		}))
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		s := srv.Of("/").Socket(c.ID())
		a.Refresh(s) // nobody watches
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		for i := range 10 {
			user.Set(s, any(i))
			a.Refresh(s)
		}
		p.expect(false, "socket_updated", map[string]any{"id": c.ID(), "nsp": "/", "data": map[string]any{"user": 9}})
		for _, test := range []struct{ value, want any }{
			{"panic", map[string]any{"error": "Options.Data has panicked"}},
			{strings.Repeat("x", 100), map[string]any{"truncated": `{"user":"` + strings.Repeat("x", 51) + `… (cut off, 111 bytes in all)`}},
			{func() {}, map[string]any{"error": "json: unsupported type: func()"}},
		} {
			user.Set(s, test.value)
			a.Refresh(s)
			p.expect(false, "socket_updated", map[string]any{"id": c.ID(), "nsp": "/", "data": test.want})
		}
		a.Refresh(s)
		c.Close()
		a.Refresh(s)
		p.expect(true, "socket_disconnected", "/", c.ID(), "transport close")
		p.expect(true, "room_left", "/", c.ID(), c.ID())
		<-time.After(time.Second)
		p.expectNone()
	})
}

// A client that comes back is one more socket for the page, in the rooms it was in.
func TestRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
		srv.Of("/").OnConnect(func(ctx context.Context, s *core.Socket) error {
			if s.Recovered() {
				return nil
			}
			return s.Join(ctx, "lobby")
		})
		instrument(t, srv, open(nil))
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		id := c.ID()
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		c.Cut()
		p.expect(true, "socket_disconnected", "/", id, "transport error")
		p.expect(true, "room_left", "/", id, id)
		p.expect(true, "room_left", "/", "lobby", id)
		c.Reconnect()
		if got := p.connected(); got["id"] != id || fmt.Sprint(got["rooms"]) != "["+id+" lobby]" {
			t.Errorf("connected: %v", got)
		}
		_ = srv.Of("/").Socket(id).Join(t.Context(), "lobby", "new")
		p.expect(true, "room_joined", "/", "new", id)
		p.expectNone()
	})
}
