package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/presence"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is a server of a cluster, with presence.
type node struct {
	*core.Server
	*presence.Presence
	broker *adaptertest.BusEngine
}

// nodes starts servers. Sockets name themselves when they connect.
func nodes(t *testing.T, count int, change func(o *presence.Options)) []*node {
	t.Helper()
	bus := new(adaptertest.Bus)
	all := make([]*node, count)
	for i := range all {
		n := &node{broker: bus.Engine()}
		n.Server = upshifttest.NewServer(t, core.Options{Adapter: cluster.New(n.broker, cluster.Options{}), Recovery: &core.Recovery{}})
		n.Of("/").OnConnect(func(ctx context.Context, s *core.Socket) error {
			var auth struct{ Room string }
			if err := s.Auth(&auth); err != nil || auth.Room == "" {
				return err
			}
			return s.Join(ctx, auth.Room)
		})
		o := presence.Options{Who: func(s *core.Socket, room string) (presence.Member, bool) {
			var auth struct{ Name string }
			_ = s.Auth(&auth)
			return presence.Member{Key: auth.Name, Meta: strings.ToUpper(auth.Name)}, room != "private"
		}}
		if change != nil {
			change(&o)
		}
		var err error
		if n.Presence, err = presence.New(n.Server, n.Of("/"), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		all[i] = n
	}
	synctest.Wait()
	<-time.After(time.Second)
	return all
}

func (n *node) dial(t *testing.T, name, room string) *upshifttest.Client {
	t.Helper()
	return upshifttest.Dial(t, n.Server, "/", upshifttest.Options{Auth: map[string]any{"name": name, "room": room}})
}

// names are those of members.
func names(members []presence.Member) string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.Key
	}
	return strings.Join(all, " ")
}

// agree checks that all servers know the same.
func agree(t *testing.T, all []*node, room, want string) {
	t.Helper()
	for i, n := range all {
		if got := names(n.Members(room)); got != want || n.Count(room) != len(strings.Fields(want)) {
			t.Errorf("server %d knows of %q (%d), want %q", i, got, n.Count(room), want)
		}
	}
}

func member(name string) map[string]any {
	return map[string]any{"key": name, "meta": strings.ToUpper(name)}
}

func members(names ...string) []any {
	all := make([]any, 0, len(names))
	for _, name := range names {
		all = append(all, member(name))
	}
	return all
}

func stateOf(count int, names ...string) map[string]any {
	return map[string]any{"room": "r", "count": count, "members": members(names...)}
}

func diffOf(count int, joined []any, left ...any) map[string]any {
	return map[string]any{"room": "r", "count": count, "joined": joined, "left": append([]any{}, left...)}
}

// Clients of all servers are told of each other; those with the same key are one.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, nil)
		ann := all[0].dial(t, "ann", "r")
		<-time.After(time.Second)
		ann.Expect(presence.StateEvent, stateOf(1, "ann"))
		ann.Expect(presence.DiffEvent, diffOf(1, members("ann")))

		bob := all[1].dial(t, "bob", "r")
		<-time.After(time.Second)
		ann.Expect(presence.DiffEvent, diffOf(2, members("bob")))
		bob.Expect(presence.StateEvent, stateOf(2, "ann", "bob"))
		bob.Expect(presence.DiffEvent, diffOf(2, members("bob")))
		agree(t, all, "r", "ann bob")

		tab := all[0].dial(t, "bob", "r") // the same person, on another server
		<-time.After(time.Second)
		tab.Expect(presence.StateEvent, stateOf(2, "ann", "bob"))
		bob.Disconnect()
		<-time.After(time.Second)
		ann.ExpectNone()
		agree(t, all, "r", "ann bob")
		tab.Disconnect()
		<-time.After(time.Second)
		ann.Expect(presence.DiffEvent, diffOf(1, members(), "bob"))
		agree(t, all, "r", "ann")

		if err := all[0].Of("/").Socket(ann.ID()).Leave(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		agree(t, all, "r", "")
		all[0].dial(t, "eve", "private")
		<-time.After(time.Second)
		agree(t, all, "private", "")
	})
}

