package core_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
)

// bus is a cluster in one process.
type bus struct{ members []*member }

// member is the adapter of one server on the bus.
type member struct {
	bus    *bus
	node   core.Node
	err    error // of everything that is sent
	closed int

	changes []string // as they were reported
}

func (b *bus) join() *member {
	m := &member{bus: b}
	b.members = append(b.members, m)
	return m
}

func (m *member) Attach(node core.Node) error { m.node = node; return m.err }

func (m *member) Close(context.Context) error { m.closed++; return nil }

func (m *member) others() iter.Seq[core.Node] {
	return func(yield func(core.Node) bool) {
		for _, other := range m.bus.members {
			if other != m && !yield(other.node) {
				return
			}
		}
	}
}

func (m *member) Broadcast(ctx context.Context, b *core.Broadcast) error {
	if m.err != nil {
		return m.err
	}
	for node := range m.others() {
		if err := node.Deliver(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) CallAll(ctx context.Context, b *core.Broadcast) iter.Seq2[core.Args, error] {
	return func(yield func(core.Args, error) bool) {
		for node := range m.others() {
			for reply, err := range node.CallAll(ctx, b, func(int) {}) {
				if err != nil {
					err = &core.PartialError{Servers: 1, Answered: 1, Clients: 1, Err: err}
				}
				if args, _ := reply.Answer.(core.Args); !yield(args, err) {
					return
				}
			}
		}
	}
}

func (m *member) Update(ctx context.Context, u *core.Update) error {
	if m.err != nil {
		return m.err
	}
	for node := range m.others() {
		if err := node.Update(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) Fetch(_ context.Context, namespace string, in, except []string) (all []core.SocketInfo, err error) {
	for node := range m.others() {
		all = append(all, node.Describe(namespace, in, except)...)
	}
	return all, m.err
}

func (m *member) Changed(namespace string, rooms ...string) {
	m.changes = append(m.changes, strings.Join(append([]string{namespace}, rooms...), " "))
}

func (m *member) Emit(ctx context.Context, e *core.ServerEvent) error {
	for node := range m.others() {
		if _, _, err := node.HandleServerEvent(ctx, e); err != nil {
			return err
		}
	}
	return m.err
}

func (m *member) Call(ctx context.Context, e *core.ServerEvent) iter.Seq2[core.Args, error] {
	return func(yield func(core.Args, error) bool) {
		for node := range m.others() {
			answer, ok, err := node.HandleServerEvent(ctx, e)
			if !ok {
				continue
			}
			var args core.Args
			if err == nil {
				args, _ = answer[0].(core.Args)
			}
			if !yield(args, err) {
				return
			}
		}
	}
}

// A broadcast reaches the sockets of the other servers, once and only if they
// are meant.
func TestAdapterBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		one := newRig(t, core.Options{Adapter: b.join()})
		two := newRig(t, core.Options{Adapter: b.join()})
		one.Of("/only here")
		c, d, e := one.join(), two.join(), two.join()
		synctest.Wait()
		n := one.Of("/")
		from := socketOf(t, n)
		if err := two.Of("/").Sockets()[0].Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		inRoom := two.Of("/").To("room").Sockets()[0]
		emit(t, n, "all", []byte("bytes"))
		for _, x := range []*client{c, d, e} {
			x.expect(`51-["all",{"_placeholder":true,"num":0}]`, "binary:bytes")
		}
		emit(t, n.To().Local(), "local")
		emit(t, from.Broadcast(), "others")
		emit(t, n.To("room"), "room")
		emit(t, n.To(inRoom.ID()), "by id")
		emit(t, from.Self().To("room"), "self and room")
		emit(t, one.Of("/only here"), "nobody there")
		emit(t, n, "end")
		c.expect(`2["local"]`, `2["self and room"]`, `2["end"]`)
		got := make(map[string]int)
		for _, x := range []*client{d, e} {
			for m := x.next(); m != `2["end"]`; m = x.next() {
				got[m]++
			}
		}
		for m, want := range map[string]int{`2["others"]`: 2, `2["room"]`: 1, `2["by id"]`: 1, `2["self and room"]`: 1} {
			if got[m] != want {
				t.Errorf("%s arrived %d times, want %d", m, got[m], want)
			}
			delete(got, m)
		}
		if len(got) > 0 {
			t.Errorf("%v arrived as well", got)
		}

		broken := errors.New("broken")
		b.members[0].err = broken
		if err := n.Emit(t.Context(), "still here"); !errors.Is(err, broken) {
			t.Errorf("Emit: %v", err)
		}
		c.expect(`2["still here"]`)
		if err := one.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if b.members[0].closed != 1 {
			t.Errorf("closed %d times", b.members[0].closed)
		}
	})
	failed := errors.New("failed")
	if _, err := core.New(core.Options{Adapter: &member{bus: new(bus), err: failed}}); !errors.Is(err, failed) {
		t.Errorf("New: %v", err)
	}
}

func TestServerSideEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		servers := make([]*rig, 3)
		var heard []string
		for i := range servers {
			servers[i] = newRig(t, core.Options{Adapter: b.join()})
			servers[i].Of("/").OnServerSide("hello", func(_ context.Context, args core.Args) (any, error) {
				var name string
				err := args.Bind(&name)
				heard = append(heard, name)
				return args, err
			})
		}
		servers[2].Of("/").OnServerSide("hello", func(context.Context, core.Args) (any, error) { panic("of the program") })
		n := servers[0].Of("/")
		if err := n.ServerSideEmit(t.Context(), "hello", "one"); err == nil {
			t.Error("the panic of the third server is lost")
		}
		answers, failures := 0, 0
		for args, err := range n.ServerSideCall(t.Context(), "hello", "two") {
			var name string
			if err != nil {
				failures++
			} else if err := args.Bind(&name); err != nil || name != "two" {
				t.Errorf("answer %q, %v", name, err)
			} else {
				answers++
			}
		}
		if answers != 1 || failures != 1 || !slices.Equal(heard, []string{"one", "two"}) {
			t.Errorf("%d answers, %d failures, heard %q", answers, failures, heard)
		}
		if err := n.ServerSideEmit(t.Context(), "nobody listens"); err != nil {
			t.Error(err)
		}
		if err := n.ServerSideEmit(t.Context(), "new_namespace"); !errors.Is(err, core.ErrReservedEvent) {
			t.Errorf("reserved name: %v", err)
		}
		alone := newRig(t, core.Options{}).Of("/")
		if err := alone.ServerSideEmit(t.Context(), "hello"); !errors.Is(err, core.ErrNoAdapter) {
			t.Errorf("without adapter: %v", err)
		}
		for args, err := range alone.ServerSideCall(t.Context(), "hello") {
			t.Errorf("without adapter: %v, %v", args, err)
		}
	})
}

// What is to happen to a slow client is the same on all servers.
func TestAdapterOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const emits = 50
		b := new(bus)
		one := newRig(t, core.Options{Adapter: b.join()})
		two := newRig(t, core.Options{Adapter: b.join(), MaxOutboxPackets: 10})
		c := two.join()
		c.pipe.Stall(true)
		emit(t, two.Of("/"), "filler", strings.Repeat("x", 100_000)) // the pipe is full
		synctest.Wait()
		for i := range emits {
			emit(t, one.Of("/").To().Latest("EURUSD"), "price", i)
		}
		for range emits {
			emit(t, one.Of("/").To().Overflow(core.DropNewest), "news")
		}
		if st := two.Stats(); st.Replaced != emits-1 || st.OverflowDropped != emits-8 || st.SlowConsumers != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}
