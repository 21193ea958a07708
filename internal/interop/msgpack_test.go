package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/examples/customcodec/plain"
)

// speaking returns a route on which the client uses another parser.
func speaking(way route, parser string) route {
	options := maps.Clone(way.options)
	if options == nil {
		options = map[string]any{}
	}
	options["parser"] = parser
	return route{way.name, options, way.ends}
}

// startPacked is startApp with the MessagePack codec, and way speaking it.
func startPacked(t *testing.T, door string, way route) (*app, route) {
	t.Helper()
	set, way := packed(settings{}, way)
	return startApp(t, door, set), way
}

// The list C14 of socket.io, values first: what JavaScript sends comes back as
// it was, but that undefined is nil to Go.
func TestMsgPackValues(t *testing.T) {
	date := time.UnixMilli(1_234_567_890_123).UTC()
	long := strings.Repeat("long ☃ ", 20_000)
	type pair struct{ sent, back any }
	same := func(v any) pair { return pair{v, v} }
	values := []pair{
		same(""), same("plain"), same("snow ☃ and 🙂"), same(strings.Repeat("x", 31)), same(strings.Repeat("x", 32)), same(strings.Repeat("x", 255)),
		same(strings.Repeat("x", 256)), same(long),
		same(true), same(false), same(nil),
		{undefined{}, nil},
		same(0.0), same(1.0), same(127.0), same(128.0), same(255.0), same(256.0), same(65535.0), same(65536.0), same(float64(1<<32 - 1)), same(float64(1 << 32)),
		same(float64(1<<53 - 1)), same(-1.0), same(-32.0), same(-33.0), same(-128.0), same(-129.0), same(-32768.0), same(-32769.0), same(float64(-1 << 31)),
		same(float64(-1<<31 - 1)), same(float64(-1 << 53)), same(1.5), same(-1e-9), same(1.7e-300),
		same(date), same(time.UnixMilli(0).UTC()), same(time.UnixMilli(-62_135_596_800_000).UTC()), same(time.UnixMilli(8_640_000_000_000_000).UTC()),
		same([]byte{}), same([]byte("bytes")), same(bytes.Repeat([]byte{0, 255}, 200)), same(bytes.Repeat([]byte{0, 255}, 40_000)),
		same([]any{}), same(map[string]any{}), same([]any{nil, []any{map[string]any{"k": []any{date, []byte("deep")}}}}),
		{map[string]any{"gone": undefined{}, "list": []any{undefined{}}}, map[string]any{"gone": nil, "list": []any{nil}}},
		same(make([]any, 20)), same(make([]any, 70_000)),
	}
	const fixed = 18
	values = slices.Grow(values, 2*fixed)
	for n := range fixed { // the lengths that have fixed forms among them
		values = append(values, pair{arrayBuffer(make([]byte, n)), make([]byte, n)}, same(make([]byte, n)))
	}
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, way := startPacked(t, door, way)
		core.On(a.server.Of("/"), "pass", func(_ context.Context, _ *core.Socket, v codec.Raw) (codec.Raw, error) { return v, nil })
		c, _ := connect(t, n, "a", a.url, way, nil)
		for _, v := range values {
			if d := diff([]any{v.back}, c.call(t, "echo", v.sent)); d != "" {
				t.Errorf("echo of %.60v (-sent +received):\n%s", v.sent, d)
			}
		}
		// What nobody looks at stays undefined.
		sent := []any{undefined{}, map[string]any{"k": undefined{}}, nil, date, []byte("bytes")}
		if d := diff([]any{sent}, c.call(t, "pass", sent)); d != "" {
			t.Errorf("passed on (-sent +received):\n%s", d)
		}
		settle(t, c, way)
	})
}

