package nats_test

import (
	"errors"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// What Emit takes the broker takes, too, up to the last byte, and what it does not is an
// error of Emit.
func TestLargest(t *testing.T) {
	b := startBroker(t)
	adapter := nats.NewLog(nats.LogOptions{Options: options(b), InMemory: true, MaxBytes: 256 << 20})
	srv := upshifttest.NewServer(t, core.Options{Adapter: adapter, Recovery: &core.Recovery{}})
	c := upshifttest.Dial(t, srv, "/", upshifttest.Options{Patience: patience})
	if err := srv.Of("/").Emit(t.Context(), "start"); err != nil {
		t.Fatal(err)
	}
	c.Expect("start") // it is connected, so that the limit is known; and what is first comes back
	const limit, step = 1 << 20, 10
	refused := false
	for size := limit - 200; size < limit && !refused; size += step {
		err := srv.Of("/").To("nowhere").Emit(t.Context(), "e", strings.Repeat("x", size))
		if refused = errors.Is(err, natsgo.ErrMaxPayload); err != nil && !refused {
			t.Fatal(err)
		}
	}
	if err := srv.Of("/").Emit(t.Context(), "end"); err != nil {
		t.Fatal(err)
	}
	c.Expect("end")
	if stats := adapter.Stats(); !refused || stats.PublishFailed > 0 {
		t.Errorf("refused %v, %+v", refused, stats)
	}
}
