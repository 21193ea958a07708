package cluster_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/upshifttest"
)

// What a client comes back to is there until it has come back, for another attempt.
func TestRestoreAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := new(adaptertest.Bus).Engine()
		a := cluster.NewRecovering(engine, cluster.Options{})
		upshifttest.NewServer(t, core.Options{Adapter: a, Recovery: &core.Recovery{}})
		a.Save(&core.ClientState{
			Namespace: "/", ID: "id", PrivateID: "pid", Rooms: []string{"id"}, Since: core.Offset{Major: 1}, Window: time.Minute, Fresh: true,
		})
		engine.FailReads(1)
		if back, err := a.Restore(t.Context(), "/", "pid", ""); err == nil || errors.Is(err, core.ErrNotRecoverable) {
			t.Fatalf("%+v, %v", back, err)
		}
		for range 2 { // and again, if what it was sent does not reach it
			back, err := a.Restore(t.Context(), "/", "pid", "")
			if err != nil || back.Client.ID != "id" {
				t.Fatalf("%+v, %v", back, err)
			}
		}
		a.Forget("/", "pid")
		if back, err := a.Restore(t.Context(), "/", "pid", ""); !errors.Is(err, core.ErrNotRecoverable) {
			t.Errorf("after the end: %+v, %v", back, err)
		}
	})
}

// A client may be faster than the server that had it, which is about to save what it comes
// back to.
func TestRestoreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		old, other := cluster.NewRecovering(bus.Engine(), cluster.Options{}), cluster.NewRecovering(bus.Engine(), cluster.Options{})
		for _, a := range []*cluster.Recovering{old, other} {
			upshifttest.NewServer(t, core.Options{Adapter: a, Recovery: &core.Recovery{}})
		}
		time.AfterFunc(400*time.Millisecond, func() {
			old.Save(&core.ClientState{
				Namespace: "/", ID: "id", PrivateID: "pid", Since: core.Offset{Major: 1}, Window: time.Minute, Fresh: true,
			})
		})
		if back, err := other.Restore(t.Context(), "/", "pid", ""); err != nil || back.Client.ID != "id" {
			t.Errorf("%+v, %v", back, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := other.Restore(ctx, "/", "unknown", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// A client that could not be saved at first is with the next change, unless it has left.
func TestNotSavedAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		engine := bus.Engine()
		here, there := cluster.NewRecovering(engine, cluster.Options{}), cluster.NewRecovering(bus.Engine(), cluster.Options{})
		for _, a := range []*cluster.Recovering{here, there} {
			upshifttest.NewServer(t, core.Options{Adapter: a, Recovery: &core.Recovery{}})
		}
		save := func(a *cluster.Recovering, pid, room string, fresh bool) {
			a.Save(&core.ClientState{
				Namespace: "/", ID: "id", PrivateID: pid, Rooms: []string{room}, Since: core.Offset{Major: 1}, Window: time.Minute, Fresh: fresh,
			})
			synctest.Wait()
		}
		engine.Cut(true)
		save(here, "stays", "old", true)
		save(here, "leaves", "old", true)
		save(here, "leaves", "old", false)
		here.Forget("/", "leaves")
		synctest.Wait()
		engine.Cut(false)
		save(here, "stays", "new", false)
		save(here, "leaves", "new", false)
		if back, err := there.Restore(t.Context(), "/", "stays", ""); err != nil || !slices.Equal(back.Client.Rooms, []string{"new"}) {
			t.Errorf("%+v, %v", back, err)
		}
		if back, err := there.Restore(t.Context(), "/", "leaves", ""); !errors.Is(err, core.ErrNotRecoverable) {
			t.Errorf("after the end: %+v, %v", back, err)
		}

		// It may have been saved, and have gone to another server since.
		engine.Echo(true)
		save(here, "goes", "old", true)
		engine.Echo(false)
		if _, err := there.Restore(t.Context(), "/", "goes", ""); err != nil {
			t.Error(err)
		}
		save(here, "goes", "older", false)
		save(there, "goes", "new", false)
		if back, err := here.Restore(t.Context(), "/", "goes", ""); err != nil || !slices.Equal(back.Client.Rooms, []string{"new"}) {
			t.Errorf("%+v, %v", back, err)
		}
	})
}

// What came before a client connected first is not for it, whatever offset it names.
func TestRestoreBeforeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := cluster.NewRecovering(new(adaptertest.Bus).Engine(), cluster.Options{})
		srv := upshifttest.NewServer(t, core.Options{Adapter: a, Recovery: &core.Recovery{}})
		for n := range 10 {
			if err := srv.Of("/").To("room").Emit(t.Context(), "n", n); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		a.Save(&core.ClientState{
			Namespace: "/", ID: "id", PrivateID: "pid", Rooms: []string{"room"}, Since: core.Offset{Major: 1, Minor: 7}, Window: time.Minute, Fresh: true,
		})
		back, err := a.Restore(t.Context(), "/", "pid", "1-2")
		if err != nil || len(back.Missed) != 3 {
			t.Errorf("%+v, %v", back, err)
		}
	})
}

// Recent events are not read from the broker, and their memory is bounded.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := new(adaptertest.Bus).Engine()
		a := cluster.NewRecovering(engine, cluster.Options{MaxRecentBytes: 100_000})
		srv := upshifttest.NewServer(t, core.Options{Adapter: a, Recovery: &core.Recovery{}})
		upshifttest.Dial(t, srv, "/", upshifttest.Options{}) // from now on somebody can come back
		for n := range 1000 {
			if err := srv.Of("/").To("room").Emit(t.Context(), "n", n); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		restore := func(seen core.Offset) (*core.Comeback, error) {
			a.Save(&core.ClientState{
				Namespace: "/", ID: "id", PrivateID: "pid", Rooms: []string{"room"}, Since: core.Offset{Major: 1}, Window: time.Minute, Fresh: true,
			})
			return a.Restore(t.Context(), "/", "pid", seen.String())
		}
		last := a.Position()
		for _, missed := range []uint64{0, 1, 100} {
			engine.FailReads(1)
			back, err := restore(core.Offset{Major: last.Major, Minor: last.Minor - missed})
			if err != nil || len(back.Missed) != int(missed) || back.Until != last {
				t.Errorf("%d missed: %+v, %v", missed, back, err)
			}
		}
		if _, err := restore(core.Offset{Major: 1, Minor: 1}); err == nil {
			t.Error("all events are kept in memory")
		}
		engine.FailReads(0)
		back, err := restore(core.Offset{Major: 1, Minor: 1})
		if err != nil || uint64(len(back.Missed)) != last.Minor-1 || !slices.IsSortedFunc(back.Missed, func(a, b *core.Broadcast) int { return a.Offset.Compare(b.Offset) }) {
			t.Errorf("%d events, %v", len(back.Missed), err)
		}

		// After a gap there is nothing to rely on.
		engine.Cut(true)
		engine.Cut(false)
		engine.FailReads(1)
		if _, err := restore(last); err == nil {
			t.Error("what was before a gap is used")
		}
	})
}
