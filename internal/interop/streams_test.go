package interop

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/adapters/redis/streams"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/redistest"
)

// The official client loses a server of Node and finds everything on one of ours,
// and the other way round, again and again.
func TestRecoveryBetweenNodeAndGo(t *testing.T) {
	redis := redistest.Start(t)
	key := "recovery"
	srv, err := core.New(core.Options{Adapter: streams.New(streamsOptions(redis.Addr, key)), Recovery: &core.Recovery{}})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		site.Close()
	})
	connected, gone := newJournal[string](), newJournal[string]()
	user := core.NewSharedKey[string]("user")
	srv.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
		name, _ := user.Get(s)
		user.Set(s, "of go")
		connected.add(name)
		return nil
	})
	srv.Of("/").OnDisconnect(func(_ context.Context, s *core.Socket, _ error) { gone.add(s.ID()) })
	other := startClusterNode(t, redis.Addr, "streams", key, map[string]any{"connectionStateRecovery": map[string]any{}}, nil)

	js := startNode(t)
	nodeAddr, goAddr := strings.TrimPrefix(other.url, "http://"), strings.TrimPrefix(site.URL, "http://")
	wire := startLink(t, nodeAddr)
	c := js.open(t, "a", wire.url, eager(routes[1], nil), nil)
	id := c.event(t, "connect").SID
	other.await(t, "connection", func(r clusterReport) bool { return r.Kind == "connection" })
	witness := clusterConnect(t, site.URL, "/")
	begins := func(name string) func(string) bool {
		return func(got string) bool { return strings.HasPrefix(got, name+"[") }
	}
	connected.await(t, "the witness", is(""))
	_ = srv.Of("/").To(witness.ID()).Join(t.Context(), "witness")
	other.must(t, "join", command{"rooms": []string{id}, "names": []string{"red", "blue"}}, nil)
	other.must(t, "emit", command{"event": "start"}, nil)
	c.message(t, "start")

	for round := range 4 {
		toGo := round%2 == 0
		wire.cut()
		if toGo {
			other.await(t, "disconnect at node", func(r clusterReport) bool { return r.Kind == "disconnect" })
			wire.aim(goAddr)
		} else {
			gone.await(t, "disconnect at go", is(id))
			wire.aim(nodeAddr)
		}
		c.event(t, "disconnect")
		c.take(func(report) bool { return true })
		emit := func(target core.Target, name string, args ...any) {
			if err := target.Emit(t.Context(), name, args...); err != nil {
				t.Error(err)
			}
		}
		// One begins when what the other has sent is in the stream: that is the order.
		other.must(t, "emit", command{"event": "1", "rooms": []string{"red"}, "args": []any{map[string]any{"$bytes": "0102ff"}}}, nil)
		other.must(t, "emit", command{"event": "not", "rooms": []string{"green"}}, nil)
		other.must(t, "emit", command{"event": "not", "except": []string{"blue"}}, nil)
		if toGo { // Node sends clients that come back what was volatile, too
			other.must(t, "emit", command{"event": "not", "volatile": true}, nil)
			emit(srv.Of("/").To().Volatile(), "not")
		}
		other.must(t, "emit", command{"event": "2", "rooms": []string{id, "witness"}}, nil)
		witness.await(t, "2", begins("2"))
		emit(srv.Of("/").To("red"), "3", []byte{1, 2, 255})
		emit(srv.Of("/").To("green"), "not")
		emit(srv.Of("/").Except("blue"), "not")
		emit(srv.Of("/").To(id, "witness"), "4", "last")
		witness.await(t, "4", begins("4"))
		wire.mend()

		back := c.event(t, "connect")
		if !back.Recovered || back.SID != id {
			t.Fatalf("round %d: the client is back as %+v, it was %s", round, back, id)
		}
		if toGo {
			if name := connected.await(t, "connect at go", func(string) bool { return true }); name != "of node" {
				t.Errorf("data of the socket: %q", name)
			}
		} else {
			r := other.await(t, "connection at node", func(r clusterReport) bool { return r.Kind == "connection" })
			if !r.Recovered {
				t.Error("Node has not recovered the client")
			}
		}
		other.must(t, "emit", command{"event": "on it goes", "rooms": []string{"blue"}}, nil)
		c.seen(t, 1, "what came last", isMessage("on it goes"))
		bytes := []byte{1, 2, 255}
		reports := c.take(func(r report) bool { return r.Event == "message" })
		got := make([]heard, 0, len(reports))
		for _, r := range reports {
			if _, ok := core.ParseOffset(fmt.Sprint(r.Args[len(r.Args)-1])); !ok {
				t.Errorf("%+v has no offset", r)
			}
			got = append(got, heard{r.Name, append([]any(nil), r.Args[:len(r.Args)-1]...)})
		}
		want := []heard{{Name: "1", Args: []any{bytes}}, {Name: "2"}, {Name: "3", Args: []any{bytes}}, {Name: "4", Args: []any{"last"}}, {Name: "on it goes"}}
		if d := diff(want, got); d != "" {
			t.Errorf("round %d: missed events (-want +got):\n%s", round, d)
		}
	}
}
