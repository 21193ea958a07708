package adminui_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/upshifttest"
)

// A bus is a cluster in one process. A member that is down answers nothing.
type bus struct{ members []*member }

type member struct {
	bus  *bus
	node core.Node
	down atomic.Bool
	sent atomic.Int64
}

func (b *bus) join() *member {
	m := &member{bus: b}
	b.members = append(b.members, m)
	return m
}

func (m *member) others() iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for _, other := range m.bus.members {
			if other != m && !yield(other) {
				return
			}
		}
	}
}

func (m *member) Attach(node core.Node) error { m.node = node; return nil }

func (m *member) Close(context.Context) error { return nil }

func (m *member) Broadcast(ctx context.Context, b *core.Broadcast) error {
	m.sent.Add(1)
	for other := range m.others() {
		_ = other.node.Deliver(ctx, b)
	}
	return nil
}

func (m *member) Emit(ctx context.Context, e *core.ServerEvent) error {
	for other := range m.others() {
		_, _, _ = other.node.HandleServerEvent(ctx, e)
	}
	return nil
}

func (m *member) Call(ctx context.Context, e *core.ServerEvent) iter.Seq2[core.Args, error] {
	return func(yield func(core.Args, error) bool) {
		for other := range m.others() {
			if other.down.Load() {
				<-ctx.Done()
				if !yield(core.Args{}, ctx.Err()) {
					return
				}
				continue
			}
			answer, ok, err := other.node.HandleServerEvent(ctx, e)
			if !ok {
				continue
			}
			var args core.Args
			if err == nil {
				args = onWire(answer)
			}
			if !yield(args, err) {
				return
			}
		}
	}
}

// A page sees the sockets of every server of a cluster, and its commands reach
// them; a server whose pages have gone is quiet.
func TestCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		one, two := b.join(), b.join()
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
		before := two.sent.Load()
		upshifttest.Dial(t, second, "/", upshifttest.Options{})
		_ = late.Emit(t.Context(), "x")
		synctest.Wait()
		if n := two.sent.Load() - before; n > 1 {
			t.Errorf("%d events for nobody", n)
		}

		two.down.Store(true)
		p = watch(t, first, upshifttest.Options{})
		if all := p.begin(); len(all) != 1 || all[0]["id"] != p.ID() {
			t.Errorf("all_sockets without the other server: %v", all)
		}
	})
}

// A read-only server does not do what the page of another one wants.
func TestClusterReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		first := upshifttest.NewServer(t, core.Options{Adapter: b.join()})
		second := upshifttest.NewServer(t, core.Options{Adapter: b.join()})
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
