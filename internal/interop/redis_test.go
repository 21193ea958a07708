package interop

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/emitter"
	"github.com/upshift-go/upshift/adapters/redis"
	"github.com/upshift-go/upshift/adapters/redis/streams"
	goclient "github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
	"github.com/upshift-go/upshift/internal/redistest"
)

// A mixed cluster is an official server and one of ours, with a client on each.
type mixed struct {
	node *clusterNode
	srv  *core.Server
	url  string // of srv

	onNode, onGo *clusterClient
	heard        *journal[string] // what our server has been sent by the other
}

// A clusterClient is a client and what it has received.
type clusterClient struct {
	*goclient.Socket
	*journal[string]
}

// flavours are the adapters that both have.
var flavours = map[string]struct {
	adapter func(addr, key string) core.Adapter
	options map[string]any // of the official one
}{
	"classic": {adapter: func(addr, key string) core.Adapter {
		return redis.New(redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}, Key: key})
	}},
	"classic, specific responses": {
		adapter: func(addr, key string) core.Adapter {
			return redis.New(redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}, Key: key, SharedResponses: true})
		},
		options: map[string]any{"publishOnSpecificResponseChannel": true},
	},
	"sharded": {adapter: func(addr, key string) core.Adapter {
		return redis.NewSharded(redis.ShardedOptions{Options: redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}, Key: key}})
	}},
	"sharded, static": {
		adapter: func(addr, key string) core.Adapter {
			return redis.NewSharded(redis.ShardedOptions{
				Options: redis.Options{Client: rueidis.ClientOption{InitAddress: []string{addr}}, Key: key}, Mode: redis.Static,
			})
		},
		options: map[string]any{"subscriptionMode": "static"},
	},
	"streams": {adapter: func(addr, key string) core.Adapter { return streams.New(streamsOptions(addr, key)) }},
}

// streamsOptions are those of clusternode.mjs.
func streamsOptions(addr, key string) streams.Options {
	return streams.Options{
		Client: rueidis.ClientOption{InitAddress: []string{addr}}, Stream: key, Channels: key, States: key + ":session:",
	}
}

// eachFlavour runs a test on a cluster of two servers with each adapter.
func eachFlavour(t *testing.T, test func(t *testing.T, m *mixed)) {
	server := redistest.Start(t)
	for name, flavour := range flavours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := "key " + t.Name()
			test(t, startMixed(t, server.Addr, strings.Split(name, ",")[0], key, flavour.adapter(server.Addr, key), flavour.options))
		})
	}
}

func startMixed(t *testing.T, addr, kind, key string, adapter core.Adapter, options map[string]any) *mixed {
	t.Helper()
	srv, err := core.New(core.Options{Adapter: adapter})
	if err != nil {
		t.Fatal(err)
	}
	m := &mixed{srv: srv, heard: newJournal[string]()}
	site := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		site.Close()
	})
	srv.OfPattern("/made/{name}")
	n := srv.Of("/")
	n.OnConnect(func(_ context.Context, s *core.Socket) error {
		sharedUser.Set(s, "of go")
		return nil
	})
	n.OnServerSide("hello", func(_ context.Context, args core.Args) (any, error) {
		text, err := args.MarshalJSON()
		m.heard.add(string(text))
		return map[string]any{"from": "go", "args": args}, err
	})
	m.url = site.URL
	m.node = startClusterNode(t, addr, kind, key, nil, options)
	m.onNode, m.onGo = clusterConnect(t, m.node.url, "/"), clusterConnect(t, site.URL, "/")
	m.ready(t)
	return m
}

var sharedUser = core.NewSharedKey[string]("user")

// clusterConnect connects a client that answers "who" and keeps what it gets.
func clusterConnect(t *testing.T, url, namespace string) *clusterClient {
	t.Helper()
	c := &clusterClient{journal: newJournal[string]()}
	c.Socket = goConnect(t, url+namespace, goclient.Options{Reconnection: quick}, func(s *goclient.Socket) {
		s.OnAny(func(_ context.Context, name string, args codec.Args) {
			values := make([]any, 0, args.Len())
			for i := range args.Len() {
				var v any
				if err := args.Raw(i).Bind(&v); err != nil {
					t.Error(err)
				}
				if b, ok := v.([]byte); ok {
					v = "hex:" + hex.EncodeToString(b)
				}
				values = append(values, v)
			}
			c.add(fmt.Sprint(name, values))
		})
		s.Listen("who", func(context.Context, event.Arguments) ([]any, error) { return []any{s.ID()}, nil })
		s.OnDisconnect(func(_ context.Context, cause error) { c.add("disconnect: " + cause.Error()) })
	})
	return c
}

