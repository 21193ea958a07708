package adminui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

func withLogin(change func(o *adminui.Options)) adminui.Options {
	o := adminui.Options{Username: "admin", PasswordHash: hash()}
	if change != nil {
		change(&o)
	}
	return o
}

func login(password string) upshifttest.Options {
	return from("10.0.0.1", map[string]string{"username": "admin", "password": password})
}

func from(address string, auth any) upshifttest.Options {
	return upshifttest.Options{Auth: auth, Handshake: transports.Handshake{RemoteAddr: address + ":1"}}
}

// refusal is the text that a client which must not get in is told.
func refusal(t *testing.T, srv *core.Server, o upshifttest.Options) string {
	t.Helper()
	err, ok := errors.AsType[*upshifttest.ConnectError](upshifttest.Refused(t, srv, "/admin", o))
	if !ok {
		t.Fatalf("refused with %v", err)
	}
	return err.Message
}

func TestOptions(t *testing.T) {
	good := hash()
	for name, o := range map[string]adminui.Options{
		"Username":              {},
		"PasswordHash":          {Username: "a"},
		"hash of bcrypt":        {Username: "a", PasswordHash: "secret"},
		"cannot go together":    {Username: "a", PasswordHash: good, WithoutAuthentication: true},
		"Options.Namespace":     {WithoutAuthentication: true, Namespace: "/"},
		"Options.MaxFailures":   {WithoutAuthentication: true, MaxFailures: -1},
		"Options.MaxStateBytes": {WithoutAuthentication: true, MaxStateBytes: -1},
	} {
		srv := upshifttest.NewServer(t, core.Options{})
		if _, err := adminui.Instrument(srv, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want %s", o, err, name)
		}
		if len(srv.Namespaces()) != 1 {
			t.Error("an error leaves a namespace behind")
		}
	}
}

// The form, the page after a reload, and everything that is neither.
func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		srv := upshifttest.NewServer(t, core.Options{})
		a := instrument(t, srv, withLogin(func(o *adminui.Options) {
			o.MaxFailures = 100
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}))
		p := watch(t, srv, login("secret"))
		e := p.next()
		var id string
		if err := e.Args.Bind(&id); err != nil || e.Name != "session" || !regexp.MustCompile("^[0-9a-f]{32}$").MatchString(id) {
			t.Fatalf("page received %s first, want session", e)
		}
		if e := p.next(); e.Name != "config" {
			t.Errorf("page received %s, want config", e)
		}
		again := watch(t, srv, from("10.0.0.1", map[string]string{"sessionId": id}))
		if e := again.next(); e.Name != "config" {
			t.Errorf("page received %s after a reload, want config", e)
		}
		bad := []any{
			nil,
			map[string]any{},
			map[string]any{"username": "admin"},
			map[string]any{"username": "admin", "password": nil},
			map[string]any{"username": "admin", "password": 7},
			map[string]any{"username": "admin", "password": map[string]any{"a": 1}},
			map[string]any{"username": "admin", "password": "Secret"},
			map[string]any{"username": "admin", "password": "secret" + strings.Repeat("x", 1024)},
			map[string]any{"username": "Admin", "password": "secret"},
			map[string]any{"username": "", "password": ""},
			map[string]any{"sessionId": id[:30]},
			map[string]any{"sessionId": ""},
			map[string]any{"sessionId": nil},
			map[string]any{"sessionId": strings.Repeat("x", 1000)},
		}
		for _, auth := range bad {
			if got := refusal(t, srv, from("10.0.0.1", auth)); got != "invalid credentials" {
				t.Errorf("%v: %q", auth, got)
			}
		}
		synctest.Wait() // who is refused may know before it is counted
		if got := a.Stats(); got.FailedLogins != uint64(len(bad)) || got.RefusedLogins != 0 || got.Pages != 2 {
			t.Errorf("stats: %+v", got)
		}
		for _, want := range []string{"logged in", "login failed", "remote=10.0.0.1:1"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in the audit", want)
			}
		}
		if strings.Contains(log.String(), "ecret") || strings.Contains(log.String(), id) {
			t.Error("a secret is in the audit")
		}
	})
}

// Who fails too often is not looked at for a while, others are, and so is who has
// logged in before.
func TestMaxFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		a := instrument(t, srv, withLogin(func(o *adminui.Options) { o.MaxFailures = 3 }))
		p := watch(t, srv, login("secret"))
		var id string
		if err := p.next().Args.Bind(&id); err != nil {
			t.Fatal(err)
		}
		for range 5 { // what succeeds does not count
			watch(t, srv, login("secret"))
		}
		for range 3 {
			if got := refusal(t, srv, login("wrong")); got != "invalid credentials" {
				t.Fatal(got)
			}
		}
		for range 3 {
			if got := refusal(t, srv, login("secret")); !strings.HasPrefix(got, "too many attempts") {
				t.Fatal(got)
			}
		}
		if got := a.Stats(); got.FailedLogins != 6 || got.RefusedLogins != 3 {
			t.Errorf("stats: %+v", got)
		}
		watch(t, srv, from("10.0.0.1", map[string]string{"sessionId": id}))
		watch(t, srv, from("10.0.0.2", map[string]string{"username": "admin", "password": "secret"}))
		<-time.After(20 * time.Second)
		watch(t, srv, login("secret"))

		// From everywhere there are ten times as many.
		refused := 0
		for i := range 60 {
			got := refusal(t, srv, from(fmt.Sprintf("10.1.0.%d", i), map[string]string{"username": "admin", "password": "wrong"}))
			if got != "invalid credentials" {
				refused++
			}
		}
		if refused < 30 || refused > 32 {
			t.Errorf("%d of 60 refused", refused)
		}
	})
}

