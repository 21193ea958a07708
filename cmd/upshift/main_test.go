package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/cmd/upshift/internal/doctor"
	"github.com/upshift-go/upshift/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server that answers "echo" with its arguments and "later" never, and
// sends what "send" says.
func serve(t *testing.T) string {
	t.Helper()
	srv, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*core.Namespace{srv.Of("/"), srv.Of("/admin")} {
		n.Handle("echo", func(_ context.Context, r *core.Request) error {
			all := make([]any, r.Args.Len())
			for i := range all {
				all[i] = r.Args.Raw(i)
			}
			r.SetAnswer(all...)
			return nil
		})
		n.Handle("later", func(ctx context.Context, _ *core.Request) error {
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
			return nil
		})
		n.Handle("send", func(ctx context.Context, r *core.Request) error {
			var name string
			if err := r.Args.Raw(0).Bind(&name); err != nil {
				return err
			}
			return r.Socket.Emit(ctx, name, r.Args.Raw(1))
		})
		n.Handle("kick", func(_ context.Context, r *core.Request) error {
			r.Socket.Disconnect()
			return nil
		})
		n.Handle("whoami", func(_ context.Context, r *core.Request) error {
			var auth any
			err := r.Socket.Auth(&auth)
			r.SetAnswer(auth)
			return err
		})
	}
	srv.Of("/admin").Use(func(next core.Handler) core.Handler {
		return func(ctx context.Context, r *core.Request) error {
			var auth struct{ Token string }
			if r.Connect() && (r.Socket.Auth(&auth) != nil || auth.Token != "secret") {
				return core.Errorf("forbidden", "not for you")
			}
			return next(ctx, r)
		}
	})
	site := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		site.Close()
	})
	return site.URL
}

// upshift runs the command and returns what it has written and its exit status.
func upshift(t *testing.T, in string, args ...string) (out, errors string, status int) {
	t.Helper()
	return upshiftFrom(t, strings.NewReader(in), args...)
}

func upshiftFrom(t *testing.T, in io.Reader, args ...string) (out, errors string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	root := newRoot()
	var stdout, stderr bytes.Buffer
	root.SetIn(in)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	status = run(ctx, root, args)
	return stdout.String(), stderr.String(), status
}

func TestEmit(t *testing.T) {
	url := serve(t)
	for _, tt := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{url, "echo", "hello"}, "", 0},
		{[]string{url, "echo", "hello", `{"a": [1, 2.5, null, "<x>"]}`, "12:30", "true", "--ack"}, `["hello",{"a":[1,2.5,null,"<x>"]},"12:30",true]` + "\n", 0},
		{[]string{url, "echo", `{"$binary":"AAEC"}`, "-a"}, `[{"$binary":"AAEC"}]` + "\n", 0},
		{
			[]string{url, "echo", "9007199254740993", `{"id":[12345678901234567890,1.50,{"$binary":"AAEC"}]}`, `"9007199254740993"`, "-a"},
			`[9007199254740993,{"id":[12345678901234567890,1.50,{"$binary":"AAEC"}]},"9007199254740993"]` + "\n", 0,
		},
		{[]string{url, "echo", "x", "-a", "-t", "polling"}, `["x"]` + "\n", 0},
		{[]string{url, "echo", "-a"}, "[]\n", 0},
		{[]string{url, "later", "-a", "--wait", "50ms"}, "", exitNoAnswer},
		{[]string{url + "/admin", "echo", "x", "-a"}, "", exitRefused},
		{[]string{url + "/admin", "echo", "x", "-a", "--auth", `{"token":"secret"}`}, `["x"]` + "\n", 0},
		{[]string{url, "kick", "-a"}, "", exitRefused},
		{[]string{url, "echo", "-a", "--", "-5"}, "[-5]\n", 0},
		{[]string{url, "echo", "--auth", "[]"}, "", 1},
		{[]string{url, "echo", "--header", "nonsense"}, "", 1},
		{[]string{url, "echo", "--codec", "xml"}, "", 1},
		{[]string{url}, "", 1},
		{[]string{"http://127.0.0.1:1", "echo"}, "", exitNoConnection},
	} {
		out, errors, status := upshift(t, "", append([]string{"emit"}, tt.args...)...)
		if out != tt.want || status != tt.status || (status != 0) != (errors != "") {
			t.Errorf("%v: %q, %q, status %d", tt.args, out, errors, status)
		}
	}
}

