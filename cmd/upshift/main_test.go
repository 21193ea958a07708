package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

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
	if out, errors, status := upshift(t, "", "listen", url, "--for", "50ms", "--states"); !strings.Contains(out, `"connected"`) || status != 0 {
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
		"bogus", "call later", "help", "quit", "emit never",
	}, "\n"), "connect", url, "--wait", "300ms")
	if status != exitNoAnswer { // of the command that has failed last
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
		`error /  null no answer to "later" in time`,
	}
	slices.Sort(got) // an event can come before an answer or after it
	slices.Sort(want)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(out, "Commands:") {
		t.Error("no help")
	}
}

func TestLoad(t *testing.T) {
	url := serve(t)
	out, errors, status := upshift(t, "", "load", url, "-c", "20", "--for", "1200ms", "-e", "echo", "-r", "50", "--ack", "--size", "10", "--json")
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
	if _, _, status := upshift(t, "", "doctor", "ftp://x"); status != 2 {
		t.Errorf("status %d", status)
	}
}

// Every command teaches: it has examples, and the shells complete it.
func TestHelp(t *testing.T) {
	for _, command := range newRoot().Commands() {
		out, _, status := upshift(t, "", command.Name(), "--help")
		if status != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "Exit status") && command.Name() != "connect" {
			t.Errorf("%s: %q", command.Name(), out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _, status := upshift(t, "", "completion", shell); status != 0 || len(out) < 100 {
			t.Errorf("%s: %q", shell, out)
		}
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
