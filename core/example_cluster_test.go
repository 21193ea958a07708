package core_test

import (
	"context"
	"fmt"
	"runtime"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// newCluster makes two servers that know each other. In production the adapter is
// that of adapters/redis, or another.
func newCluster() (one, two *demo) {
	bus := new(adaptertest.Bus)
	first, second := cluster.New(bus.Engine(), cluster.Options{}), cluster.New(bus.Engine(), cluster.Options{})
	one, two = newDemo(core.Options{Adapter: first}), newDemo(core.Options{Adapter: second})
	for first.Stats().Servers < 1 || second.Stats().Servers < 1 {
		runtime.Gosched()
	}
	return one, two
}

// The sockets of a room, on whatever server they are. To act on one, use its id as
// a room.
func ExampleTarget_Fetch() {
	one, two := newCluster()
	defer one.close()
	defer two.close()
	ctx := context.Background()
	for _, srv := range []*demo{one, two} {
		srv.Of("/").OnConnect(welcome)
	}
	one.member("tea")
	bob := two.member("coffee")

	infos, err := one.Of("/").To("coffee").Fetch(ctx)
	if err != nil { // a *core.PartialError comes with the sockets of those who have answered
		fmt.Println(err)
	}
	for _, info := range infos {
		fmt.Println(info.ID == bob.sid, len(info.Rooms))
		_ = one.Of("/").To(info.ID).Emit(ctx, "order", "now?")
	}
	fmt.Println("Bob:", bob.next())
	// Output:
	// true 2
	// Bob: order "now?"
}

// What a handler keeps with a socket of one server, others see.
func ExampleNewSharedKey() {
	one, two := newCluster()
	defer one.close()
	defer two.close()
	user := core.NewSharedKey[string]("user") // the same name everywhere
	for _, srv := range []*demo{one, two} {
		core.On(srv.Of("/"), "login", func(_ context.Context, s *core.Socket, name string) (core.None, error) {
			user.Set(s, name)
			return core.None{}, nil
		})
	}
	one.join("/", nil).ask("login", "Ann")

	infos, err := two.Of("/").To().Fetch(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	for _, info := range infos {
		name, ok, err := user.From(&info)
		fmt.Println(name, ok, err)
	}
	// Output: Ann true <nil>
}

// An event for the other servers, which no client sees.
func ExampleNamespace_ServerSideEmit() {
	one, two := newCluster()
	defer one.close()
	defer two.close()
	dropped := make(chan string)
	two.Of("/").OnServerSide("price changed", func(_ context.Context, args core.Args) (any, error) {
		var item string
		if err := args.Bind(&item); err != nil {
			return nil, err
		}
		dropped <- item // from a cache, say
		return nil, nil
	})

	fmt.Println(one.Of("/").ServerSideEmit(context.Background(), "price changed", "tea"))
	fmt.Println(<-dropped)
	// Output:
	// <nil>
	// tea
}

// A question to the other servers, and what each of them answers.
func ExampleNamespace_ServerSideCall() {
	one, two := newCluster()
	defer one.close()
	defer two.close()
	for _, srv := range []*demo{one, two} {
		srv.Of("/").OnServerSide("count", func(context.Context, core.Args) (any, error) {
			return srv.Of("/").Len(), nil
		})
	}
	one.join("/", nil)
	two.join("/", nil)
	two.join("/", nil)

	total := one.Of("/").Len() // the others do not include this one
	for answer, err := range one.Of("/").ServerSideCall(context.Background(), "count") {
		var n int
		if err == nil {
			err = answer.Bind(&n)
		}
		if err != nil {
			fmt.Println(err)
		}
		total += n
	}
	fmt.Println(total)
	// Output: 3
}