func TestListen(t *testing.T) {
	url := serve(t)
	in, feed := io.Pipe()
	var talking sync.WaitGroup
	talking.Go(func() { _, _, _ = upshiftFrom(t, in, "connect", url) })
	stop := make(chan struct{})
	talking.Go(func() {
		defer func() { _ = feed.Close() }()
		<-stop
	})
	defer talking.Wait()
	defer close(stop)

	if out, errors, status := upshift(t, "", "listen", url, "--for", "50ms", "--count", "1"); out != "" || status != exitNoAnswer {
		t.Errorf("%q, %q, status %d", out, errors, status)
	}
	if out, errors, status := upshift(t, "", "listen", url, "--for", "500ms", "--states"); !strings.Contains(out, `"connected"`) || status != 0 {
		t.Errorf("%q, %q, status %d", out, errors, status)
	}
	if _, errors, status := upshift(t, "", "listen", url+"/nowhere"); status != exitRefused {
		t.Errorf("%q, status %d", errors, status)
	}
}

// A script emits, calls, joins and answers, and what happens is told as JSON.
func TestConnect(t *testing.T) {
	url := serve(t)
	out, _, status := upshift(t, strings.Join([]string{
		"", "state", "emit send news {\"n\": 1}", `call echo "a b" {"x": 1} [1, 2]`,
		"join admin", `join /admin {"token":"secret"}`, "call echo there", "answer ask 42", "leave", "join /", "call echo back",
		"bogus", "help", "quit", "emit never",
	}, "\n"), "connect", url)
	if status != 1 { // of the command that has failed last
		t.Errorf("status %d", status)
	}
	var got []string
	for text := range strings.Lines(out) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			continue // help
		}
		if l.Kind != "state" {
			got = append(got, strings.TrimSpace(l.Kind+" "+l.Namespace+" "+l.Event+" "+encode(l.Args, "")+" "+l.Error))
		}
	}
	want := []string{
		`event / news [{"n":1}]`,
		`answer / echo ["a b",{"x":1},[1,2]]`,
		`error /  null client: /admin: not for you`,
		`answer /admin echo ["there"]`,
		`answer / echo ["back"]`,
		`error /  null bogus wants more, or is no command: try help`,
	}
	slices.Sort(got) // an event can come before an answer or after it
	slices.Sort(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(out, "Commands:") {
		t.Error("no help")
	}
	out, _, status = upshift(t, "call later", "connect", url, "--wait", "50ms")
	if status != exitNoAnswer || !strings.Contains(out, `no answer to \"later\" in time`) {
		t.Errorf("%q, status %d", out, status)
	}
}

// A script of which a part cannot be read has not succeeded.
func TestScriptThatCannotBeRead(t *testing.T) {
	url := serve(t)
	const tooLong = 17 << 20
	_, errors, status := upshift(t, "emit echo 1\nemit echo "+strings.Repeat("x", tooLong)+"\nemit echo 2\n", "connect", url)
	if status != 1 || !strings.Contains(errors, "standard input") {
		t.Errorf("%.200q, status %d", errors, status)
	}
}

