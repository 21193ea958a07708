package adminui_test

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// hash is that of "secret", as cheap as bcrypt has it.
var hash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
})

// open is a setting without login.
func open(change func(o *adminui.Options)) adminui.Options {
	o := adminui.Options{WithoutAuthentication: true, Development: true, ServerID: "s1"}
	if change != nil {
		change(&o)
	}
	return o
}

func instrument(t *testing.T, srv *core.Server, o adminui.Options) *adminui.Admin {
	t.Helper()
	a, err := adminui.Instrument(srv, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

// A page is a client as the UI is one. The figures, which come when they will,
// are kept apart from the rest.
type page struct {
	*upshifttest.Client
	t       *testing.T
	figures []map[string]any
	events  []*upshifttest.Event // the others, as far as they were taken
}

// watch connects a page. What it is told at the beginning is still to be read.
func watch(t *testing.T, srv *core.Server, o upshifttest.Options) *page {
	t.Helper()
	synctest.Wait() // a client knows that it is connected before hooks do
	return &page{Client: upshifttest.Dial(t, srv, "/admin", o), t: t}
}

func (p *page) sort(events ...*upshifttest.Event) {
	p.t.Helper()
	for _, e := range events {
		if e.Name != "server_stats" {
			p.events = append(p.events, e)
			continue
		}
		var figures map[string]any
		if err := e.Args.Bind(&figures); err != nil {
			p.t.Error(err)
		}
		p.figures = append(p.figures, figures)
	}
}

// next returns the next event but the figures.
func (p *page) next() *upshifttest.Event {
	p.t.Helper()
	for len(p.events) == 0 {
		p.sort(p.Next())
	}
	e := p.events[0]
	p.events = p.events[1:]
	return e
}

// stats returns the figures that have arrived.
func (p *page) stats() []map[string]any {
	p.t.Helper()
	synctest.Wait()
	p.sort(p.Pending()...)
	return p.figures
}

// expectNone fails the test if there is anything but figures.
func (p *page) expectNone() {
	p.t.Helper()
	p.stats()
	for _, e := range p.events {
		p.t.Errorf("page received %s, want nothing", e)
	}
}

// expect compares the next event, whose last argument is the time if timed.
func (p *page) expect(timed bool, name string, args ...any) {
	p.t.Helper()
	e := p.next()
	got, err := e.Values()
	if err != nil || e.Name != name {
		p.t.Fatalf("page received %s, want %s (%v)", e, name, err)
	}
	if timed {
		p.wantTime(got[len(got)-1])
		got = got[:len(got)-1]
	}
	if want := plain(p.t, args); !reflect.DeepEqual(got, want) {
		p.t.Fatalf("page received %s, want %s %v", e, name, want)
	}
}

func (p *page) wantTime(v any) {
	p.t.Helper()
	text, _ := v.(string)
	at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
	if err != nil || time.Since(at).Abs() > time.Hour {
		p.t.Errorf("time %q: %v", text, err)
	}
}

// plain is a value as it arrives.
func plain(t *testing.T, v []any) []any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// begin reads what a page is told first and returns the sockets.
func (p *page) begin() []map[string]any {
	p.t.Helper()
	p.expect(false, "config", map[string]any{"supportedFeatures": []string{
		"AGGREGATED_EVENTS", "ALL_EVENTS", "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT",
	}})
	return p.sockets()
}

func (p *page) sockets() []map[string]any {
	p.t.Helper()
	e := p.next()
	var list []map[string]any
	if err := e.Args.Bind(&list); err != nil || e.Name != "all_sockets" || list == nil {
		p.t.Fatalf("page received %s, want all_sockets (%v)", e, err)
	}
	slices.SortFunc(list, func(a, b map[string]any) int {
		return strings.Compare(a["nsp"].(string)+"\x00"+a["id"].(string), b["nsp"].(string)+"\x00"+b["id"].(string))
	})
	return list
}

// connected reads the event of a socket that has connected.
func (p *page) connected() map[string]any {
	p.t.Helper()
	e := p.next()
	var info map[string]any
	var at string
	if err := e.Args.Bind(&info, &at); err != nil || e.Name != "socket_connected" {
		p.t.Fatalf("page received %s, want socket_connected (%v)", e, err)
	}
	p.wantTime(at)
	return info
}

// The life of a socket, event by event.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		chat := srv.Of("/chat")
		chat.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "lobby") })
		core.On(chat, "say", func(ctx context.Context, _ *core.Socket, text string) (string, error) {
			return "ok", chat.To("lobby").Emit(ctx, "said", text, 7)
		})
		instrument(t, srv, open(nil))
		early := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
		p := watch(t, srv, upshifttest.Options{})
		all := p.begin()
		if len(all) != 2 || all[0]["id"] != p.ID() || all[1]["id"] != early.ID() {
			t.Fatalf("all_sockets: %v", all)
		}
		if got := all[1]["rooms"]; !reflect.DeepEqual(got, []any{early.ID(), "lobby"}) {
			t.Errorf("rooms: %v", got)
		}

		c := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{Auth: map[string]string{"token": "private"}, Handshake: transports.Handshake{
			Header: transports.NewHeader("User-Agent", "test", "Cookie", "a=private", "authorization", "private", "Accept", "a", "Accept", "b", "Origin", "https://x", "Host", "x"),
			Query:  "EIO=4&token=private&room=7", Path: "/socket.io/", RemoteAddr: "10.1.2.3:4567", Secure: true, Time: time.UnixMilli(1_700_000_000_123).UTC(),
		}})
		id := c.ID()
		info := p.connected()
		clientID, _ := info["clientId"].(string)
		full := chat.Socket(id).Session().ID()
		if len(clientID) != 12 || clientID == full || !strings.HasPrefix(full, clientID) {
			t.Errorf("clientId is %q", clientID)
		}
		delete(info, "clientId")
		want := map[string]any{
			"id": id, "transport": "pipe", "nsp": "/chat", "data": map[string]any{}, "rooms": []any{id},
			"handshake": map[string]any{
				"address": "10.1.2.3",
				"headers": map[string]any{"user-agent": "test", "cookie": "[redacted]", "authorization": "[redacted]", "accept": "a, b", "origin": "https://x", "host": "x"},
				"query":   map[string]any{"EIO": "4", "token": "[redacted]", "room": "7"},
				"issued":  float64(1_700_000_000_123), "secure": true, "xdomain": true,
				"time": "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)",
				"url":  "/socket.io/?EIO=4&room=7&token=%5Bredacted%5D",
			},
		}
		if !reflect.DeepEqual(info, want) {
			t.Errorf("socket_connected:\n%v, want\n%v", info, want)
		}
		p.expect(true, "room_joined", "/chat", "lobby", id)

		if err := c.Emit(t.Context(), "say", "hello"); err != nil {
			t.Fatal(err)
		}
		p.expect(true, "event_received", "/chat", id, []any{"say", "hello"})
		for _, e := range []*upshifttest.Event{p.next(), p.next()} {
			got, err := e.Values()
			if err != nil || e.Name != "event_sent" || got[0] != "/chat" ||
				got[1] != id && got[1] != early.ID() || !reflect.DeepEqual(got[2], []any{"said", "hello", 7.0}) {
				t.Errorf("page received %s", e)
			}
			p.wantTime(got[3])
		}

		s := chat.Socket(id)
		_ = s.Join(t.Context(), "lobby", "vip") // lobby is no news
		p.expect(true, "room_joined", "/chat", "vip", id)
		_ = s.Leave(t.Context(), "lobby", "no such room")
		p.expect(true, "room_left", "/chat", "lobby", id)
		c.Close()
		p.expect(true, "socket_disconnected", "/chat", id, "transport close")
		p.expect(true, "room_left", "/chat", id, id)
		p.expect(true, "room_left", "/chat", "vip", id)

		second := watch(t, srv, upshifttest.Options{})
		if got := p.connected()["id"]; got != second.ID() { // pages see each other
			t.Errorf("connected: %v", got)
		}
		// So it hears of itself, before or after what it is told first.
		second.stats()
		second.events = slices.DeleteFunc(second.events, func(e *upshifttest.Event) bool { return e.Name == "socket_connected" })
		if got := second.begin(); len(got) != 3 {
			t.Errorf("second page: %v", got)
		}
		synctest.Wait()
		p.expectNone()
	})
}