// brokenStore fails, and keeps how long the ids were that it was asked for.
type brokenStore struct{ longest int }

func (*brokenStore) Save(context.Context, string) error { return errors.New("store is down") }

func (b *brokenStore) Exists(_ context.Context, id string) (bool, error) {
	b.longest = max(b.longest, len(id))
	return true, errors.New("store is down")
}

// A store that is down costs the convenience of a reload, and lets nobody in.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		store := new(brokenStore)
		instrument(t, srv, withLogin(func(o *adminui.Options) { o.Sessions = store }))
		for _, size := range []int{1, 128, 129, 100_000} {
			if got := refusal(t, srv, from("10.0.0.1", map[string]string{"sessionId": strings.Repeat("x", size)})); got != "invalid credentials" {
				t.Error(got)
			}
		}
		if store.longest != 128 {
			t.Errorf("the store was asked for an id of %d bytes", store.longest)
		}
		p := watch(t, srv, login("secret"))
		if e := p.next(); e.Name != "config" {
			t.Errorf("page received %s, want config", e)
		}
	})
}

func TestMemorySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &adminui.MemorySessions{Max: 2, Duration: time.Minute}
		has := func(id string) bool {
			ok, err := m.Exists(t.Context(), id)
			return ok && err == nil
		}
		for _, id := range []string{"a", "b", "c"} {
			if err := m.Save(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if has("a") || !has("b") || !has("c") || has("") {
			t.Error("the oldest does not make room")
		}
		<-time.After(time.Minute)
		if has("b") || has("c") {
			t.Error("they do not end")
		}
		standard := new(adminui.MemorySessions)
		for i := range 1001 {
			_ = standard.Save(t.Context(), strconv.Itoa(i))
		}
		if ok, _ := standard.Exists(t.Context(), "0"); ok {
			t.Error("there is no limit")
		}
		if ok, _ := standard.Exists(t.Context(), "1"); !ok {
			t.Error("the limit is below 1,000")
		}
	})
}

// More passwords than may be checked at once wait, and not too many of them.
func TestMaxChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		var once sync.Once
		a := instrument(t, srv, withLogin(func(o *adminui.Options) {
			o.MaxChecks, o.MaxFailures = 1, 1000
			o.ClientAddress = func(*core.Handshake) string { return "" }
		}))
		release := adminui.HoldChecks(a)
		t.Cleanup(func() { once.Do(release) })
		results := make(chan string, 20)
		for range 20 {
			go func() { results <- refusal(t, srv, login("wrong")) }()
		}
		synctest.Wait()
		if len(results) != 11 { // one would be checked while eight wait
			t.Errorf("%d refused at once", len(results))
		}
		once.Do(release)
		synctest.Wait()
		if len(results) != 20 {
			t.Errorf("%d refused in all", len(results))
		}
	})
}

// After Stop nobody is there, and nobody gets in.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		a := instrument(t, srv, open(nil))
		p := watch(t, srv, upshifttest.Options{})
		p.begin()
		a.Stop()
		a.Stop()
		synctest.Wait()
		if srv.Of("/admin").Len() != 0 || a.Stats().Pages != 0 {
			t.Error("the page is still there")
		}
		if got := refusal(t, srv, upshifttest.Options{}); !strings.Contains(got, "stopped") {
			t.Error(got)
		}
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		_ = c.Emit(t.Context(), "x")
		<-time.After(time.Minute)
		p.expectNone()
	})
}

// Whoever was in the namespace before is not there any more, and has no say.
func TestEarlierSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := upshifttest.NewServer(t, core.Options{})
		n := srv.Of("/admin")
		held, slow := make(chan struct{}), make(chan struct{})
		n.OnConnect(func(_ context.Context, s *core.Socket) error {
			if s.Handshake().RemoteAddr == "slow" {
				close(held)
				<-slow // it has connected for everybody but its own hooks
			}
			return nil
		})
		early := watch(t, srv, upshifttest.Options{})
		late := upshifttest.Dial(t, srv, "/admin", upshifttest.Options{Handshake: transports.Handshake{RemoteAddr: "slow"}})
		<-held
		_ = late.Emit(t.Context(), "join", "/admin", "r")
		instrument(t, srv, withLogin(nil))
		close(slow)
		_ = early.Emit(t.Context(), "join", "/admin", "r")
		<-time.After(time.Minute)
		early.expectNone()
		if len(early.stats()) != 0 || n.Len() != 0 || len(n.Rooms()) != 0 {
			t.Errorf("%d sockets, rooms %v", n.Len(), n.Rooms())
		}
		watch(t, srv, login("secret"))
	})
}
