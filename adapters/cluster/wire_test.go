package cluster_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// What servers with the official adapters have put on the wire.
var golden = map[string]struct {
	wire string
	want cluster.Message
	args []any
}{
	"broadcast in JSON": {
		`{"type":3,"data":{"packet":{"type":2,"data":["hi"]},"opts":{"rooms":["room1","room2"],"except":[],"flags":{"compress":false}}},"uid":"b69dd69cd743184f","nsp":"/"}`,
		cluster.Message{
			Type: cluster.Broadcast, Sender: "b69dd69cd743184f", Namespace: "/", Event: "hi",
			In: []string{"room1", "room2"}, Flags: cluster.Flags{NoCompress: true},
		},
		[]any{},
	},
	"broadcast with bytes": {
		unhex("84a47479706503a46461746182a67061636b657482a47479706502a46461746192a26869c4020102a46f70747383a5726f6f6d7391a5726f6f6d31a665786365707491a27239a5666c61677381a8766f6c6174696c65c3a3756964b062363964643639636437343331383466a36e7370a12f"),
		cluster.Message{
			Type: cluster.Broadcast, Sender: "b69dd69cd743184f", Namespace: "/", Event: "hi",
			In: []string{"room1"}, Except: []string{"r9"}, Flags: cluster.Flags{Volatile: true},
		},
		[]any{[]byte{1, 2}},
	},
	"answer of a client": {
		`{"type":12,"data":{"requestId":"896c83dce39c15bf","packet":42},"uid":"6a380c646db43846","nsp":"/"}`,
		cluster.Message{Type: cluster.BroadcastAck, Sender: "6a380c646db43846", Namespace: "/", RequestID: "896c83dce39c15bf"},
		nil,
	},
	"server-side event": {
		unhex("84a47479706509a46461746181a67061636b657492a570696e6731a17aa3756964b065643638306132333939366339336539a36e7370a12f"),
		cluster.Message{Type: cluster.ServerSideEmit, Sender: "ed680a23996c93e9", Namespace: "/", Event: "ping1"},
		[]any{"z"},
	},
	"number of clients": {
		unhex("84a4747970650ba46461746182a9726571756573744964b032346232653335323233623032376638ab636c69656e74436f756e7401a3756964b035343737356532373534663938366136a36e7370a12f"),
		cluster.Message{Type: cluster.BroadcastClientCount, Sender: "54775e2754f986a6", Namespace: "/", RequestID: "24b2e35223b027f8", Count: 1},
		nil,
	},
	"null where something is absent": {
		`{"type":4,"data":{"opts":{"rooms":null,"except":null,"flags":null},"rooms":["a",42]},"uid":"u","nsp":"/x"}`,
		cluster.Message{Type: cluster.SocketsJoin, Sender: "u", Namespace: "/x", Rooms: []string{"a", "42"}},
		nil,
	},
	"disconnect": {
		`{"type":6,"data":{"opts":{"rooms":[],"except":[]},"close":true},"uid":"u","nsp":"/"}`,
		cluster.Message{Type: cluster.DisconnectSockets, Sender: "u", Namespace: "/", CloseSession: true},
		nil,
	},
	"sockets, one in a room that is a number, with a handshake of its program's own": {
		`{"type":8,"data":{"requestId":"r","sockets":[{"id":"a","handshake":{"issued":"odd","url":"/"},"rooms":["a",42]},{"id":"b","handshake":null,"rooms":null}]},"uid":"u","nsp":"/"}`,
		cluster.Message{Type: cluster.FetchSocketsResponse, Sender: "u", Namespace: "/", RequestID: "r", Sockets: []core.SocketInfo{
			{ID: "a", Handshake: core.HandshakeInfo{URL: "/"}, Rooms: []string{"a", "42"}}, {ID: "b"},
		}},
		nil,
	},
	"heartbeat": {
		`{"type":2,"uid":"u","nsp":"/"}`, cluster.Message{Type: cluster.Heartbeat, Sender: "u", Namespace: "/"}, nil,
	},
}