// Connect with and without auth, events and acks both ways with binary and
// dates, order.
func TestMsgPackMessages(t *testing.T) {
	large := bytes.Repeat([]byte{0, 1, 2, 0xfe, 0xff}, 20_000)
	type event struct {
		Label string    `json:"label"`
		At    time.Time `json:"at"`
		Due   time.Time `json:"due,omitzero"`
		Parts [][]byte  `json:"parts"`
		Count uint8     `json:"count"`
		Half  float64   `json:"half"`
	}
	date := time.UnixMilli(1_700_000_000_123).UTC()
	sent := map[string]any{"label": "x", "at": date, "parts": []any{[]byte{}, arrayBuffer("12345678"), large}, "count": 200.0, "half": 0.5, "surplus": undefined{}}
	back := map[string]any{"label": "x", "at": date, "parts": []any{[]byte{}, []byte("12345678"), large}, "count": 200.0, "half": 0.5}
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, way := startPacked(t, door, way)
		core.On(a.server.Of("/"), "event", func(ctx context.Context, s *core.Socket, e event) (event, error) {
			return e, s.Emit(ctx, "event", e, []byte("second"))
		})
		anonymous, _ := connect(t, n, "anonymous", a.url, way, nil)
		withAuth := route{way.name, maps.Clone(way.options), way.ends}
		withAuth.options["auth"] = map[string]any{"name": "ann"}
		c, sid := connect(t, n, "ann", a.url, withAuth, nil)
		for _, name := range []string{"", "ann"} {
			a.await(t, "connect of "+name, func(s served) bool { return s.Kind == "connect" && s.Name == name })
		}

		if d := diff([]any{back}, c.call(t, "event", sent)); d != "" {
			t.Errorf("ack (-sent +received):\n%s", d)
		}
		if d := diff([]any{back, []byte("second")}, c.message(t, "event").Args); d != "" {
			t.Errorf("event (-sent +received):\n%s", d)
		}
		if got := c.call(t, "join", "red"); len(got) != 0 {
			t.Errorf("ack without arguments is %v", got)
		}
		failure := map[string]any{"error": map[string]any{"code": "no_such_thing", "message": "there is no such thing"}}
		if d := diff([]any{failure}, c.call(t, "fail")); d != "" {
			t.Errorf("ack of a failed event (-want +got):\n%s", d)
		}

		answered := make(chan any, 1)
		go func() { answered <- a.call(t, "/", sid, "ask", back) }()
		ask := c.message(t, "ask")
		if d := diff([]any{back}, ask.Args); d != "" {
			t.Errorf("call (-sent +received):\n%s", d)
		}
		answer := []any{map[string]any{"n": float64(1), "d": date, "b": arrayBuffer("9")}}
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": ask.Ack, "args": packAll(answer)}))
		if d := diff(any(map[string]any{"n": int64(1), "d": date, "b": []byte("9")}), <-answered); d != "" {
			t.Errorf("answer (-sent +received):\n%s", d)
		}

		const count = 200
		c.do(t, "stream", map[string]any{"name": "up", "from": 0, "to": count})
		wantNumbers(t, a, c, count)
		c.emit(t, "post", 7)
		if got := anonymous.message(t, "posted").Args; !cmp.Equal(got, []any{"ann", 7.0}) {
			t.Errorf("broadcast arrived as %v", got)
		}
		settle(t, c, way)
	})
}

// Namespaces on one connection, one of which refuses with data.
func TestMsgPackNamespaces(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a, way := startPacked(t, door, way)
		main, _ := connect(t, n, "main", a.url, way, nil)
		chat, chatID := connect(t, n, "chat", "", route{}, map[string]any{"shares": main, "namespace": "/chat"})

		admin := n.open(t, "admin", "", nil, map[string]any{"shares": main, "namespace": "/admin"})
		refused := admin.event(t, "connect_error")
		if d := diff(map[string]any{"code": "not_for_you"}, refused.Data); refused.Message != "not for you" || d != "" {
			t.Errorf("refused with %q (-want +got):\n%s", refused.Message, d)
		}
		admin.do(t, "connect", map[string]any{"auth": map[string]any{"token": "secret"}})
		admin.event(t, "connect")
		unknown := n.open(t, "unknown", "", nil, map[string]any{"shares": main, "namespace": "/nowhere"})
		if got := unknown.event(t, "connect_error").Message; got != "Invalid namespace" {
			t.Errorf("message = %q", got)
		}

		for i, c := range []*client{main, chat, admin} {
			c.emit(t, "up", i)
			if got := c.message(t, "down").Args; !cmp.Equal(got, []any{float64(i)}) {
				t.Errorf("client %s received %v", c.name, got)
			}
		}
		answered := make(chan any, 1)
		go func() { answered <- a.call(t, "/chat", chatID, "ask", []byte("?")) }()
		ask := chat.message(t, "ask")
		n.wait(t, n.do(t, map[string]any{"op": "answer", "ack": ask.Ack, "args": packAll(ask.Args)}))
		if d := diff(any([]byte("?")), <-answered); d != "" {
			t.Errorf("answer (-sent +received):\n%s", d)
		}
		// Either side leaves one, the others stay.
		a.disconnect(t, "/chat", chatID)
		if got := chat.event(t, "disconnect").Reason; got != "io server disconnect" {
			t.Errorf("reason %s", got)
		}
		admin.do(t, "disconnect", nil)
		a.await(t, "end of the /admin socket", func(s served) bool {
			return s.Kind == "disconnect" && s.Namespace == "/admin" && s.Reason == "client namespace disconnect"
		})
		main.call(t, "echo", "still here")
		settle(t, main, way)
	})
}

