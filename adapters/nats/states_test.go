package nats_test

import (
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