// Nothing is collected while nobody watches, and the first page after that is
// told how things are.
func TestNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		before := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		encoded := 0
		a := instrument(t, srv, open(func(o *adminui.Options) {
			o.MaxArgsBytes = 1
			o.Data = func(*core.Socket) map[string]any { encoded++; return nil }
		}))
		for range 2 {
			c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
			_ = c.Emit(t.Context(), "x", "long")
			_ = srv.Of("/").Emit(t.Context(), "y", counted{&encoded})
			_ = srv.Of("/").Socket(c.ID()).Join(t.Context(), "r")
			synctest.Wait()
			if cut := a.Stats().Cut; encoded != 1 || cut != 0 { // once for the clients themselves
				t.Errorf("%d times looked at, and %d cut off, while nobody watches", encoded, cut)
			}
			p := watch(t, srv, upshifttest.Options{})
			all := p.begin()
			ids := map[any]bool{}
			for _, s := range all {
				ids[s["id"]] = true
			}
			if len(all) != 3 || !ids[before.ID()] || !ids[c.ID()] || !ids[p.ID()] {
				t.Errorf("all_sockets: %v", all)
			}
			p.Close()
			c.Close()
			synctest.Wait()
			encoded = 0
		}
	})
}

type counted struct{ n *int }

func (c counted) MarshalJSON() ([]byte, error) { *c.n++; return []byte("1"), nil }

