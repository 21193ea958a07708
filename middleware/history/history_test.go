package history_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/history"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type node struct {
	*core.Server
	*history.History
	broker *adaptertest.BusEngine
}

func start(t *testing.T, bus *adaptertest.Bus, o history.Options) *node {
	t.Helper()
	n := &node{broker: bus.Engine()}
	n.Server = upshifttest.NewServer(t, core.Options{Adapter: cluster.New(n.broker, cluster.Options{})})
	var err error
	if n.History, err = history.New(n.Server, n.Of("/"), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	<-time.After(time.Second)
	return n
}

func (n *node) join(t *testing.T, room string) *upshifttest.Client {
	t.Helper()
	c := upshifttest.Dial(t, n.Server, "/", upshifttest.Options{})
	if err := n.Join(t.Context(), n.Of("/").Socket(c.ID()), room); err != nil {
		t.Fatal(err)
	}
	return c
}

func (n *node) emit(t *testing.T, room, event string, args ...any) {
	t.Helper()
	<-time.After(time.Millisecond) // the order is that of time
	if err := n.Emit(t.Context(), room, event, args...); err != nil {
		t.Error(err)
	}
}

// greeted returns the events in the greeting of a client, and checks their form.
func greeted(t *testing.T, c *upshifttest.Client) string {
	t.Helper()
	var g struct {
		Room   string
		Events []struct {
			ID    string
			Time  int64
			Event string
			Args  []any
		}
	}
	e := c.Next()
	if err := e.Args.Bind(&g); err != nil || e.Name != history.Event || g.Room == "" {
		t.Fatalf("%v: %v", e, err)
	}
	all := make([]string, len(g.Events))
	for i, e := range g.Events {
		if e.ID == "" || e.Time == 0 {
			t.Errorf("%+v", e)
		}
		all[i] = e.Event + strings.Trim(fmt.Sprint(e.Args), "[]")
	}
	return strings.Join(all, " ")
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Who joins gets what was sent before, and then what is sent later, on any server.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		one, two := start(t, bus, history.Options{}), start(t, bus, history.Options{})
		one.emit(t, "r", "a", 1)
		two.emit(t, "r", "b", []byte("bytes"))
		one.emit(t, "elsewhere", "x")
		synctest.Wait()
		here, there := one.join(t, "r"), two.join(t, "r")
		want(t, greeted(t, here), "a1 b98 121 116 101 115")
		want(t, greeted(t, there), "a1 b98 121 116 101 115")
		two.emit(t, "r", "c", "later")
		for _, c := range []*upshifttest.Client{here, there} {
			c.Expect("c", "later")
		}
		// A server that comes later asks.
		three := start(t, bus, history.Options{})
		want(t, greeted(t, three.join(t, "r")), "a1 b98 121 116 101 115 clater")
		if got := three.Last(t.Context(), "r", 1); len(got) != 1 || got[0].Event != "c" {
			t.Errorf("%+v", got)
		}
		if got := three.Last(t.Context(), "nowhere", 10); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		// One that has lost its broker has what it has sent itself.
		three.broker.Cut(true)
		three.emit(t, "r", "d")
		want(t, greeted(t, three.join(t, "r")), "a1 b98 121 116 101 115 clater d")
	})
}

// What a server sends within a millisecond is kept in the order in which it was sent.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		one, two := start(t, bus, history.Options{Size: 20}), start(t, bus, history.Options{Size: 20})
		var last []string
		for i := range 100 { // time stands still
			if err := one.Emit(t.Context(), "r", "n", i); err != nil {
				t.Fatal(err)
			}
			if i >= 80 {
				last = append(last, fmt.Sprint("n", i))
			}
		}
		synctest.Wait()
		for _, n := range []*node{one, two} {
			want(t, greeted(t, n.join(t, "r")), strings.Join(last, " "))
		}
	})
}