// Who comes back to a namespace may do so as somebody else.
func TestJoinWithAnotherAuth(t *testing.T) {
	url := serve(t)
	out, errors, status := upshift(t, strings.Join([]string{
		`join /admin {"token":"secret","as":1}`, `call whoami me`, `join /admin {"as":2}`, "leave", `join /admin {"token":"secret","as":3}`, `call whoami me`,
		`join / {"as":4}`, "join /", "leave", `join / {"as":5}`, "call whoami me", `join /nowhere`,
	}, "\n"), "connect", url, "--auth", `{"as":0}`)
	if status != exitRefused {
		t.Errorf("%q, status %d", errors, status)
	}
	var got []string
	for text := range strings.Lines(out) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind != "state" {
			got = append(got, strings.TrimSpace(l.Kind+" "+encode(l.Args, "")+" "+l.Error))
		}
	}
	want := []string{
		`answer [{"as":1,"token":"secret"}]`,
		`error null you are in /admin: leave it to come back with another auth`,
		`answer [{"as":3,"token":"secret"}]`,
		`error null you are in /: leave it to come back with another auth`,
		`answer [{"as":5}]`,
		`error null client: /nowhere: Invalid namespace`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A balancer that goes by cookie has its way, also with polling.
func TestCookiesAreKept(t *testing.T) {
	target, err := url.Parse(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.Map
	var turn atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(target)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("node")
		if r.URL.Query().Has("sid") && err != nil {
			http.Error(w, "no cookie", http.StatusBadRequest)
			return
		}
		if err == nil {
			sessions.Store(cookie.Value, true)
		} else {
			http.SetCookie(w, &http.Cookie{Name: "node", Value: strconv.FormatInt(turn.Add(1), 10)})
		}
		forward.ServeHTTP(w, r)
	}))
	defer site.Close()
	if out, errors, status := upshift(t, "", "emit", site.URL, "echo", "x", "-a", "-t", "polling"); status != 0 || out != `["x"]`+"\n" {
		t.Errorf("%q, %q, status %d", out, errors, status)
	}
	const clients = 3
	_, errors, status := upshift(t, "", "load", site.URL, "-c", strconv.Itoa(clients), "--for", "10ms", "-t", "polling")
	n := 0
	sessions.Range(func(any, any) bool { n++; return true })
	if status != 0 || n != 1+clients {
		t.Errorf("%q, status %d, %d cookies came back", errors, status, n)
	}
}

// A server that refuses who comes back ends listening.
func TestListenIsRefusedLater(t *testing.T) {
	var current atomic.Pointer[core.Server]
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { current.Load().ServeHTTP(w, r) }))
	defer site.Close()
	start := func(greet func(ctx context.Context, s *core.Socket) error) *core.Server {
		srv, err := core.New(core.Options{})
		if err != nil {
			t.Fatal(err)
		}
		srv.Of("/").OnConnect(greet)
		current.Store(srv)
		return srv
	}
	second := start(func(context.Context, *core.Socket) error { return nil })
	second.Of("/").Use(func(core.Handler) core.Handler {
		return func(context.Context, *core.Request) error { return core.Errorf("expired", "not any more") }
	})
	connected := make(chan struct{})
	first := start(func(context.Context, *core.Socket) error {
		close(connected)
		return nil
	})
	var restarting sync.WaitGroup
	restarting.Go(func() {
		<-connected
		current.Store(second)
		_ = first.Shutdown(context.Background())
	})
	out, errors, status := upshift(t, "", "listen", site.URL, "--for", "20s")
	if status != exitRefused || !strings.Contains(errors, "not any more") {
		t.Errorf("%q, %q, status %d", out, errors, status)
	}
	restarting.Wait()
	_ = second.Shutdown(context.Background())
}

