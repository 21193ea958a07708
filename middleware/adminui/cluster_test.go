package adminui_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

// A page sees the sockets of every server of a cluster, and its commands reach
// them; a server whose pages have gone is quiet.
func TestCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		broker := bus.Engine()
		one, two := cluster.New(bus.Engine(), cluster.Options{}), cluster.New(broker, cluster.Options{})
		first := upshifttest.NewServer(t, core.Options{Adapter: one})
		second := upshifttest.NewServer(t, core.Options{Adapter: two})
		instrument(t, first, open(nil))
		instrument(t, second, open(func(o *adminui.Options) { o.ServerID = "s2" }))
		early := upshifttest.Dial(t, second, "/", upshifttest.Options{})

		p := watch(t, first, upshifttest.Options{})
		all := p.begin()
		if len(all) != 2 || all[0]["id"] != early.ID() || all[1]["id"] != p.ID() {
			t.Fatalf("all_sockets: %v", all)
		}
		late := upshifttest.Dial(t, second, "/", upshifttest.Options{})
		if got := p.connected(); got["id"] != late.ID() {
			t.Errorf("connected: %v", got)
		}
		if err := p.Emit(t.Context(), "join", "/", "r", late.ID()); err != nil {
			t.Fatal(err)
		}
		p.expect(true, "room_joined", "/", "r", late.ID())
		<-time.After(time.Minute) // it goes on as long as the page is there
		if err := p.Emit(t.Context(), "_disconnect", "/", false, early.ID()); err != nil {
			t.Fatal(err)
		}
		p.expect(true, "socket_disconnected", "/", early.ID(), "server namespace disconnect")
		p.expect(true, "room_left", "/", early.ID(), early.ID())
		servers := map[any]bool{}
		for _, figures := range p.stats() {
			servers[figures["serverId"]] = true
		}
		if len(servers) != 2 {
			t.Errorf("figures of %v", servers)
		}
		p.Close()
		<-time.After(time.Minute)
		synctest.Wait()
		before := two.Stats().Published
		upshifttest.Dial(t, second, "/", upshifttest.Options{})
		_ = late.Emit(t.Context(), "x")
		synctest.Wait()
		if n := two.Stats().Published - before; n > 1 {
			t.Errorf("%d events for nobody", n)
		}

		broker.Cut(true)
		p = watch(t, first, upshifttest.Options{})
		if all := p.begin(); len(all) != 1 || all[0]["id"] != p.ID() {
			t.Errorf("all_sockets without the other server: %v", all)
		}
	})
}

// A page sees and commands sockets of servers that are not instrumented, too; one
// that is, tells them what Node's pages look for.
func TestClusterForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		first := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
		second := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
		user := core.NewSharedKey[map[string]string]("user")
		second.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
			user.Set(s, map[string]string{"name": "ann"})
			return nil
		})
		instrument(t, first, open(nil))
		ours := upshifttest.Dial(t, first, "/", upshifttest.Options{})
		theirs := upshifttest.Dial(t, second, "/", upshifttest.Options{Handshake: transports.Handshake{
			Path: "/socket.io/", Query: "a=1&a=2&token=secret",
			Header: transports.NewHeader("X-Forwarded-For", "10.0.0.9", "Cookie", "secret", "Accept", "x", "Accept", "y"),
		}})
		synctest.Wait()

		p := watch(t, first, upshifttest.Options{})
		shown := make(map[any]map[string]any)
		for _, s := range p.begin() {
			shown[s["id"]] = s
		}
		if len(shown) != 3 || shown[ours.ID()] == nil || shown[p.ID()] == nil {
			t.Fatalf("all_sockets: %v", shown)
		}
		got := shown[theirs.ID()]
		handshake, _ := got["handshake"].(map[string]any)
		if got["nsp"] != "/" || got["clientId"] != theirs.ID() ||
			fmt.Sprint(got["data"], got["rooms"]) != fmt.Sprintf("map[user:map[name:ann]] [%s]", theirs.ID()) ||
			fmt.Sprint(handshake["headers"]) != "map[accept:x, y cookie:[redacted] x-forwarded-for:10.0.0.9]" ||
			fmt.Sprint(handshake["query"]) != "map[a:2 token:[redacted]]" || handshake["address"] != "10.0.0.9" {
			t.Errorf("the socket of the other server is %v", got)
		}
		infos, err := second.Of("/").To(ours.ID()).Fetch(t.Context())
		if err != nil || len(infos) != 1 {
			t.Fatal(infos, err)
		}
		var data map[string]any
		if err := infos[0].Data.Bind(&data); err != nil ||
			fmt.Sprint(data) != fmt.Sprintf("map[_admin:map[clientId:%s transport:pipe]]", shown[ours.ID()]["clientId"]) {
			t.Errorf("the other server is told %v, %v", data, err)
		}

		_ = p.Emit(t.Context(), "join", "/", "r", theirs.ID())
		synctest.Wait()
		if n := len(second.Of("/").To("r").Sockets()); n != 1 {
			t.Errorf("%d have joined", n)
		}
		_ = p.Emit(t.Context(), "_disconnect", "/", true, theirs.ID())
		theirs.WaitDisconnect()
	})
}

// A command for a namespace that only another server has is carried out there, unless
// that one is read-only.
func TestClusterNamespaceOfOthers(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bus := new(adaptertest.Bus)
			first := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
			second := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
			second.Of("/theirs")
			instrument(t, first, open(nil))
			instrument(t, second, open(func(o *adminui.Options) { o.ReadOnly = readOnly }))
			upshifttest.Dial(t, second, "/theirs", upshifttest.Options{})
			p := watch(t, first, upshifttest.Options{})
			_ = p.Emit(t.Context(), "_disconnect", "/theirs", true)
			synctest.Wait()
			if left := second.Of("/theirs").Len(); (left == 1) != readOnly {
				t.Errorf("read-only: %t, %d are left", readOnly, left)
			}
		})
	}
}
