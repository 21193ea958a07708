package nats_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
)

// As long as a server does not read the stream others do not hear of it, so that they
// count on it for nothing, and clients are not told what they have missed; and it leaves
// without more ado.
func TestNotReadYet(t *testing.T) {
	b := &broker{tb: t} // there is no stream
	b.start()
	engine := nats.NewLogEngine(nats.LogOptions{Options: options(b)})
	if err := engine.Start(inbox{"0000000000000001"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close(t.Context()) })
	encode := func(kind cluster.Type) []cluster.Publication {
		t.Helper()
		p, err := engine.Encode(&cluster.Message{Type: kind, Sender: "0000000000000001"})
		if err != nil {
			t.Fatal(err)
		}
		return []cluster.Publication{p}
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, kind := range []cluster.Type{cluster.InitialHeartbeat, cluster.FetchSocketsResponse} {
		if err := engine.Publish(soon, encode(kind)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("type %d: %v", kind, err)
		}
	}
	if _, err := engine.Read(soon, "/", core.Offset{Major: 1}, func(*cluster.Message) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading: %v", err)
	}
	waiting, beat := make(chan error, 1), encode(cluster.Heartbeat)
	go func() { waiting <- engine.Publish(t.Context(), beat) }()
	last := encode(cluster.Close)
	for _, err := range []error{<-waiting, engine.Publish(t.Context(), last)} {
		if err != nil {
			t.Errorf("leaving: %v", err)
		}
	}
}
