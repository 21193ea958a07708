package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	goclient "github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/event"
)

// goWays are the ways of the Go client to a server.
var goWays = []struct {
	name       string
	transports []string
	ends       string // the transport it ends up on
}{
	{"polling", []string{goclient.Polling}, goclient.Polling},
	{"websocket", []string{goclient.WebSocket}, goclient.WebSocket},
	{"upgrade", []string{goclient.Polling, goclient.WebSocket}, goclient.WebSocket},
}

// eachGoWay runs a test against an official server on every way in each codec.
func eachGoWay(t *testing.T, options map[string]any, test func(t *testing.T, srv *official, o goclient.Options)) {
	t.Helper()
	for _, way := range goWays {
		for _, c := range []codec.Codec{codec.JSON(codec.JSONOptions{}), codec.MsgPack(codec.MsgPackOptions{})} {
			t.Run(way.name+"/"+c.Name(), func(t *testing.T) {
				t.Parallel()
				srv := startOfficial(t, c.Name(), options)
				test(t, srv, goclient.Options{Transports: way.transports, Codec: c, Reconnection: quick})
			})
		}
	}
}

// quick reconnects without much delay.
var quick = goclient.Reconnection{Delay: 20 * time.Millisecond, MaxDelay: 100 * time.Millisecond}

