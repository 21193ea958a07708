package streams

import (
	"encoding/base64"
	"errors"
	"reflect"
	"testing"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// What Node's adapter writes for to("room1").except("r9").volatile.emit("hi", bytes),
// and how it writes what has no bytes.
const (
	packed = "gqZwYWNrZXSCpHR5cGUCpGRhdGGSomhpxAIBAqRvcHRzg6Vyb29tc5Glcm9vbTGmZXhjZXB0kaJyOaVmbGFnc4Godm9sYXRpbGXD"
	plain  = `{"opts":{"rooms":["room1",2],"except":[],"flags":{}},"rooms":["other"]}`
	asked  = `{"packet":{"type":2,"data":["hi"],"id":3},"opts":{"rooms":[],"except":[],"flags":{}}}`
)

func TestEncodeEntry(t *testing.T) {
	got, err := encodeEntry(&cluster.Message{
		Type: cluster.Broadcast, In: []string{"room1"}, Except: []string{"r9"},
		Flags: cluster.Flags{Volatile: true}, Event: "hi", Args: []any{[]byte{1, 2}},
	})
	if err != nil || string(got) != packed {
		t.Errorf("%s, %v", got, err)
	}
}

func TestReadEntry(t *testing.T) {
	read := func(kind, data string) *cluster.Message {
		t.Helper()
		e := entry{core.Offset{Major: 7}, map[string]string{"uid": "x", "nsp": "/", "type": kind, "data": data}}
		m, err := e.message()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := read("3", packed)
	if m.Event != "hi" || !m.Flags.Volatile || !reflect.DeepEqual(m.In, []string{"room1"}) || !reflect.DeepEqual(m.Except, []string{"r9"}) || !m.Offset.IsZero() {
		t.Errorf("%+v", m)
	}
	if m = read("4", plain); m.Type != cluster.SocketsJoin || !reflect.DeepEqual(m.In, []string{"room1", "2"}) || !reflect.DeepEqual(m.Rooms, []string{"other"}) {
		t.Errorf("%+v", m)
	}
	if m = read("3", asked); m.Event != "hi" || !m.Offset.IsZero() {
		t.Errorf("%+v", m)
	}
	for _, bad := range []struct{ kind, data string }{{"x", plain}, {"300", plain}, {"3", "{"}, {"3", "???"}, {"3", "wQ=="}, {"3", ""}, {"3", plain}} {
		e := entry{fields: map[string]string{"type": bad.kind, "data": bad.data}}
		if m, err := e.message(); !errors.Is(err, cluster.ErrMalformed) {
			t.Errorf("%v: %+v, %v", bad, m, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, data := range []string{packed, plain, asked, "", "{}", "gA=="} {
		f.Add("3", data)
		f.Add("6", data)
	}
	f.Fuzz(func(t *testing.T, kind, data string) {
		e := entry{core.Offset{Major: 7}, map[string]string{"uid": "x", "nsp": "/", "type": kind, "data": data}}
		m, err := e.message()
		if err != nil {
			if !errors.Is(err, cluster.ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if isKept(m) {
			if _, err := encodeEntry(m); err != nil && !errors.Is(err, codec.ErrTooDeep) { // we read deeper than we write
				t.Errorf("%+v: %v", m, err)
			}
		}
	})
}

// Node's adapter saves no owner, and rooms as its program has them.
func TestReadState(t *testing.T) {
	packed, err := codec.AppendMsgPack(nil, map[string]any{"sid": "sid", "pid": "pid", "rooms": []any{"sid", 42}, "data": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := readState(base64.StdEncoding.EncodeToString(packed), "pid")
	if err != nil || c.ID != "sid" || !reflect.DeepEqual(c.Rooms, []string{"sid", "42"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzState(f *testing.F) {
	e := &engine{in: named{}}
	good, err := e.encodeState(&core.ClientState{ID: "sid", PrivateID: "pid", Rooms: []string{"sid", "r"}})
	if err != nil || len(good) < ownerLen || good[:ownerLen] != "hqVvd25lcrAwMTIzNDU2Nzg5YWJjZGVm" {
		f.Fatalf("%q, %v", good, err)
	}
	f.Add(good)
	f.Add("")
	f.Add("gA==")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readState(text, "pid")
		if err != nil && !errors.Is(err, core.ErrNotRecoverable) {
			t.Errorf("%v", err)
		}
		if err == nil && (c.PrivateID != "pid" || c.ID == "") {
			t.Errorf("%+v", c)
		}
	})
}

type named struct{ cluster.Inbox }

func (named) ID() string { return "0123456789abcdef" }
