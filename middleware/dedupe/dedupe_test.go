package dedupe_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/dedupe"
	"github.com/upshift-go/upshift/upshifttest"
)

type order struct {
	ID   string `json:"id"`
	Item string `json:"item"`
}

// shop counts the orders it is asked for. Those for "late" take a second, those for
// "bad" fail, those for "crash" panic.
type shop struct {
	*core.Server
	t      *testing.T
	placed atomic.Int32
}

func newShop(t *testing.T, o dedupe.Options) *shop {
	t.Helper()
	s := &shop{Server: upshifttest.NewServer(t, core.Options{}), t: t}
	if o.Key == nil {
		o.Key = dedupe.Field("id")
	}
	if o.User == nil {
		o.User = func(s *core.Socket) string {
			var auth struct{ User string }
			_ = s.Auth(&auth)
			return auth.User
		}
	}
	orders := s.Of("/").Group(dedupe.New(o))
	place := func(_ context.Context, _ *core.Socket, in order) (core.Args2[string, int], error) {
		n := int(s.placed.Add(1))
		switch in.Item {
		case "late":
			<-time.After(time.Second)
		case "bad":
			return core.Args2[string, int]{}, core.Errorf("bad", "attempt %d", n)
		case "crash":
			panic("crash")
		}
		return core.Args2[string, int]{A: in.Item, B: n}, nil
	}
	core.On(orders, "order", place)
	core.On(orders, "other", place)
	return s
}

func (s *shop) dial(user string) *upshifttest.Client {
	s.t.Helper()
	return upshifttest.Dial(s.t, s.Server, "/", upshifttest.Options{Auth: map[string]string{"user": user}})
}

// order returns what the client was answered, as "item number" or as a code.
func (s *shop) order(c *upshifttest.Client, event, id, item string) string {
	var what string
	var n int
	err := c.Call(s.t.Context(), event, []any{order{id, item}}, &what, &n)
	if told, ok := errors.AsType[*core.Error](err); ok {
		return told.Code + " " + told.Message
	}
	if err != nil {
		s.t.Error(err)
	}
	return fmt.Sprint(what, " ", n)
}

func TestDedupe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, dedupe.Options{})
		ann, ben := s.dial("ann"), s.dial("ben")
		for _, step := range []struct {
			client          *upshifttest.Client
			event, id, item string
			want            string
		}{
			{ann, "order", "1", "tea", "tea 1"},
			{ann, "order", "1", "tea", "tea 1"},
			{ann, "order", "1", "coffee", "tea 1"}, // the first counts
			{ann, "order", "2", "tea", "tea 2"},
			{ann, "other", "1", "tea", "tea 3"}, // another event
			{ben, "order", "1", "tea", "tea 4"}, // another user
			{ann, "order", "", "tea", "tea 5"},  // no key
			{ann, "order", "", "tea", "tea 6"},
			{ann, "order", "3", "bad", "bad attempt 7"},
			{ann, "order", "3", "bad", "bad attempt 8"}, // has failed, is tried again
			{ann, "order", "3", "tea", "tea 9"},
			{ann, "order", "3", "bad", "tea 9"},
			{ann, "order", "4", "crash", "internal internal error"},
			{ann, "order", "4", "tea", "tea 11"},
			{ann, "order", strings.Repeat("x", 129), "tea", "bad_key a key is 128 bytes at most"},
		} {
			if got := s.order(step.client, step.event, step.id, step.item); got != step.want {
				t.Errorf("%s %.10q for %s: got %q, want %q", step.event, step.id, step.item, got, step.want)
			}
		}
		// The client comes back and asks again.
		ann.Cut()
		ann.Reconnect()
		if got := s.order(ann, "order", "2", "tea"); got != "tea 2" {
			t.Errorf("after coming back: %q", got)
		}
		<-time.After(6 * time.Minute)
		if got := s.order(ben, "order", "1", "tea"); got != "tea 12" {
			t.Errorf("after the window: %q", got)
		}
	})
}

// Who asks while the first is being handled waits for it.
func TestAtOnce(t *testing.T) {
	for item, want := range map[string]struct {
		answers map[string]int
		placed  int32
	}{
		"late": {map[string]int{"late 1": 5}, 1},
		"bad":  {map[string]int{"bad attempt 1": 1, "bad attempt 2": 1, "bad attempt 3": 1, "bad attempt 4": 1, "bad attempt 5": 1}, 5},
	} {
		t.Run(item, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop(t, dedupe.Options{})
				answers := make(chan string)
				for range 5 {
					c := s.dial("ann")
					go func() { answers <- s.order(c, "order", "1", item) }()
				}
				got := make(map[string]int)
				for range 5 {
					got[<-answers]++
				}
				if fmt.Sprint(got) != fmt.Sprint(want.answers) || s.placed.Load() != want.placed {
					t.Errorf("answers %v, placed %d", got, s.placed.Load())
				}
			})
		})
	}
}

// Who leaves while waiting does not wait on.
func TestLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, dedupe.Options{})
		first, second := s.dial("ann"), s.dial("ann")
		go s.order(first, "order", "1", "late")
		synctest.Wait()
		if err := second.Emit(t.Context(), "order", order{"1", "late"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		second.Close()
		synctest.Wait()
		if n := s.Of("/").Len(); n != 1 {
			t.Errorf("%d sockets", n)
		}
		<-time.After(2 * time.Second)
	})
}

func TestKeepErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, dedupe.Options{KeepErrors: true})
		c := s.dial("ann")
		for range 3 {
			if got := s.order(c, "order", "1", "bad"); got != "bad attempt 1" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// The oldest keys go first: those of a user who has too many, and those of anybody.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, dedupe.Options{MaxKeys: 3, MaxKeysInAll: 5})
		ann, ben := s.dial("ann"), s.dial("ben")
		for i := range 4 {
			s.order(ann, "order", strconv.Itoa(i), "tea") // 1 to 4, of which 1 is forgotten
		}
		for i := range 3 {
			s.order(ben, "order", strconv.Itoa(i), "tea") // 5 to 7, for which 2 is
		}
		for _, step := range []struct {
			client *upshifttest.Client
			id     string
			want   string
		}{
			{ann, "2", "tea 3"}, {ann, "3", "tea 4"}, {ben, "0", "tea 5"}, {ben, "2", "tea 7"}, {ann, "1", "tea 8"}, {ann, "2", "tea 9"},
		} {
			if got := s.order(step.client, "order", step.id, "tea"); got != step.want {
				t.Errorf("order %s: got %q, want %q", step.id, got, step.want)
			}
		}
	})
}
