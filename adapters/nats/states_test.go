package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
)

// An inbox is a server that nothing is sent to.
type inbox struct{ id string }

func (i inbox) ID() string             { return i.id }
func (inbox) Receive(*cluster.Message) {}
func (inbox) Malformed(string, error)  {}
func (inbox) Gap(error)                {}
func (inbox) Has(string, string) bool  { return false }
func (inbox) Namespaces() []string     { return nil }
func (inbox) Rooms(string) []string    { return nil }
func (inbox) Logger() *slog.Logger     { return slog.New(slog.DiscardHandler) }

// What a server saves afresh, since it had no answer before, or after a change that it had
// no answer to, replaces what it has saved itself, but not what another server has.
func TestSavedWithoutAnswer(t *testing.T) {
	o := nats.LogOptions{Options: options(startBroker(t)), MaxBytes: 1 << 20, InMemory: true}
	start := func(id string) cluster.Log {
		engine := nats.NewLogEngine(o)
		if err := engine.Start(inbox{id}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = engine.Close(t.Context()) })
		return engine
	}
	const id = "0000000000000001"
	knows, here, there := start(id), start(id), start("0000000000000002") // here has heard of nothing that knows has done
	save := func(ctx context.Context, by cluster.Log, room string, fresh bool) error {
		return by.Update(ctx, []cluster.Change{{Namespace: "/", PrivateID: "pid", State: &core.ClientState{
			Namespace: "/", ID: "id", PrivateID: "pid", Rooms: []string{room}, Window: time.Minute, Fresh: fresh,
		}}})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, step := range []struct {
		ctx   context.Context
		by    cluster.Log
		room  string
		fresh bool
		then  cluster.Log // takes it, and finds
		want  string
	}{
		{t.Context(), knows, "one", true, nil, ""},
		{t.Context(), here, "two", true, there, "two"},
		{t.Context(), here, "not", true, there, "two"},
		{t.Context(), there, "three", false, nil, ""},
		{cancelled, there, "four", false, nil, ""},
		{t.Context(), there, "five", false, here, "five"},
	} {
		if err := save(step.ctx, step.by, step.room, step.fresh); err != nil && step.ctx.Err() == nil {
			t.Fatalf("%s: %v", step.room, err)
		}
		if step.then == nil {
			continue
		}
		if got, err := step.then.Take(t.Context(), "/", "pid"); err != nil || got.Rooms[0] != step.want {
			t.Fatalf("after %s: %+v, %v", step.room, got, err)
		}
	}
}

// A client that comes back while its server saves it once more is not lost for that.
func TestTakeWhileSaved(t *testing.T) {
	o := nats.LogOptions{Options: options(startBroker(t)), MaxBytes: 1 << 20, InMemory: true}
	engines := make([]cluster.Log, 2)
	for i := range engines {
		engines[i] = nats.NewLogEngine(o)
		if err := engines[i].Start(inbox{fmt.Sprintf("%016x", i+1)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = engines[i].Close(t.Context()) })
	}
	for n := range 50 {
		change := func(fresh bool) cluster.Change {
			pid := fmt.Sprint("pid ", n)
			return cluster.Change{Namespace: "/", PrivateID: pid, State: &core.ClientState{
				Namespace: "/", ID: fmt.Sprint("id ", n), PrivateID: pid, Window: time.Minute, Fresh: fresh,
			}}
		}
		if err := engines[0].Update(t.Context(), []cluster.Change{change(true)}); err != nil {
			t.Fatal(err)
		}
		saved := make(chan struct{})
		go func() {
			defer close(saved)
			for range 8 { // fewer than Take tries
				if err := engines[0].Update(t.Context(), []cluster.Change{change(false)}); err != nil {
					t.Error(err)
				}
			}
		}()
		if _, err := engines[1].Take(t.Context(), "/", fmt.Sprint("pid ", n)); err != nil {
			t.Errorf("client %d: %v", n, err)
		}
		<-saved
	}
}