// A client that speaks the other codec is let go at once, whichever of the two
// it speaks, and the log says why.
func TestWrongCodec(t *testing.T) {
	n := startNode(t)
	for _, door := range doors {
		for _, way := range routes {
			for name, test := range map[string]struct {
				codec  codec.Codec
				parser string
				log    string
			}{
				"json client":    {codec.MsgPack(codec.MsgPackOptions{}), "", "text message on a msgpack connection: the client uses another codec"},
				"msgpack client": {codec.JSON(codec.JSONOptions{}), "msgpack", "got binary data when not reconstructing a packet: the client may use another codec"},
			} {
				t.Run(door+"/"+way.name+"/"+name, func(t *testing.T) {
					t.Parallel()
					a := startApp(t, door, settings{codec: test.codec})
					way := speaking(way, test.parser)
					way.options["reconnection"] = false
					c := n.open(t, "a", a.url, way.options, nil)
					if got := c.event(t, "disconnect").Reason; got != "transport close" {
						t.Errorf("the client is told %s", got)
					}
					a.shutdown(t) // what happened is in the log by then
					if log := a.log.String(); !strings.Contains(log, test.log) {
						t.Errorf("the log does not say %q", test.log)
					}
				})
			}
		}
	}
}

// Our packets are the official parser's to the byte.
func TestMsgPackBytes(t *testing.T) {
	n := startNode(t)
	c := n.client("parser")
	values := []any{
		"", "é", strings.Repeat("x", 31), strings.Repeat("x", 32), strings.Repeat("☃", 100), strings.Repeat("x", 70_000), true, false, nil,
		0, 1, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<53 - 1, -1, -32, -33, -128, -129, -32768, -32769, -1 << 31, -1<<31 - 1, -1 << 53,
		// Integers beyond 64 bits the parser writes wrong, so they are not here.
		1.0, 1.5, -0.25, math.SmallestNonzeroFloat64, -math.Pi, float32(0.5), float32(3),
		time.UnixMilli(1e12), time.UnixMilli(-1), time.UnixMilli(0),
		[]any{time.UnixMilli(1_700_000_000_123)},
		[]any{},
		[]any{1, "two", nil},
		make([]any, 15), make([]any, 16), make([]any, 65536),
		map[string]any{},
		map[string]any{"k": []any{map[string]any{"l": 1}}},
	}
	sizes := []int{0, 1, 2, 4, 8, 16, 255, 256, 65536}
	values = slices.Grow(values, len(sizes))
	for _, size := range sizes {
		values = append(values, make([]byte, size))
	}
	check := func(t *testing.T, p codec.Packet, members string) {
		t.Helper()
		frames, err := codec.MsgPack(codec.MsgPackOptions{}).Encode(nil, &p)
		if err != nil {
			t.Fatal(err)
		}
		// The members in the order in which a server sets them.
		data := p.Data
		switch p.Type {
		case codec.Event:
			data = append([]any{p.Event}, p.Args...)
		case codec.Ack:
			data = p.Args
		default:
		}
		of := map[string]any{"type": p.Type, "data": pack(data), "id": p.ID, "nsp": p.Namespace}
		packet := []any{}
		for name := range strings.FieldsSeq(members) {
			packet = append(packet, []any{name, of[name]})
		}
		want, _ := c.do(t, "packed", map[string]any{"packet": packet}).([]byte)
		if !bytes.Equal(frames[0].Data, want) {
			t.Errorf("%.60v is %.200s, and %.200s to the parser", data, hex.EncodeToString(frames[0].Data), hex.EncodeToString(want))
		}
	}
	for i, v := range values {
		id := uint64(1) << i // of all lengths
		check(t, codec.Packet{Type: codec.Event, Namespace: "/", Event: "e", Args: []any{v}}, "type data nsp")
		check(t, codec.Packet{Type: codec.Event, Namespace: "/n", Event: "e", Args: []any{v, v}, ID: id & codec.MaxID, HasID: true}, "type data id nsp")
		check(t, codec.Packet{Type: codec.Ack, Namespace: "/n", Args: []any{v}, ID: id & codec.MaxID, HasID: true}, "id type data nsp")
	}
	check(t, codec.Packet{Type: codec.Disconnect, Namespace: "/"}, "type nsp")
	check(t, codec.Packet{Type: codec.Connect, Namespace: "/x", Data: map[string]any{"sid": "x"}}, "type data nsp")
	check(t, codec.Packet{Type: codec.ConnectError, Namespace: "/", Data: map[string]any{"message": "x"}}, "type data nsp")
	check(t, codec.Packet{Type: codec.ConnectError, Namespace: "/", Data: "x"}, "type data nsp")
}

// The example of a codec of one's own, with the official client.
func TestCustomCodec(t *testing.T) {
	eachRoute(t, func(t *testing.T, n *node, door string, way route) {
		a := startApp(t, door, settings{codec: plain.New()})
		way = speaking(way, "plain")
		c, sid := connect(t, n, "a", a.url, way, nil)
		for _, v := range []any{"text", 1.5, nil, []any{}, map[string]any{"k": []any{"v", nil}}} {
			if d := diff([]any{v}, c.call(t, "echo", v)); d != "" {
				t.Errorf("echo (-sent +received):\n%s", d)
			}
		}
		a.emit(t, "/", sid, "hello", "you", []byte("bytes"))
		if d := diff([]any{"you", "Ynl0ZXM="}, c.message(t, "hello").Args); d != "" {
			t.Errorf("event (-sent +received):\n%s", d)
		}
		settle(t, c, way)
	})
}
