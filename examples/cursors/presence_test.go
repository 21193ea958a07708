package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a test in a bubble, with a server that knows who is there.
func start(t *testing.T, test func(t *testing.T, srv *core.Server)) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		servePresence(srv.Of("/"))
		test(t, srv)
	})
}

func enter(t *testing.T, srv *core.Server, name string) *upshifttest.Client {
	c := upshifttest.Dial(t, srv, "/", upshifttest.Options{Auth: map[string]string{"name": name}})
	synctest.Wait() // everybody has been told
	return c
}

// sees takes the next event of c, which lists these people.
func sees(t *testing.T, c *upshifttest.Client, want ...string) {
	t.Helper()
	people := upshifttest.Receive(c, People)
	got := make([]string, 0, len(people))
	for _, p := range people {
		got = append(got, p.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("sees %q, want %q", got, want)
	}
}

func TestPeopleComeAndGo(t *testing.T) {
	start(t, func(t *testing.T, srv *core.Server) {
		ben := enter(t, srv, "Ben")
		sees(t, ben, "Ben")
		ann := enter(t, srv, "  Ann\tLee ")
		sees(t, ben, "Ann Lee", "Ben")
		sees(t, ann, "Ann Lee", "Ben")
		ann.Vanish()                  // her network is gone, and nobody knows
		<-time.After(2 * time.Minute) // takes no time
		sees(t, ben, "Ben")
	})
}

func TestMoves(t *testing.T) {
	start(t, func(t *testing.T, srv *core.Server) {
		ann, ben := enter(t, srv, "Ann"), enter(t, srv, "Ben")
		sees(t, ann, "Ann")
		sees(t, ann, "Ann", "Ben")
		sees(t, ben, "Ann", "Ben")
		_ = Move.Emit(t.Context(), ann, Point{0.25, 7})
		if got := upshifttest.Receive(ben, Moved); got.A != ann.ID() || got.B != (Point{0.25, 1}) {
			t.Errorf("Ben is told %+v", got)
		}
		synctest.Wait()
		ann.ExpectNone() // she knows where she points
	})
}

// Somebody who does not read misses moves, and not who is there in the end.
func TestSlowPage(t *testing.T) {
	start(t, func(t *testing.T, srv *core.Server) {
		ann, ben := enter(t, srv, "Ann"), enter(t, srv, "Ben")
		synctest.Wait()
		ben.Pending()
		ben.Stall()
		for i := range 1000 {
			_ = Move.Emit(t.Context(), ann, Point{float64(i) / 1000, 0})
			synctest.Wait()
		}
		for range 10 {
			enter(t, srv, "Cy").Close()
			synctest.Wait()
		}
		ben.Resume()
		synctest.Wait()
		received := ben.Pending()
		if len(received) > 5 {
			t.Errorf("%d events have waited for Ben", len(received))
		}
		var people []Person
		if last := received[len(received)-1]; last.Name != People.Name() || last.Args.Bind(&people) != nil || len(people) != 2 {
			t.Errorf("the last is %s", last)
		}
	})
}

func TestNames(t *testing.T) {
	start(t, func(t *testing.T, srv *core.Server) {
		for _, auth := range []any{nil, map[string]any{"name": " "}, map[string]any{"name": 7}, map[string]any{"name": strings.Repeat("x", 25)}} {
			err := upshifttest.Refused(t, srv, "/", upshifttest.Options{Auth: auth})
			if refused, ok := errors.AsType[*upshifttest.ConnectError](err); !ok || !strings.HasPrefix(refused.Message, "A name") {
				t.Errorf("with %v: %v", auth, err)
			}
		}
		enter(t, srv, strings.Repeat("字", 24))
	})
}