// goConnect connects a Go client, which register may prepare.
func goConnect(t *testing.T, url string, o goclient.Options, register func(c *goclient.Socket)) *goclient.Socket {
	t.Helper()
	c, err := goclient.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if register != nil {
		register(c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatalf("Connect: %v", err)
	}
	return c
}

// goCall is Call with patience.
func goCall(t *testing.T, c *goclient.Socket, name string, args []any, answer ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Call(ctx, name, args, answer...); err != nil {
		t.Fatalf("Call(%s): %v", name, err)
	}
}

// journalled has every event that a client gets, and every change of state,
// entered in a journal.
func journalled(j *journal[string]) func(c *goclient.Socket) {
	return func(c *goclient.Socket) {
		c.OnAny(func(_ context.Context, name string, args codec.Args) {
			text, err := args.MarshalJSON()
			j.add(fmt.Sprint(name, " ", string(text), errText(err)))
		})
		c.OnState(func(_ context.Context, change goclient.StateChange) {
			j.add(fmt.Sprint(change.State, errText(change.Err)))
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func is(want string) func(string) bool { return func(got string) bool { return got == want } }

func begins(with string) func(string) bool {
	return func(got string) bool { return strings.HasPrefix(got, with) }
}

func TestGoClientEvents(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		type parcel struct {
			Label string `json:"label"`
			Body  []byte `json:"body"`
		}
		bounced := make(chan parcel, 1)
		c := goConnect(t, srv.url(), o, func(c *goclient.Socket) {
			goclient.On(c, "bounced", func(_ context.Context, p parcel) (event.None, error) {
				bounced <- p
				return event.None{}, nil
			})
			goclient.On(c, "double", func(ctx context.Context, n int) (int, error) {
				// A handler may wait for an answer of its own.
				var seen int
				err := c.Call(ctx, "echo", []any{n}, &seen)
				return seen * 2, err
			})
		})
		if seen := srv.saw(t, "connect"); seen.ID != c.ID() || seen.Namespace != "/" {
			t.Errorf("the server has %+v, the client %q", seen, c.ID())
		}
		if want := o.Transports[len(o.Transports)-1]; want != o.Transports[0] {
			if seen := srv.saw(t, "upgrade"); seen.Transport != want {
				t.Errorf("upgraded to %q", seen.Transport)
			}
		}

		sent := parcel{Label: "é\u2028\x1e", Body: []byte{0, 30, 255}}
		var text string
		var got parcel
		var number float64
		goCall(t, c, "echo", []any{"text", sent, 1.5, nil, true}, &text, &got, &number)
		if text != "text" || got.Label != sent.Label || !bytes.Equal(got.Body, sent.Body) || number != 1.5 {
			t.Errorf("echoed %q %+v %v", text, got, number)
		}
		if err := c.Emit(t.Context(), "bounce", "bounced", sent); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-bounced:
			if got.Label != sent.Label || !bytes.Equal(got.Body, sent.Body) {
				t.Errorf("bounced %+v", got)
			}
		case <-time.After(patience):
			t.Fatal("no event")
		}
		var doubled int
		goCall(t, c, "ask", []any{"double", 21}, &doubled)
		if doubled != 42 {
			t.Errorf("the server was answered %d", doubled)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if seen := srv.saw(t, "disconnect"); seen.Reason != "client namespace disconnect" {
			t.Errorf("reason %q", seen.Reason)
		}
	})
}

// Nothing is lost, doubled or reordered while a connection moves to WebSocket,
// in neither direction.
func TestGoClientKeepsOrderThroughTheUpgrade(t *testing.T) {
	const events = 2000
	srv := startOfficial(t, "json", nil)
	for range 5 {
		drops := make(chan int, events)
		c := goConnect(t, srv.url(), goclient.Options{Transports: []string{goclient.Polling, goclient.WebSocket}}, func(c *goclient.Socket) {
			goclient.On(c, "drop", func(_ context.Context, n int) (event.None, error) {
				drops <- n
				return event.None{}, nil
			})
		})
		traffic(t, srv, c, drops, events)
		srv.saw(t, "upgrade")
		_ = c.Close()
	}
}

func TestGoClientNamespaces(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		c := goConnect(t, srv.url()+"/chat?who=me", goclient.Options{
			Transports: o.Transports, Codec: o.Codec,
			Header: http.Header{"X-Who": {"mine"}},
			Query:  url.Values{"more": {"a b&c"}},
			Socket: goclient.SocketOptions{Auth: map[string]any{"name": "joe"}},
		}, nil)
		if seen := srv.saw(t, "connect"); seen.Namespace != "/chat" || seen.Query != "me" || seen.Header != "mine" || seen.Auth["name"] != "joe" {
			t.Errorf("the server has %+v", seen)
		}

		join := func(namespace string, auth func(context.Context) (any, error)) (*goclient.Socket, error) {
			s, err := c.Manager().Socket(namespace, goclient.SocketOptions{AuthFunc: auth})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return s, s.Connect(ctx)
		}
		secret, err := join("/secret", func(context.Context) (any, error) { return map[string]string{"token": "wrong"}, nil })
		refusal, ok := errors.AsType[*goclient.ConnectError](err)
		if !ok || refusal.Message != "not you" || refusal.Namespace != "/secret" {
			t.Fatalf("Connect: %v", err)
		}
		var data struct {
			Code string
			Seen map[string]string
		}
		if err := refusal.Data.Bind(&data); err != nil || data.Code != "denied" || data.Seen["token"] != "wrong" {
			t.Errorf("data %+v, %v", data, err)
		}
		if secret.State() != goclient.Disconnected {
			t.Errorf("state %s", secret.State())
		}
		if _, err := join("/nowhere", nil); err == nil || err.Error() != "client: /nowhere: Invalid namespace" {
			t.Errorf("Connect: %v", err)
		}
		other, err := join("/other", nil)
		if err != nil {
			t.Fatal(err)
		}
		if seen := srv.saw(t, "connect"); seen.Namespace != "/other" || seen.ID != other.ID() || other.ID() == c.ID() {
			t.Errorf("the server has %+v", seen)
		}
		var got string
		goCall(t, other, "echo", []any{"there"}, &got)
		goCall(t, c, "echo", []any{"here"}, &got)

		other.Disconnect()
		if seen := srv.saw(t, "disconnect"); seen.Namespace != "/other" || seen.Reason != "client namespace disconnect" {
			t.Errorf("the server has %+v", seen)
		}
		goCall(t, c, "echo", []any{"still here"}, &got)
		if got != "still here" {
			t.Errorf("echoed %q", got)
		}
	})
}

func TestGoClientIsDisconnected(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		log := newJournal[string]()
		c := goConnect(t, srv.url(), o, journalled(log))
		log.await(t, "connected", is("connected"))
		// By the server: it stays so until Connect.
		if err := c.Emit(t.Context(), "leave"); err != nil {
			t.Fatal(err)
		}
		log.await(t, "the end", is("disconnected: io server disconnect"))
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		log.await(t, "connected", is("connected"))
		if err := c.Emit(t.Context(), "end"); err != nil {
			t.Fatal(err)
		}
		log.await(t, "the end", is("disconnected: io server disconnect"))
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		log.await(t, "connected", is("connected"))
		if got := log.all(); slices.ContainsFunc(got, func(s string) bool { return s != "connecting" }) {
			t.Errorf("also: %q", got)
		}
		// The connection: it comes back by itself.
		if err := c.Emit(t.Context(), "drop"); err != nil {
			t.Fatal(err)
		}
		log.await(t, "the loss", begins("disconnected: transport close"))
		log.await(t, "connected", is("connected"))
		goCall(t, c, "echo", nil)
	})
}

