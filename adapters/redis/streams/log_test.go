package streams

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/redistest"
)

// idle returns an engine that nothing is read with.
func idle(t *testing.T, server *redistest.Server, in cluster.Inbox) *engine {
	t.Helper()
	e := NewEngine(Options{Client: rueidis.ClientOption{InitAddress: []string{server.Addr}}}).(*engine) //nolint:forcetypeassert // there is no other
	e.in, e.reader = in, newReader(e)
	t.Cleanup(func() { e.link.Close(context.Background()) })
	return e
}

// A client is told what it has missed only when it is known from where on the server
// reads: what comes between would be lost.
func TestReadBeforeBegun(t *testing.T) {
	e := idle(t, redistest.Start(t), named{})
	none := func(m *cluster.Message) { t.Errorf("there is %+v", m) }
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Read(soon, "/", beginning, none); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(e.reader.begun)
	if until, err := e.Read(t.Context(), "/", beginning, none); err != nil || until != (core.Offset{Minor: 1}) {
		t.Errorf("%v, %v", until, err)
	}
}

type other struct{ cluster.Inbox }

func (other) ID() string { return "fedcba9876543210" }

// What a server saves afresh, since it had no answer before, replaces what it has saved
// itself, but not what another server has.
func TestSavedAfresh(t *testing.T) {
	server := redistest.Start(t)
	here, there := idle(t, server, named{}), idle(t, server, other{})
	save := func(by *engine, room string, fresh bool) {
		t.Helper()
		if err := by.Update(t.Context(), []cluster.Change{{Namespace: "/", PrivateID: "pid", State: &core.ClientState{
			ID: "id", PrivateID: "pid", Rooms: []string{room}, Window: time.Minute, Fresh: fresh,
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	take := func(by *engine, want string) {
		t.Helper()
		if got, err := by.Take(t.Context(), "/", "pid"); err != nil || got.Rooms[0] != want {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	save(here, "one", true)
	save(here, "two", true)
	take(there, "two")
	save(here, "not", true)
	save(there, "three", false)
	take(here, "three")
}