// ready waits until both servers hear of each other.
func (m *mixed) ready(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		all, err := m.srv.Of("/").To().Fetch(ctx)
		cancel()
		var there []struct{ ID string }
		nodeErr := m.node.do(t, "fetch", nil, &there)
		if err == nil && nodeErr == nil && len(all) == 2 && len(there) == 2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the servers do not see each other: %d sockets here, %v; %d there, %v", len(all), err, len(there), nodeErr)
		}
	}
}

func (m *mixed) emit(t *testing.T, target core.Target, name string, args ...any) {
	t.Helper()
	if err := target.Emit(t.Context(), name, args...); err != nil {
		t.Fatal(err)
	}
}

func TestClusterBroadcasts(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		at := time.UnixMilli(1_700_000_000_123).UTC()
		all := m.srv.Of("/").To()
		both := []*clusterClient{m.onNode, m.onGo}
		expect := func(want string, clients ...*clusterClient) {
			t.Helper()
			for _, c := range clients {
				c.await(t, want, is(want))
			}
		}

		// From Go.
		m.emit(t, all, "go", 1, "x", nil, 1.5, true, map[string]any{"deep": []any{1}})
		expect("go[1 x <nil> 1.5 true map[deep:[1]]]", both...)
		m.emit(t, all, "bytes", []byte{1, 2, 255})
		expect("bytes[hex:0102ff]", both...)
		m.emit(t, all, "date", at)
		expect("date[2023-11-14T22:13:20.123Z]", both...)
		m.emit(t, all.Volatile(), "volatile")
		expect("volatile[]", both...)
		m.emit(t, all.To(m.onNode.ID()), "by id")
		expect("by id[]", m.onNode)
		m.emit(t, all.Except(m.onNode.ID()), "except")
		expect("except[]", m.onGo)

		// From Node.
		m.node.must(t, "emit", command{"event": "node", "args": []any{1, "x", nil, 1.5, map[string]any{"deep": []any{1}}}}, nil)
		expect("node[1 x <nil> 1.5 map[deep:[1]]]", both...)
		m.node.must(t, "emit", command{"event": "bytes", "args": []any{map[string]any{"$bytes": "0102ff"}}}, nil)
		expect("bytes[hex:0102ff]", both...)
		m.node.must(t, "emit", command{"event": "date", "args": []any{map[string]any{"$date": at}}}, nil)
		expect("date[2023-11-14T22:13:20.123Z]", both...)
		m.node.must(t, "emit", command{"event": "volatile", "volatile": true}, nil)
		expect("volatile[]", both...)
		m.node.must(t, "emit", command{"event": "by id", "rooms": []string{m.onGo.ID()}}, nil)
		expect("by id[]", m.onGo)
		m.node.must(t, "emit", command{"event": "except", "except": []string{m.onGo.ID()}}, nil)
		expect("except[]", m.onNode)
		m.node.must(t, "emit", command{"event": "ünïcödé", "args": []any{strings.Repeat("💥", 5000)}}, nil)
		expect("ünïcödé["+strings.Repeat("💥", 5000)+"]", both...)
		for _, c := range both {
			if rest := c.takeN(1, func(string) bool { return true }); len(rest) > 0 {
				t.Errorf("there is %q left", rest)
			}
		}
	})
}

func TestClusterRooms(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		// Go puts the client of Node into rooms, and Node that of Go.
		target := m.srv.Of("/").To(m.onNode.ID())
		if err := target.Join(t.Context(), "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
		if err := target.Leave(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		m.node.must(t, "join", command{"rooms": []string{m.onGo.ID()}, "names": []string{"a", "d", "e"}}, nil)
		m.node.must(t, "leave", command{"rooms": []string{m.onGo.ID()}, "names": []string{"e"}}, nil)
		m.untilRooms(t, []string{"a", "b"}, []string{"a", "d"})
		for range 20 { // the sharded adapter of Node subscribes to a room's channel in its own time
			m.emit(t, m.srv.Of("/").To("a"), "a")
			m.node.must(t, "emit", command{"event": "a", "rooms": []string{"a"}}, nil)
			<-time.After(20 * time.Millisecond)
		}
		for _, c := range []*clusterClient{m.onNode, m.onGo} {
			c.awaitN(t, 21, "a room on both", is("a[]"))
		}
		m.emit(t, m.srv.Of("/").To("a").Except("d"), "not d")
		m.onNode.await(t, "not d", is("not d[]"))
		m.node.must(t, "emit", command{"event": "b or d", "rooms": []string{"b", "d"}}, nil)
		m.onNode.await(t, "b or d", is("b or d[]"))
		m.onGo.await(t, "b or d", is("b or d[]"))
	})
}

