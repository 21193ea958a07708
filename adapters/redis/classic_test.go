package redis

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
)

// A server of which a test says what it has.
type server struct {
	cluster.Inbox
	has      func() bool
	received int
}

func (*server) ID() string             { return "0123456789abcdef" }
func (*server) Logger() *slog.Logger   { return slog.New(slog.DiscardHandler) }
func (s *server) Has(_, _ string) bool { return s.has() }

func (s *server) Receive(*cluster.Message) { s.received++ }

// A namespace that comes back while it is looked whether it is still there is heard.
func TestNamespaceIsBack(t *testing.T) {
	e := &classic{options: Options{}.withDefaults(), patterns: make(map[string]string)}
	e.sub = pubsub.New(nil, (*classicSource)(e), pubsub.Options{})
	in := &server{}
	e.in = in
	pattern := e.channels("/x")[0]
	in.has = func() bool {
		in.has = func() bool { return true }
		e.Changed("/x")
		return false
	}
	source := (*classicSource)(e)
	if source.Wanted(pattern) {
		t.Error("it is wanted though it was not there")
	}
	if !source.Wanted(pattern) { // as it is asked for what has changed
		t.Error("it is not wanted though it is there")
	}
	m := &cluster.Message{Type: cluster.Broadcast, Sender: "other", Namespace: "/x", Event: "e"}
	p, err := e.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	source.Message(p.Channel, pattern.Name, string(p.Data))
	if in.received != 1 {
		t.Errorf("%d messages were received", in.received)
	}
}

// A request that asks for nothing is no question for all sockets.
func TestEmptyRequest(t *testing.T) {
	for _, text := range []string{`{}`, `{"uid":"other"}`, `{"uid":"other","type":5,"opts":{"rooms":[],"except":[]}}`} {
		if m, err := readRequest([]byte(text), "/"); !errors.Is(err, cluster.ErrMalformed) {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
	}
}
