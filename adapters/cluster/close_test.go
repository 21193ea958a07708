package cluster_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// A recording engine keeps the type of what was published last.
type recording struct {
	*adaptertest.BusEngine
	last cluster.Type // by the goroutine that publishes
}

func (r *recording) Publish(ctx context.Context, batch []cluster.Publication) error {
	r.last = batch[len(batch)-1].Type
	return r.BusEngine.Publish(ctx, batch)
}

// Who leaves says so last: after anything else others would wait for it again.
func TestCloseComesLast(t *testing.T) {
	for range 100 {
		engine := &recording{BusEngine: new(adaptertest.Bus).Engine()}
		adapter := cluster.New(engine, cluster.Options{})
		srv, err := core.New(core.Options{Adapter: adapter})
		if err != nil {
			t.Fatal(err)
		}
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for err := error(nil); !errors.Is(err, cluster.ErrClosed); runtime.Gosched() {
					err = adapter.Emit(t.Context(), &core.ServerEvent{Namespace: "/", Event: "e"})
				}
			})
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		senders.Wait()
		if engine.last != cluster.Close {
			t.Fatalf("a message of type %d is the last", engine.last)
		}
	}
}