func TestGoClientOutlivesARestart(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		wire := startLink(t, srv.addr())
		log := newJournal[string]()
		c := goConnect(t, wire.url, o, journalled(log))
		log.await(t, "connected", is("connected"))
		before := c.ID()
		srv.kill()
		wire.aim(nowhere) // the port may be another's by now
		log.await(t, "the loss", begins("disconnected"))
		// What is emitted meanwhile arrives, in order.
		for n := range 10 {
			if err := c.Emit(t.Context(), "count", n); err != nil {
				t.Fatal(err)
			}
		}
		again := startOfficial(t, o.Codec.Name(), nil)
		wire.aim(again.addr())
		log.await(t, "connected", is("connected"))
		if c.ID() == before || c.Recovered() {
			t.Errorf("id %q, recovered %v", c.ID(), c.Recovered())
		}
		for n, seen := range again.awaitN(t, 10, "counts", func(o observed) bool { return o.Kind == "count" }) {
			if seen.N != n {
				t.Errorf("the server has %d instead of %d", seen.N, n)
			}
		}
	})
}

func TestGoClientRecovers(t *testing.T) {
	recovery := map[string]any{"connectionStateRecovery": map[string]any{}, "pingInterval": 1000, "pingTimeout": 4000}
	eachGoWay(t, recovery, func(t *testing.T, srv *official, o goclient.Options) {
		wire := startLink(t, srv.addr())
		log := newJournal[string]()
		o.Socket.Auth = map[string]any{"name": "joe"}
		c := goConnect(t, wire.url, o, journalled(log))
		srv.saw(t, "connect")
		before := c.ID()
		srv.news(t, 1)
		log.await(t, "news", begins("news ["))
		wire.cut()
		log.await(t, "the loss", begins("disconnected"))
		srv.saw(t, "disconnect")
		for n := range 5 {
			srv.news(t, 10+n)
		}
		wire.mend()
		log.await(t, "connected", is("connected")) // the first one
		log.await(t, "connected", is("connected"))
		if !c.Recovered() || c.ID() != before {
			t.Errorf("recovered %v, id %q, was %q", c.Recovered(), c.ID(), before)
		}
		if seen := srv.saw(t, "connect"); !seen.Recovered || seen.Auth["name"] != "joe" {
			t.Errorf("the server has %+v", seen)
		}
		missed := log.take(begins("news ["))
		if len(missed) != 5 {
			t.Fatalf("received %q", missed)
		}
		for n, s := range missed {
			if want := fmt.Sprintf("news [%d,", 10+n); s[:len(want)] != want {
				t.Errorf("%q instead of %s", s, want)
			}
		}
	})
}

func TestGoClientRetries(t *testing.T) {
	eachGoWay(t, nil, func(t *testing.T, srv *official, o goclient.Options) {
		o.Socket = goclient.SocketOptions{Retries: 3, AckTimeout: time.Second}
		c := goConnect(t, srv.url(), o, nil)
		var heard int
		goCall(t, c, "deaf", []any{"a", 3}, &heard)
		if heard < 3 {
			t.Errorf("answered after %d times", heard)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.Call(ctx, "deaf", []any{"b", 100}); !errors.Is(err, goclient.ErrAckTimeout) {
			t.Errorf("Call: %v", err)
		}
		for n := range 10 {
			if err := c.Emit(ctx, "count", n); err != nil {
				t.Fatal(err)
			}
		}
		for next := 0; next < 10; {
			seen := srv.saw(t, "count")
			if seen.N > next {
				t.Fatalf("the server has %d instead of %d", seen.N, next)
			}
			if seen.N == next { // otherwise it is one whose answer was late
				next++
			}
		}
	})
}