func TestLoad(t *testing.T) {
	url := serve(t)
	out, errors, status := upshift(t, "", "load", url, "-c", "20", "--for", "3s", "-e", "echo", "-r", "50", "--ack", "--size", "10", "--json")
	var result struct {
		Connected, Failed, Lost, Sent, Answered int64
		Connect, Answer                         struct{ Count, P50, Max int64 }
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || status != 0 {
		t.Fatalf("%q, %q, status %d: %v", out, errors, status, err)
	}
	if result.Connected != 20 || result.Connect.Count != 20 || result.Answered == 0 || result.Answered != result.Sent || result.Answer.Count != result.Answered {
		t.Errorf("%+v", result)
	}
	if !strings.Contains(errors, "20 connected") {
		t.Errorf("progress %q", errors)
	}
	if out, _, status := upshift(t, "", "load", url, "-c", "5", "--for", "100ms", "--ramp", "1000"); status != 0 || !strings.Contains(out, "5 connections open") || !strings.Contains(out, "█") {
		t.Errorf("%q, status %d", out, status)
	}
	if _, _, status := upshift(t, "", "load", "http://127.0.0.1:1", "-c", "2", "--for", "10ms"); status != exitNoConnection {
		t.Errorf("status %d", status)
	}
	if _, _, status := upshift(t, "", "load", url, "-c", "0"); status != 1 {
		t.Errorf("status %d", status)
	}
	if _, errors, status := upshift(t, "", "load", url, "-c", "1", "-e", "echo", "-r", "2e9"); status != 1 || !strings.Contains(errors, "rate") {
		t.Errorf("%q, status %d", errors, status)
	}
	// Nothing to wait for; what went wrong is counted, not listed.
	began := time.Now()
	out, _, status = upshift(t, "", "load", "http://127.0.0.1:1", "-c", "30", "--for", "20s", "--json")
	var failed struct{ Errors map[string]int }
	if err := json.Unmarshal([]byte(out), &failed); err != nil || status != exitNoConnection || len(failed.Errors) != 1 || time.Since(began) > 15*time.Second {
		t.Errorf("%q, status %d: %v", out, status, err)
	}
}

func TestDoctor(t *testing.T) {
	url := serve(t)
	out, errors, status := upshift(t, "", "doctor", url, "--quick")
	if status != 0 || errors != "" || !strings.Contains(out, "ok       sticky") {
		t.Errorf("%q, %q, status %d", out, errors, status)
	}
	out, _, status = upshift(t, "", "doctor", url, "--quick", "--json", "--path", "/wrong/")
	var report struct {
		Findings []struct{ Check, Severity string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 1 || report.Findings[0].Severity != "problem" {
		t.Errorf("%q, status %d: %v", out, status, err)
	}
	for _, wrong := range [][]string{{"ftp://x"}, {}, {"x", "y"}, {"x", "--bogus"}, {"x", "--timeout", "soon"}} {
		if _, _, status := upshift(t, "", append([]string{"doctor"}, wrong...)...); status != 2 {
			t.Errorf("%v: status %d", wrong, status)
		}
	}
}

// Every command teaches: it has examples, and the shells complete it.
func TestHelp(t *testing.T) {
	for _, command := range newRoot().Commands() {
		out, _, status := upshift(t, "", command.Name(), "--help")
		if status != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "Exit status") {
			t.Errorf("%s: %q", command.Name(), out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _, status := upshift(t, "", "completion", shell); status != 0 || len(out) < 100 {
			t.Errorf("%s: %q", shell, out)
		}
	}
}

// What a server says cannot do anything to a terminal.
func TestControlCharacters(t *testing.T) {
	var b bytes.Buffer
	p := &printer{pretty: true, out: &b}
	const evil = "\x1b[2J\u009b2J\r\nx"
	p.print(line{Kind: "event", Namespace: evil, Event: evil, Args: []any{evil}})
	p.print(line{Kind: "state", State: "connected", ID: evil, Error: evil})
	p.print(line{Kind: "error", Error: evil})
	show(p, &doctor.Report{Findings: []doctor.Finding{{Says: evil, Why: evil}}})
	for _, r := range b.String() {
		if unicode.IsControl(r) && r != '\n' {
			t.Fatalf("it prints %q", b.String())
		}
	}
	if first, _, _ := strings.Cut(b.String(), "\n"); !strings.HasSuffix(first, `x"`) {
		t.Errorf("an event takes more than a line: %q", b.String())
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "a b": {"a", "b"}, `a {"x": "y z"} b`: {"a", `{"x": "y z"}`, "b"}, `"a b" c`: {`"a b"`, "c"},
		`{broken json`: {"{broken", "json"}, "  a\tb ": {"a", "b"}, `[1, 2]3`: {"[1, 2]", "3"},
	} {
		if got := splitLine(text); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: %q", text, got)
		}
	}
	if text, n, ok := complete("em", 2, '\t'); text != "emit " || n != 5 || !ok {
		t.Errorf("%q, %d, %v", text, n, ok)
	}
	if _, _, ok := complete("emit x", 6, '\t'); ok {
		t.Error("arguments are completed")
	}
	if _, _, ok := complete("em", 2, 'i'); ok {
		t.Error("a letter completes")
	}
}