// Who comes and goes within a batch is told of as it is in the end.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, nil)
		ann := all[1].dial(t, "ann", "r")
		<-time.After(time.Second)
		ann.Next()
		ann.Next()
		for i := range 10 {
			all[0].dial(t, fmt.Sprint("u", i), "r")
		}
		all[0].dial(t, "gone", "r").Disconnect()
		<-time.After(time.Second)
		e := ann.Next()
		var d struct {
			Count  int
			Joined []presence.Member
			Left   []string
		}
		if err := e.Args.Bind(&d); err != nil || d.Count != 11 || len(d.Joined) != 10 {
			t.Errorf("%v: %+v, %v", e, d, err)
		}
		ann.ExpectNone()
	})
}

// Of a server that is silent all members have left; when it is back they are there
// again. One that has missed something asks.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 3, nil)
		all[0].dial(t, "ann", "r")
		all[1].dial(t, "bob", "r")
		<-time.After(time.Second)
		agree(t, all, "r", "ann bob")

		all[0].broker.Cut(true)
		all[0].dial(t, "eve", "r")
		all[1].dial(t, "joe", "r")
		<-time.After(time.Minute)
		agree(t, all[:1], "r", "ann eve")
		agree(t, all[1:], "r", "bob joe")
		all[0].broker.Cut(false)
		<-time.After(time.Minute)
		agree(t, all, "r", "ann bob eve joe")

		// Less than a lease: nobody leaves, and what was missed is asked for.
		all[0].broker.Cut(true)
		kim := all[1].dial(t, "kim", "r")
		<-time.After(time.Second)
		all[0].broker.Cut(false)
		<-time.After(10 * time.Second)
		agree(t, all, "r", "ann bob eve joe kim")
		all[0].broker.Cut(true)
		kim.Disconnect()
		<-time.After(time.Second)
		all[0].broker.Cut(false)
		<-time.After(10 * time.Second)
		agree(t, all, "r", "ann bob eve joe")

		all[1].Close()
		synctest.Wait()
		agree(t, []*node{all[0], all[2]}, "r", "ann eve")
	})
}

// While one question to a server is open it is not asked another, however much it has
// to tell.
func TestAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, func(o *presence.Options) { o.Interval = time.Hour })
		release := make(chan struct{})
		all[0].Of("/").OnServerSide("block", func(context.Context, core.Args) (any, error) {
			<-release // and with it all that comes from the same server
			return nil, nil
		})
		if err := all[1].Of("/").ServerSideEmit(t.Context(), "block"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all[1].broker.Cut(true)
		all[0].dial(t, "missed", "r")
		<-time.After(time.Second)
		all[1].broker.Cut(false)
		for i := range 5 {
			all[0].dial(t, fmt.Sprint("u", i), "r")
			<-time.After(time.Second)
		}
		if n := all[1].Adapter().(*cluster.Adapter).Stats().Requests; n != 1 {
			t.Errorf("%d questions are open", n)
		}
		close(release)
		<-time.After(time.Second)
		agree(t, all, "r", "missed u0 u1 u2 u3 u4")
	})
}

// After Close nobody learns of members here any more, and nothing is kept for them.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, func(o *presence.Options) { o.Interval = time.Hour })
		all[0].dial(t, "ann", "r")
		<-time.After(time.Second)
		all[0].Close()
		all[0].dial(t, "bob", "r")
		if n := all[0].Waiting(); n != 0 {
			t.Errorf("%d are to be greeted", n)
		}
		late, err := presence.New(all[1].Server, all[1].Of("/"), presence.Options{
			Who: func(*core.Socket, string) (presence.Member, bool) { return presence.Member{}, false },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		<-time.After(time.Second)
		if got := names(late.Members("r")); got != "" {
			t.Errorf("it knows of %q", got)
		}
	})
}

// A server that comes later learns of all.
func TestLatecomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, func(o *presence.Options) { o.Interval = time.Hour })
		all[0].dial(t, "ann", "r")
		<-time.After(time.Second)
		all[1].Close() // and another takes its place
		late, err := presence.New(all[1].Server, all[1].Of("/"), presence.Options{
			Who: func(*core.Socket, string) (presence.Member, bool) { return presence.Member{}, false },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		<-time.After(time.Second)
		if got := names(late.Members("r")); got != "ann" {
			t.Errorf("it knows of %q", got)
		}
	})
}