func unhex(text string) string {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestReadMessage(t *testing.T) {
	for name, tt := range golden {
		m, err := cluster.ReadMessage([]byte(tt.wire))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		args := values(t, m.Args)
		m.Args, m.Answer = nil, nil
		if !reflect.DeepEqual(*m, tt.want) {
			t.Errorf("%s: %+v, want %+v", name, *m, tt.want)
		}
		if len(args) != len(tt.args) || len(args) > 0 && !reflect.DeepEqual(args, tt.args) {
			t.Errorf("%s: arguments %v, want %v", name, args, tt.args)
		}
	}
}

func values(t *testing.T, raws []any) []any {
	t.Helper()
	all := make([]any, len(raws))
	for i, raw := range raws {
		if err := raw.(codec.Raw).Bind(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The bytes are those of the official streams adapter, whose keys come in the same
// order.
func TestDataOf(t *testing.T) {
	m := &cluster.Message{
		Type: cluster.Broadcast, In: []string{"room1"}, Except: []string{"r9"},
		Event: "hi", Args: []any{[]byte{1, 2}}, Flags: cluster.Flags{Volatile: true},
	}
	data, err := codec.AppendMsgPack(nil, cluster.DataOf(m))
	if err != nil {
		t.Fatal(err)
	}
	const want = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSomhpxAIBAqRvcHRzg6Vyb29tc5Glcm9vbTGmZXhjZXB0kaJyOaVmbGFnc4Godm9sYXRpbGXD"
	if got := base64.StdEncoding.EncodeToString(data); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Every message arrives as it was sent, and nothing that is absent is null.
func TestMessagesRoundTrip(t *testing.T) {
	in, except := []string{"a"}, []string{"b", "c"}
	for _, m := range []cluster.Message{
		{Type: cluster.InitialHeartbeat, Namespace: ""},
		{Type: cluster.Close, Namespace: ""},
		{Type: cluster.Broadcast, Namespace: "/", Event: "e"},
		{
			Type: cluster.Broadcast, Namespace: "/x", Event: "e", In: in, Except: except, RequestID: "r",
			Flags: cluster.Flags{Volatile: true, NoCompress: true, Timeout: time.Second, Single: true, Overflow: core.DropOldest},
		},
		{Type: cluster.Broadcast, Namespace: "/x", Event: "e", Flags: cluster.Flags{Overflow: core.DropOldest + 1, Key: "k"}},
		{Type: cluster.SocketsJoin, Namespace: "/", In: in, Rooms: []string{"r"}},
		{Type: cluster.SocketsLeave, Namespace: "/", Except: except, Rooms: []string{"r"}},
		{Type: cluster.DisconnectSockets, Namespace: "/", In: in},
		{Type: cluster.FetchSockets, Namespace: "/", In: in, RequestID: "r"},
		{Type: cluster.ServerSideEmit, Namespace: "/", Event: "e", RequestID: "r"},
		{Type: cluster.BroadcastClientCount, Namespace: "/", RequestID: "r", Count: 3},
	} {
		m.Sender = "0123456789abcdef"
		data, err := cluster.AppendMsgPack(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "\xc0") {
			t.Errorf("%+v: there is null in %q", m, data)
		}
		got, err := cluster.ReadMessage(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Args) == 0 {
			got.Args = nil
		}
		if !reflect.DeepEqual(*got, m) {
			t.Errorf("%+v, want %+v", *got, m)
		}
	}
}

// Garbage is an error, and what a newer version may send is not.
func TestMalformed(t *testing.T) {
	for _, text := range []string{
		"", "{", "{}x", "\xc1", "\x84", "[]", `{"type":"x"}`, `{"type":300}`, `{"type":3}`,
		`{"type":3,"data":{"packet":{"data":[]}}}`, `{"type":3,"data":{"packet":{"data":[{}]}}}`,
		`{"type":3,"data":{"packet":{"data":["connect"]}}}`,
		`{"type":4,"data":{"rooms":[null]}}`, `{"type":4,"data":{"opts":{"rooms":"a"}}}`, `{"type":9,"data":{"packet":"x"}}`,
	} {
		if m, err := cluster.ReadMessage([]byte(text)); !errors.Is(err, cluster.ErrMalformed) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	for _, text := range []string{
		`{"type":99,"data":{"x":1},"uid":"u","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"data":["e"]},"opts":{"flags":"odd"}},"uid":"u","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"type":5,"nsp":"/","id":7,"data":[1]}},"uid":"u","nsp":"/"}`,
		`{"type":3,"data":{"packet":{"data":["e"]},"opts":{"flags":{"overflow":200,"timeout":1e300}}},"uid":"u","nsp":"/"}`,
	} {
		if _, err := cluster.ReadMessage([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	for _, tt := range golden {
		f.Add([]byte(tt.wire))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := cluster.ReadMessage(data)
		if err != nil {
			if !errors.Is(err, cluster.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := cluster.AppendMsgPack(nil, m)
		if err != nil {
			return // JSON that no codec takes
		}
		if m2, err := cluster.ReadMessage(again); err != nil || m2.Event != m.Event || len(m2.Args) != len(m.Args) {
			t.Fatalf("%+v became %+v, %v", m, m2, err)
		}
	})
}
