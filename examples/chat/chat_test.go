package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the chat on a free port until the test ends, and returns its
// address.
func start(t *testing.T, clientDir string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", clientDir, in) }()
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	words := strings.Fields(string(line[:n]))
	return words[len(words)-1]
}

// A page is one that stays on polling and looks at the bare packets.
type page struct {
	t       *testing.T
	url     string
	packets []string // polled, not yet asked for
	acks    int
}

func open(t *testing.T, addr string) *page {
	t.Helper()
	p := &page{t: t, url: addr + "/socket.io/?EIO=4&transport=polling"}
	var handshake struct {
		SID string `json:"sid"`
	}
	if err := json.Unmarshal([]byte(p.next("0")), &handshake); err != nil {
		t.Fatal(err)
	}
	p.url += "&sid=" + handshake.SID
	p.post("40")
	p.next("40")
	t.Cleanup(p.close)
	return p
}

// close ends the session, as a page does that is closed. It may have ended.
func (p *page) close() {
	res, err := http.Post(p.url, "text/plain", strings.NewReader("1"))
	if err == nil {
		_ = res.Body.Close()
	}
}

func get(ctx context.Context, url string) (http.Header, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.Header, string(body), err
}

// next takes the next packet that has the prefix, and returns the rest of it.
// It leaves what came before.
func (p *page) next(prefix string) string {
	p.t.Helper()
	for seen := 0; ; {
		for ; seen < len(p.packets); seen++ {
			if rest, ok := strings.CutPrefix(p.packets[seen], prefix); ok {
				p.packets = slices.Delete(p.packets, seen, seen+1)
				return rest
			}
		}
		_, body, err := get(p.t.Context(), p.url)
		if err != nil || body == "1" || strings.HasPrefix(body, "{") {
			p.t.Fatalf("no packet %s; polled %s, %v", prefix, body, err)
		}
		p.packets = append(p.packets, strings.Split(body, "\x1e")...)
	}
}

func (p *page) post(body string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err := io.ReadAll(res.Body); err != nil || string(answer) != "ok" {
		p.t.Fatalf("POST %s: %q, %v", body, answer, err)
	}
}

// call sends an event and decodes the answer.
func (p *page) call(event string, payload, answer any) {
	p.t.Helper()
	args, err := json.Marshal([]any{event, payload})
	if err != nil {
		p.t.Fatal(err)
	}
	id := string(rune('0' + p.acks))
	p.acks++
	p.post("42" + id + string(args))
	p.decode(p.next("43"+id), answer)
}

// hears decodes the next event of the given name.
func (p *page) hears(event string, payload any) {
	p.t.Helper()
	p.decode("["+p.next(`42["`+event+`",`), payload)
}

func (p *page) decode(args string, into any) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(args), &[]any{into}); err != nil {
		p.t.Fatalf("%s: %v", args, err)
	}
}

func (p *page) enters(name, room, secret string) Welcome {
	p.t.Helper()
	var w Welcome
	p.call("room:enter", Entry{Name: name, Room: room, Secret: secret}, &w)
	if w.Roster.Room != room {
		p.t.Fatalf("%s was not let into %s", name, room)
	}
	return w
}

type refusal struct {
	Error struct{ Code, Message string }
}