// untilRooms waits until the clients are in these rooms besides their own.
func (m *mixed) untilRooms(t *testing.T, node, here []string) {
	t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		var there []string
		m.node.must(t, "rooms", command{"socket": m.onNode.ID()}, &there)
		s := m.srv.Of("/").Socket(m.onGo.ID())
		if sameRooms(there, m.onNode.ID(), node) && sameRooms(s.Rooms(), m.onGo.ID(), here) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("rooms %q on Node, %q here", there, s.Rooms())
		}
	}
}

func sameRooms(rooms []string, id string, want []string) bool {
	rooms = slices.DeleteFunc(slices.Clone(rooms), func(room string) bool { return room == id })
	slices.Sort(rooms)
	return slices.Equal(rooms, want)
}

func TestClusterAnswers(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		want := []string{m.onNode.ID(), m.onGo.ID()}
		slices.Sort(want)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var got []string
		for reply, err := range m.srv.Of("/").To().CallAll(ctx, "who", []any{"x", []byte{1}}) {
			var id string
			if err = errors.Join(err, reply.Answer.Bind(&id)); err != nil {
				t.Fatal(err)
			}
			got = append(got, id)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("Go hears %q, want %q", got, want)
		}
		var answered struct {
			Error   string
			Answers []string
		}
		m.node.must(t, "ask", command{"event": "who", "args": []any{"x", map[string]any{"$bytes": "01"}}}, &answered)
		if slices.Sort(answered.Answers); !slices.Equal(answered.Answers, want) || answered.Error != "" {
			t.Errorf("Node hears %+v, want %q", answered, want)
		}
		var one string
		m.node.must(t, "askOne", command{"event": "who", "socket": m.onGo.ID()}, &one)
		if one != m.onGo.ID() {
			t.Errorf("the remote socket answers %q", one)
		}
	})
}

func TestClusterFetch(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all, err := m.srv.Of("/").To(m.onNode.ID()).Fetch(ctx)
		if err != nil || len(all) != 1 {
			t.Fatalf("%d sockets, %v", len(all), err)
		}
		s := &all[0]
		if name, ok, err := sharedUser.From(s); name != "of node" || !ok || err != nil {
			t.Errorf("data %q, %v, %v", name, ok, err)
		}
		if s.ID != m.onNode.ID() || !slices.Contains(s.Rooms, s.ID) || time.Since(s.Handshake.When()) > time.Hour ||
			s.Handshake.Query["EIO"] != "4" || s.Handshake.Address != "127.0.0.1" {
			t.Errorf("%+v", s)
		}
		var there []struct {
			ID        string
			Rooms     []string
			Data      struct{ User string }
			Handshake struct {
				Issued  int64
				Address string
				URL     string
				Time    string
				Headers map[string]string
				Query   map[string]string
				Auth    map[string]any
				XDomain *bool
				Secure  *bool
			}
		}
		m.node.must(t, "fetch", command{"rooms": []string{m.onGo.ID()}}, &there)
		if len(there) != 1 {
			t.Fatalf("Node finds %d sockets", len(there))
		}
		got := there[0]
		if got.ID != m.onGo.ID() || got.Data.User != "of go" || !slices.Equal(got.Rooms, []string{got.ID}) || got.Handshake.Query["EIO"] != "4" ||
			got.Handshake.Issued < 1_700_000_000_000 || got.Handshake.Address != "127.0.0.1" || got.Handshake.Auth == nil ||
			got.Handshake.XDomain == nil || got.Handshake.Secure == nil || !strings.HasPrefix(got.Handshake.URL, "/socket.io/?") ||
			got.Handshake.Headers["upgrade"] == "" {
			t.Errorf("Node finds %+v", got)
		}
		if _, err := time.Parse("Mon Jan 02 2006 15:04:05 GMT-0700 (Coordinated Universal Time)", got.Handshake.Time); err != nil {
			t.Error(err)
		}
	})
}

func TestClusterServerSide(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		n := m.srv.Of("/")
		if err := n.ServerSideEmit(t.Context(), "hello", "node", 1, map[string]any{"a": []any{}}); err != nil {
			t.Fatal(err)
		}
		r := m.node.await(t, "hello", func(r clusterReport) bool { return r.Kind == "hello" })
		if got := fmt.Sprint(r.Args); got != "[node 1 map[a:[]]]" {
			t.Errorf("Node hears %s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		answers := 0
		for args, err := range n.ServerSideCall(ctx, "hello", "you") {
			var answer struct {
				From string
				Args []string
			}
			if err = errors.Join(err, args.Bind(&answer)); err != nil || answer.From != "node" || !slices.Equal(answer.Args, []string{"you"}) {
				t.Errorf("%+v, %v", answer, err)
			}
			answers++
		}
		if answers != 1 {
			t.Errorf("%d answers", answers)
		}
		m.node.must(t, "serverSideEmit", command{"event": "hello", "args": []any{"go", 2}}, nil)
		m.heard.await(t, "hello", is(`["go",2]`))
		var there []struct {
			From string
			Args []any
		}
		m.node.must(t, "serverSideAsk", command{"event": "hello", "args": []any{"go", 3}}, &there)
		if len(there) != 1 || there[0].From != "go" || fmt.Sprint(there[0].Args) != "[go 3]" {
			t.Errorf("Node is answered %+v", there)
		}
	})
}