// A client that has come back is there again, and is told who is.
func TestRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})
		p, err := presence.New(srv, srv.Of("/"), presence.Options{
			Who: func(s *core.Socket, _ string) (presence.Member, bool) { return presence.Member{Key: s.ID()}, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := srv.Of("/").Socket(c.ID()).Join(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		c.Next()
		c.Next()
		c.Cut()
		<-time.After(time.Second)
		if p.Count("r") != 0 {
			t.Error("it is there")
		}
		c.Reconnect()
		<-time.After(time.Second)
		if p.Count("r") != 1 || !c.Recovered() {
			t.Errorf("%d members, recovered %v", p.Count("r"), c.Recovered())
		}
		for c.Next().Name != presence.StateEvent {
			continue // what she has missed comes first
		}
	})
}

// A client that comes back while its old socket still handles something is there, and
// stays there when that has ended.
func TestRecoveredEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{
			Adapter: cluster.NewRecovering(new(adaptertest.Bus).Engine(), cluster.Options{}), Recovery: &core.Recovery{},
		})
		p, err := presence.New(srv, srv.Of("/"), presence.Options{
			Who: func(s *core.Socket, _ string) (presence.Member, bool) { return presence.Member{Key: s.ID()}, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		begun, end := make(chan struct{}), make(chan struct{})
		core.On(srv.Of("/"), "slow", func(context.Context, *core.Socket, struct{}) (struct{}, error) {
			close(begun)
			<-end
			return struct{}{}, nil
		})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		if err := srv.Of("/").Socket(c.ID()).Join(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if err := c.Emit(t.Context(), "slow", struct{}{}); err != nil {
			t.Fatal(err)
		}
		<-begun
		c.Cut()
		<-time.After(time.Second)
		c.Reconnect()
		close(end)
		<-time.After(time.Second)
		if !c.Recovered() || p.Count("r") != 1 {
			t.Errorf("recovered %v, %d members", c.Recovered(), p.Count("r"))
		}
	})
}

// Who joins and is gone before that is told, or is refused after it, is not there.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		srv.Of("/").Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				var auth struct{ Room string }
				if !r.Connect() || r.Socket.Auth(&auth) != nil || auth.Room == "" {
					return next(ctx, r)
				}
				if err := r.Socket.Join(ctx, auth.Room); err != nil {
					return err
				}
				return errors.New("and yet not welcome")
			}
		})
		gone := make(chan struct{}, 1)
		srv.Observe(core.Hooks{RoomJoined: func(_ *core.Socket, room string) {
			if room == "late" {
				<-gone
			}
		}})
		p, err := presence.New(srv, srv.Of("/"), presence.Options{
			Who: func(s *core.Socket, _ string) (presence.Member, bool) { return presence.Member{Key: s.ID()}, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		srv.Observe(core.Hooks{Disconnected: func(*core.Socket, *core.CloseError) { gone <- struct{}{} }})
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		s := srv.Of("/").Socket(c.ID())
		joined := make(chan error, 1)
		go func() { joined <- s.Join(t.Context(), "late") }()
		synctest.Wait()
		c.Disconnect()
		if err := <-joined; err != nil {
			t.Error(err)
		}
		_ = upshifttest.Refused(t, srv, "/", upshifttest.Options{Auth: map[string]any{"room": "refused"}})
		<-time.After(time.Second)
		for _, room := range []string{"late", "refused"} {
			if n := p.Count(room); n != 0 {
				t.Errorf("%d members are in %q", n, room)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := nodes(t, 2, func(o *presence.Options) { o.MaxListed, o.MaxMembers = 2, 3 })
		for i := range 5 {
			all[0].dial(t, fmt.Sprint("u", i), "r")
		}
		<-time.After(time.Second)
		if here, there := all[0].Count("r"), all[1].Count("r"); here != 5 || there != 3 {
			t.Errorf("%d members here and %d there", here, there)
		}
		var s struct {
			Count   int
			Members []presence.Member
		}
		if err := all[0].dial(t, "v", "r").Next().Args.Bind(&s); err != nil || s.Count != 6 || len(s.Members) != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

func TestOptions(t *testing.T) {
	srv := upshifttest.NewServer(t, core.Options{})
	who := func(*core.Socket, string) (presence.Member, bool) { return presence.Member{}, false }
	for _, o := range []presence.Options{{}, {Who: who, Batch: -1}, {Who: who, Interval: -1}, {Who: who, Lease: time.Second}, {Who: who, MaxMembers: -1}} {
		if _, err := presence.New(srv, srv.Of("/"), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
