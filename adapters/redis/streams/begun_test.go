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

// A client is told what it has missed only when it is known from where on the server
// reads: what comes between would be lost.
func TestReadBeforeBegun(t *testing.T) {
	server := redistest.Start(t)
	e := NewEngine(Options{Client: rueidis.ClientOption{InitAddress: []string{server.Addr}}}).(*engine) //nolint:forcetypeassert // there is no other
	e.in, e.reader = named{}, newReader(e)
	defer e.link.Close(t.Context())
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