// Joining while much is sent: each event comes once, in the greeting or after it.
func TestJoinUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 300
		bus := new(adaptertest.Bus)
		one, two := start(t, bus, history.Options{Size: 2 * events}), start(t, bus, history.Options{Size: 2 * events})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range events {
				one.emit(t, "r", "n", i)
			}
		}()
		for i := range 10 {
			<-time.After(time.Duration(i) * 3 * time.Millisecond)
			c := []*node{one, two}[i%2].join(t, "r")
			next := len(strings.Fields(greeted(t, c)))
			go func() {
				for ; next < events; next++ {
					c.Expect("n", next)
				}
			}()
		}
		<-done
		synctest.Wait()
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, new(adaptertest.Bus), history.Options{Size: 3, MaxRooms: 2, MaxAge: time.Hour})
		for i := range 5 {
			n.emit(t, "a", "n", i)
		}
		want(t, greeted(t, n.join(t, "a")), "n2 n3 n4")
		n.emit(t, "b", "x")
		n.emit(t, "c", "x")
		if got := n.Last(t.Context(), "c", 5); len(got) != 1 {
			t.Errorf("%+v", got)
		}
		want(t, greeted(t, n.join(t, "a")), "")
		<-time.After(2 * time.Hour)
		if got := n.Last(t.Context(), "c", 5); len(got) != 0 {
			t.Errorf("%+v", got)
		}

		small := start(t, new(adaptertest.Bus), history.Options{MaxBytes: 10_000})
		for i := range 100 {
			small.emit(t, fmt.Sprint("room", i), "x", strings.Repeat("x", 1000))
		}
		kept := 0
		for i := range 100 {
			kept += len(small.Last(t.Context(), fmt.Sprint("room", i), 1))
		}
		if kept == 0 || kept > 10 {
			t.Errorf("%d events are kept", kept)
		}
	})
}

// Who joins while others are asked waits for what they say, also if the one for whom
// they were asked has given up.
func TestJoinTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		one := start(t, bus, history.Options{})
		one.emit(t, "r", "a", 1)
		synctest.Wait()
		two := start(t, bus, history.Options{})
		c := upshifttest.Dial(t, two.Server, "/", upshifttest.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := two.Join(ctx, two.Of("/").Socket(c.ID()), "r"); err != nil {
			t.Error(err)
		}
		want(t, greeted(t, two.join(t, "r")), "a1")
	})
}

// A server that has not answered is asked again, but not for everybody who joins.
func TestAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		one := start(t, bus, history.Options{})
		one.emit(t, "r", "a", 1)
		synctest.Wait()
		two := start(t, bus, history.Options{})
		one.broker.Cut(true)
		want(t, greeted(t, two.join(t, "r")), "")
		before := time.Now()
		want(t, greeted(t, two.join(t, "r")), "")
		if took := time.Since(before); took > 0 {
			t.Errorf("it was asked again after nothing, for %v", took)
		}
		one.broker.Cut(false)
		<-time.After(time.Minute)
		want(t, greeted(t, two.join(t, "r")), "a1")
	})
}

// What is counted of what is kept is what is kept, also of rooms that are forgotten
// while something is sent to them.
func TestCount(t *testing.T) {
	n := &node{Server: upshifttest.NewServer(t, core.Options{})}
	var err error
	if n.History, err = history.New(n.Server, n.Of("/"), history.Options{MaxRooms: 1}); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 2000 {
				if err := n.Emit(t.Context(), strconv.Itoa((i+j)%3), "e"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if counted, kept := n.Bytes(); counted != kept {
		t.Errorf("%d bytes are counted, %d are kept", counted, kept)
	}
}

// A client that has come back is told again.
func TestRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{Server: upshifttest.NewServer(t, core.Options{Recovery: &core.Recovery{}})}
		var err error
		if n.History, err = history.New(n.Server, n.Of("/"), history.Options{}); err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		c := n.join(t, "r")
		want(t, greeted(t, c), "")
		c.Cut()
		<-time.After(time.Second)
		n.emit(t, "r", "missed")
		c.Reconnect()
		for e := c.Next(); ; e = c.Next() {
			if e.Name == history.Event {
				break
			}
		}
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, new(adaptertest.Bus), history.Options{})
		if err := n.Emit(t.Context(), "r", "x", make(chan int)); err == nil {
			t.Error("a channel is sent")
		}
		if err := n.Emit(t.Context(), "r", "connect"); err == nil {
			t.Error("a reserved event is sent")
		}
		for _, o := range []history.Options{{Size: -1}, {MaxAge: -1}, {MaxRooms: -1}, {MaxBytes: -1}, {AskTimeout: -1}} {
			if _, err := history.New(n.Server, n.Of("/x"), o); err == nil {
				t.Errorf("%+v is taken", o)
			}
		}
	})
}