func TestTwoPagesTalk(t *testing.T) {
	addr := start(t, t.TempDir())
	ada, ben, cy := open(t, addr), open(t, addr), open(t, addr)
	ada.enters("Ada", "lobby", "a")
	cy.enters("Cy", "tea", "c")
	w := ben.enters("Ben", "lobby", "b")
	if !slices.Equal(names(w.Roster.People), []string{"Ada", "Ben"}) {
		t.Errorf("Ben finds %v", w.Roster.People)
	}
	if w.History == nil {
		t.Error("a room without a past has null for a list")
	}
	var came Roster
	ada.hears("people", &came)
	ada.hears("people", &came)
	if came.Joined == nil || came.Joined.Name != "Ben" {
		t.Errorf("Ada hears %+v, want that Ben joined", came)
	}

	ben.call("typing:set", true, new(any))
	var typing Typing
	ada.hears("typing", &typing)
	if !typing.On || typing.Person.Name != "Ben" || typing.Room != "lobby" {
		t.Errorf("Ada hears %+v", typing)
	}

	var sent, heard Message
	ben.call("message:send", Draft{Text: "<b>Hi</b>", Key: "k"}, &sent)
	ada.hears("message", &heard)
	if heard != sent || heard.Text != "<b>Hi</b>" || heard.From.Name != "Ben" {
		t.Errorf("sent %+v, heard %+v", sent, heard)
	}

	// Who is elsewhere hears nothing, and finds it in the history later.
	if w := cy.enters("Cy", "lobby", "c"); len(w.History) != 1 || w.History[0] != sent {
		t.Errorf("history = %+v", w.History)
	}
	for _, packet := range cy.packets {
		if strings.Contains(packet, `"message"`) {
			t.Errorf("another room heard %s", packet)
		}
	}

	ben.post("41") // the page goes
	var left Roster
	for left.Left == nil {
		ada.hears("people", &left)
	}
	if left.Left.Name != "Ben" || !slices.Equal(names(left.People), []string{"Ada", "Cy"}) {
		t.Errorf("Ada hears %+v, want that Ben left", left)
	}
}

func TestPageIsToldWhatIsWrong(t *testing.T) {
	addr := start(t, t.TempDir())
	ada, other := open(t, addr), open(t, addr)
	ada.enters("Ada", "lobby", "a")
	var r refusal
	other.call("room:enter", Entry{Name: "ada", Room: "Lobby", Secret: "b"}, &r)
	if r.Error.Code != "name_taken" || r.Error.Message == "" {
		t.Errorf("answer = %+v", r)
	}
	other.call("message:send", Draft{Text: "hi"}, &r)
	if r.Error.Code != "not_in_room" {
		t.Errorf("answer = %+v", r)
	}
}

func TestPageComesBack(t *testing.T) {
	addr := start(t, t.TempDir())
	lost, back, ben := open(t, addr), open(t, addr), open(t, addr)
	first := lost.enters("Ada", "lobby", "a")
	ben.enters("Ben", "lobby", "b")
	second := back.enters("Ada", "lobby", "a")
	if first.You != second.You {
		t.Errorf("came back as %+v, was %+v", second.You, first.You)
	}
	lost.next("41") // the lost connection, should it still be there, is let go

	// Ben has heard of nobody's coming but his own.
	var message Message
	back.call("message:send", Draft{Text: "back"}, &message)
	ben.hears("message", &message)
	var roster Roster
	ben.hears("people", &roster)
	if roster.Joined == nil || roster.Joined.Name != "Ben" || len(ben.packets) != 0 {
		t.Errorf("Ben hears %+v and then %q", roster, ben.packets)
	}
}

func TestServesPageAndClient(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "socket.io.min.js"), []byte("/* bundle */"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := start(t, dir)
	tests := []struct{ path, kind, text string }{
		{"/", "text/html", `src="app.js"`},
		{"/app.js", "text/javascript", "room:enter"},
		{"/style.css", "text/css", "prefers-color-scheme"},
		{"/socket.io/socket.io.min.js", "javascript", "bundle"},
	}
	for _, tt := range tests {
		header, body, err := get(t.Context(), addr+tt.path)
		if err != nil {
			t.Fatalf("GET %s: %v", tt.path, err)
		}
		if kind := header.Get("Content-Type"); !strings.Contains(kind, tt.kind) || !strings.Contains(body, tt.text) {
			t.Errorf("GET %s: %s, without %q", tt.path, kind, tt.text)
		}
	}
	if header, _, err := get(t.Context(), addr+"/"); err != nil || header.Get("Content-Security-Policy") == "" {
		t.Errorf("the page has no content security policy (%v)", err)
	}
}

func TestRunEndsWithPagesConnected(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", t.TempDir(), in) }()
	line := make([]byte, 200)
	n, _ := out.Read(line)
	words := strings.Fields(string(line[:n]))
	ada := open(t, words[len(words)-1])
	ada.enters("Ada", "lobby", "a")
	go func() { _, _, _ = get(context.WithoutCancel(ctx), ada.url) }() // parked
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("run did not end")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRunNamesWhatIsWrong(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:notaport", t.TempDir(), io.Discard); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("run on a bad address: %v", err)
	}
}