func TestClusterDisconnect(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		m.srv.Of("/").To(m.onNode.ID()).Disconnect()
		m.onNode.await(t, "the end", begins("disconnect: "))
		m.node.must(t, "disconnect", command{"rooms": []string{m.onGo.ID()}, "close": true}, nil)
		m.onGo.await(t, "the end", begins("disconnect: "))
	})
}

// A namespace that clients have made is there on both, and only while it is wanted.
func TestClusterDynamicNamespaces(t *testing.T) {
	eachFlavour(t, func(t *testing.T, m *mixed) {
		there := clusterConnect(t, m.node.url, "/made/x")
		here := clusterConnect(t, m.url, "/made/x")
		for end := time.Now().Add(patience); ; {
			m.node.must(t, "emit", command{"namespace": "/made/x", "event": "made"}, nil)
			if len(here.takeN(1, is("made[]"))) > 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the namespace is not reached")
			}
			<-time.After(20 * time.Millisecond)
		}
		for _, n := range m.srv.Namespaces() {
			if n.Name() == "/made/x" {
				m.emit(t, n.To(), "from go")
			}
		}
		there.await(t, "from go", is("from go[]"))
	})
}

// The official emitter reaches our clients.
func TestRedisEmitter(t *testing.T) {
	server := redistest.Start(t)
	key := "emitter"
	m := startMixed(t, server.Addr, "classic", key, flavours["classic"].adapter(server.Addr, key), nil)
	m.node.must(t, "emitter", command{"event": "all", "args": []any{1, map[string]any{"$bytes": "ff"}}}, nil)
	for _, c := range []*clusterClient{m.onNode, m.onGo} {
		c.await(t, "all", is("all[1 hex:ff]"))
	}
	m.node.must(t, "emitterJoin", command{"rooms": []string{m.onGo.ID()}, "names": []string{"room"}}, nil)
	m.untilRooms(t, []string{}, []string{"room"})
	m.node.must(t, "emitter", command{"event": "room", "rooms": []string{"room"}, "volatile": true}, nil)
	m.onGo.await(t, "room", is("room[]"))
	m.node.must(t, "emitterServerSide", command{"event": "hello", "args": []any{"from the emitter"}}, nil)
	m.heard.await(t, "hello", is(`["from the emitter"]`))
	m.node.must(t, "emitterDisconnect", command{"rooms": []string{"room"}, "close": true}, nil)
	m.onGo.await(t, "the end", begins("disconnect: "))
}

// Our emitter reaches the clients of both.
func TestGoEmitter(t *testing.T) {
	server := redistest.Start(t)
	const key = "go emitter"
	m := startMixed(t, server.Addr, "classic", key, flavours["classic"].adapter(server.Addr, key), nil)
	e, err := emitter.New(redis.NewEngine(redis.Options{Client: rueidis.ClientOption{InitAddress: []string{server.Addr}}, Key: key}), emitter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	send := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	send(e.Emit(t.Context(), "all", 1, []byte{255}))
	for _, c := range []*clusterClient{m.onNode, m.onGo} {
		c.await(t, "all", is("all[1 hex:ff]"))
	}
	send(e.To(m.onNode.ID(), m.onGo.ID()).Join(t.Context(), "room"))
	m.untilRooms(t, []string{"room"}, []string{"room"})
	send(e.To("room").Except(m.onGo.ID()).Emit(t.Context(), "node alone"))
	m.onNode.await(t, "node alone", is("node alone[]"))
	send(e.Of("/").ServerSideEmit(t.Context(), "hello", "both"))
	m.heard.await(t, "hello", is(`["both"]`))
	m.node.await(t, "hello", func(r clusterReport) bool { return r.Kind == "hello" && fmt.Sprint(r.Args) == "[both]" })
	send(e.To("room").CloseSessions(t.Context()))
	for _, c := range []*clusterClient{m.onNode, m.onGo} {
		c.await(t, "the end", begins("disconnect: "))
	}
}
