package adminui_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
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

// A read-only server does not do what the page of another one wants.
func TestClusterReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		first := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
		second := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
		instrument(t, first, open(nil))
		instrument(t, second, open(func(o *adminui.Options) { o.ReadOnly = true }))
		upshifttest.Dial(t, first, "/", upshifttest.Options{})
		upshifttest.Dial(t, second, "/", upshifttest.Options{})
		p := watch(t, first, upshifttest.Options{})
		_ = p.Emit(t.Context(), "_disconnect", "/", true)
		synctest.Wait()
		if first.Of("/").Len() != 0 || second.Of("/").Len() != 1 {
			t.Errorf("%d and %d sockets are left", first.Of("/").Len(), second.Of("/").Len())
		}
	})
}