// What the UI may do is announced, and nothing else is done.
func TestFeatures(t *testing.T) {
	for _, test := range []struct {
		name                  string
		readOnly, development bool
		want                  []string
	}{
		{"production", false, false, []string{"AGGREGATED_EVENTS", "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"}},
		{"production read-only", true, false, []string{"AGGREGATED_EVENTS"}},
		{"development read-only", true, true, []string{"AGGREGATED_EVENTS", "ALL_EVENTS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := upshifttest.NewServer(t, core.Options{})
				instrument(t, srv, open(func(o *adminui.Options) { o.ReadOnly, o.Development = test.readOnly, test.development }))
				c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
				p := watch(t, srv, upshifttest.Options{})
				p.expect(false, "config", map[string]any{"supportedFeatures": test.want})
				if test.development {
					p.sockets()
				}
				_ = p.Emit(t.Context(), "join", "/", "r", c.ID())
				synctest.Wait()
				if got := srv.Of("/").Rooms(); (len(got) == 0) != test.readOnly {
					t.Errorf("rooms after join: %v", got)
				}
				if !test.development {
					_ = c.Emit(t.Context(), "x")
					c.Close()
					synctest.Wait()
					p.expectNone()
				}
			})
		})
	}
}

// Figures come at once and every two seconds, and count what happened between.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		instrument(t, srv, open(func(o *adminui.Options) { o.Development = false }))
		p := watch(t, srv, upshifttest.Options{})
		synctest.Wait()
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		_ = c.Emit(t.Context(), "x", "0123456789")
		synctest.Wait()
		if got := p.stats(); len(got) != 1 {
			t.Fatalf("%d figures at once", len(got))
		}
		<-time.After(2500 * time.Millisecond)
		c.Close()
		<-time.After(2 * time.Second)
		synctest.Wait()
		all := p.stats()
		if len(all) != 3 {
			t.Fatalf("%d figures after four seconds", len(all))
		}
		first, second, third := all[0], all[1], all[2]
		want := []string{"aggregatedEvents", "clientsCount", "hostname", "namespaces", "pid", "pollingClientsCount", "serverId", "uptime"}
		if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
			t.Errorf("members: %v", got)
		}
		if first["serverId"] != "s1" || first["clientsCount"] != 1.0 || second["clientsCount"] != 2.0 || first["pollingClientsCount"] != 0.0 {
			t.Errorf("figures: %v", first)
		}
		if got := second["namespaces"]; !reflect.DeepEqual(got, []any{
			map[string]any{"name": "/", "socketsCount": 1.0}, map[string]any{"name": "/admin", "socketsCount": 1.0},
		}) {
			t.Errorf("namespaces: %v", got)
		}
		if got := first["aggregatedEvents"]; !reflect.DeepEqual(got, []any{}) {
			t.Errorf("first figures say what happened before: %v", got)
		}
		counts := aggregated(t, second)
		if counts["rawConnection"] != 2 || counts["packetsIn"] < 3 || counts["bytesIn"] < 20 || counts["packetsOut"] < 4 || counts["bytesOut"] < 100 {
			t.Errorf("aggregated: %v", counts)
		}
		if counts := aggregated(t, third); counts["rawDisconnection transport close"] != 1 || counts["rawConnection"] != 0 {
			t.Errorf("aggregated: %v", counts)
		}
	})
}

func aggregated(t *testing.T, figures map[string]any) map[string]float64 {
	t.Helper()
	counts := make(map[string]float64)
	for _, e := range figures["aggregatedEvents"].([]any) {
		e := e.(map[string]any)
		at := int64(e["timestamp"].(float64))
		if at%1000 != 0 || time.Since(time.UnixMilli(at)).Abs() > time.Minute {
			t.Errorf("timestamp %d", at)
		}
		name := e["type"].(string)
		if sub, ok := e["subType"]; ok {
			name += " " + sub.(string)
		}
		counts[name] += e["count"].(float64)
	}
	return counts
}

// With MessagePack it is the same.
func TestMsgPack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packed := codec.MsgPack(codec.MsgPackOptions{})
		srv := upshifttest.NewServer(t, core.Options{Codec: packed})
		instrument(t, srv, open(func(o *adminui.Options) {
			o.Data = func(*core.Socket) map[string]any { return map[string]any{"user": "ann"} }
		}))
		p := watch(t, srv, upshifttest.Options{Codec: packed})
		if all := p.begin(); len(all) != 1 || !reflect.DeepEqual(all[0]["data"], map[string]any{"user": "ann"}) {
			t.Errorf("all_sockets: %v", all)
		}
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{Codec: packed})
		if got := p.connected(); got["id"] != c.ID() {
			t.Errorf("connected: %v", got)
		}
		_ = c.Emit(t.Context(), "x", map[string]any{"a": []byte("bin")}, 7)
		e := p.next()
		var ns, id, at string
		var args []any
		if err := e.Args.Bind(&ns, &id, &args, &at); err != nil || e.Name != "event_received" || len(args) != 3 || args[0] != "x" {
			t.Errorf("page received %s: %v %v", e, args, err)
		}
		p.wantTime(at)
	})
}
