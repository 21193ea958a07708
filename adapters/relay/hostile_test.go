package relay_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/adapters/relay"
	"github.com/upshift-go/upshift/core"
)

// Servers that do not share the secret do not serve each other: the client opens a
// new session, and both logs say why.
func TestWrongSecret(t *testing.T) {
	nodes := start(t, 2, setup{prepare: func(i int, _ *node, o *relay.Options) {
		o.Secret += strconv.Itoa(i)
	}})
	sid := openSession(t, nodes[0])
	for range 3 {
		if got := get(t, pollURL(nodes[1].base, sid)); got.status != 400 || got.body != unknownSession || got.header.Get("Upshift-Relay") != "" {
			t.Errorf("%+v", got)
		}
	}
	if _, status := tryWebSocket(t, nodes[1].base, sid); status != 400 {
		t.Errorf("status %d", status)
	}
	if s := nodes[0].front.Stats(); s.Forged != 4 || s.Received != 0 {
		t.Errorf("%+v", s)
	}
	if s := nodes[1].front.Stats(); s.Failed != 4 {
		t.Errorf("%+v", s)
	}
	for i, text := range []string{"not signed with Options.Secret", "refuses what is passed on"} {
		if n := strings.Count(nodes[i].log.String(), text); n != 1 {
			t.Errorf("%d records of %q", n, text)
		}
	}
	if got := post(t, pollURL(nodes[0].base, sid), "3"); got.status != 200 {
		t.Errorf("the session has ended: %+v", got)
	}
}

// A header that a client has made up is refused, and never passed on.
func TestForgedHop(t *testing.T) {
	nodes := start(t, 2, setup{})
	sid := openSession(t, nodes[0])
	for _, forged := range []string{"x", "http", "http  ", "http AAAA 1.2.3.4:5", "https " + strings.Repeat("A", 43) + " 1.2.3.4:5", "\t,"} {
		for _, n := range nodes {
			if got := get(t, pollURL(n.base, sid), "Upshift-Relay", forged); got.status != 403 {
				t.Errorf("%q: %+v", forged, got)
			}
			if _, status := tryWebSocket(t, n.base, sid, "Upshift-Relay", forged); status != 403 {
				t.Errorf("%q: status %d", forged, status)
			}
		}
	}
	if sum := total(nodes); sum.Requests != 0 || sum.Received != 0 || sum.Forged != 24 {
		t.Errorf("%+v", sum)
	}
}

// What the header of one request proves, it does not prove for another.
func TestStolenHop(t *testing.T) {
	var (
		mu    sync.Mutex
		taken string
	)
	thief := thieve(t, func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		taken = r.Header.Get("Upshift-Relay")
	})
	nodes := start(t, 1, setup{alone: true, prepare: func(_ int, _ *node, o *relay.Options) {
		o.Servers = map[string]string{"thif": thief}
	}})
	get(t, pollURL(nodes[0].base, "thif567890123456789_"))
	mu.Lock()
	defer mu.Unlock()
	if taken == "" {
		t.Fatal("nothing was passed on")
	}
	sid := openSession(t, nodes[0])
	if got := post(t, pollURL(nodes[0].base, sid), "3", "Upshift-Relay", taken); got.status != 403 {
		t.Errorf("%+v", got)
	}
	if got := get(t, pollURL(nodes[0].base, sid), "Upshift-Relay", taken); got.status != 403 {
		t.Errorf("%+v", got)
	}
	// For the same request it is good, and the request goes no further.
	if got := get(t, pollURL(nodes[0].base, "thif567890123456789_"), "Upshift-Relay", taken); got.status != 400 || got.body != unknownSession {
		t.Errorf("%+v", got)
	}
	if s := nodes[0].front.Stats(); s.Requests != 1 || s.Forged != 2 || s.Received != 1 {
		t.Errorf("%+v", s)
	}
}

// thieve is a server that looks at requests and answers 404.
func thieve(t *testing.T, look func(*http.Request)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		look(r)
		w.WriteHeader(http.StatusNotFound)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

// Session ids that are made up cost the other servers few questions, this one
// little memory, and the client gets the usual answer at once.
func TestMadeUpSessions(t *testing.T) {
	nodes := start(t, 3, setup{relay: relay.Options{AskRate: 5, UnknownTime: time.Hour, AskTimeout: 10 * time.Millisecond}})
	began := time.Now()
	var flood sync.WaitGroup
	const floods, each = 8, 300
	for i := range floods {
		flood.Go(func() {
			for j := range each {
				sid := fmt.Sprintf("%c%03d567890123456789_", 'a'+i, j)
				if got := get(t, pollURL(nodes[0].base, sid)); got.status != 400 || got.body != unknownSession {
					t.Errorf("%+v", got)
					return
				}
			}
		})
	}
	flood.Wait()
	s := nodes[0].front.Stats()
	most := uint64(5 + 5*(time.Since(began).Seconds()+1))
	if s.Questions == 0 || s.Questions > most || s.Unasked < floods*each-most || s.Requests != 0 {
		t.Errorf("at most %d questions: %+v", most, s)
	}
	if n := nodes[0].front.Remembered(); uint64(n) > most {
		t.Errorf("%d tags are remembered", n)
	}
	// Sessions of servers that are known do not suffer.
	sid := openSession(t, nodes[1])
	if got := post(t, pollURL(nodes[0].base, sid), "3"); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// The same tag is asked about once at a time, and not again for a while.
func TestOneQuestion(t *testing.T) {
	nodes := start(t, 2, setup{relay: relay.Options{AskTimeout: 50 * time.Millisecond, UnknownTime: time.Hour}})
	var asking sync.WaitGroup
	for i := range 50 {
		asking.Go(func() {
			if got := get(t, pollURL(nodes[0].base, fmt.Sprintf("gone%016d", i))); got.body != unknownSession {
				t.Errorf("%+v", got)
			}
		})
	}
	asking.Wait()
	if s := nodes[0].front.Stats(); s.Questions != 1 || s.Unknown != 50 {
		t.Errorf("%+v", s)
	}
}

// A server that has been forgotten is asked for, and found.
func TestAskedFor(t *testing.T) {
	nodes := start(t, 3, setup{relay: relay.Options{AskTimeout: patience}})
	sid := openSession(t, nodes[2])
	nodes[0].front.Forget()
	if got := post(t, pollURL(nodes[0].base, sid), "3"); got.status != 200 {
		t.Errorf("%+v", got)
	}
	if s := nodes[0].front.Stats(); s.Questions != 1 || s.Requests != 1 {
		t.Errorf("%+v", s)
	}
}

// What is not a request of a session stays here, whatever its query says.
func TestOnlySessions(t *testing.T) {
	nodes := start(t, 2, setup{})
	sid := openSession(t, nodes[1])
	for _, path := range []string{"/socket.io/../inner", "/socket.io/inner", "/socket.io/socket.io.js", "/socket.io//", "/socket.io/%2e%2e/inner"} {
		got, err := do(t.Context(), "GET", nodes[0].base+path+"?EIO=4&transport=polling&sid="+sid, "")
		if err != nil || got.status == 200 && got.body != "inner" {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT"} {
		_, _ = do(t.Context(), method, pollURL(nodes[0].base, sid), "")
	}
	for _, id := range []string{"", sid[:19], sid + "x", sid[:4]} {
		_ = get(t, pollURL(nodes[0].base, id))
	}
	if sum := total(nodes); sum.Requests != 0 || sum.Questions != 0 {
		t.Errorf("%+v", sum)
	}
}

// The session's server sees the client's address, and what proxies before have
// said, but nothing that is about one connection alone.
func TestClientAddress(t *testing.T) {
	seen := make(chan *http.Request, 1)
	thief := thieve(t, func(r *http.Request) { seen <- r })
	nodes := start(t, 1, setup{alone: true, prepare: func(_ int, _ *node, o *relay.Options) {
		o.Servers = map[string]string{"thif": thief + "/app/"}
	}})
	get(t, nodes[0].base+"/socket.io/?sid=thif567890123456789_&x=;&transport=polling",
		"X-Forwarded-For", "1.2.3.4", "Forwarded", "for=1.2.3.4", "Keep-Alive", "9", "Cookie", "a=b", "Te", "trailers")
	r := receive(t, "the request", seen)
	if r.URL.Path != "/app/socket.io/" || r.URL.RawQuery != "sid=thif567890123456789_&x=;&transport=polling" {
		t.Errorf("%s", r.URL)
	}
	if "http://"+r.Host != nodes[0].base {
		t.Errorf("host %s", r.Host)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=1.2.3.4", "Cookie": "a=b", "Keep-Alive": "", "Te": "", "Connection": "",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	field := r.Header.Get("Upshift-Relay")
	if !strings.HasPrefix(field, "http ") || !strings.Contains(field, " 127.0.0.1:") || strings.Contains(field, secret) {
		t.Errorf("%q", field)
	}
}

// The limit is for polls and tunnels together, and the slots come back.
func TestMaxRelayed(t *testing.T) {
	nodes := start(t, 2, setup{relay: relay.Options{MaxRelayed: 2}})
	conn := dialWebSocket(t, nodes[1].base, openSession(t, nodes[0]))
	parked := openSession(t, nodes[0])
	polling := make(chan response, 1)
	go func() {
		answer, _ := tryGet(t.Context(), pollURL(nodes[1].base, parked))
		polling <- answer
	}()
	until(t, "both are under way", func() bool { return nodes[1].front.Stats().Active == 2 })
	if got := post(t, pollURL(nodes[1].base, parked), "3"); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("%+v", got)
	}
	_ = conn.Close()
	until(t, "the tunnel has ended", func() bool { return nodes[1].front.Stats().Active == 1 })
	if got := post(t, pollURL(nodes[1].base, parked), `42["x"]`); got.status != 200 {
		t.Errorf("%+v", got)
	}
	if err := nodes[0].srv.Of("/").Emit(t.Context(), "end"); err != nil {
		t.Error(err)
	}
	if got := receive(t, "the poll", polling); got.status != 200 {
		t.Errorf("%+v", got)
	}
	if s := nodes[1].front.Stats(); s.Busy != 1 {
		t.Errorf("%+v", s)
	}
}

// Bodies and answers beyond the limits are refused here.
func TestTooLarge(t *testing.T) {
	for _, door := range []string{"nethttp", "fasthttp"} {
		t.Run(door, func(t *testing.T) {
			nodes := start(t, 2, setup{door: door, core: core.Options{MaxPayload: 1000}, relay: relay.Options{MaxResponse: 2000}})
			sid := openSession(t, nodes[0])
			if got := post(t, pollURL(nodes[1].base, sid), strings.Repeat("4", 1001)); got.status != 413 {
				t.Errorf("%+v", got)
			}
			if s := nodes[1].front.Stats(); s.Requests != 0 {
				t.Errorf("%+v", s)
			}
			noise := make([]byte, 3000) // answers may be compressed
			_, _ = rand.Read(noise)
			if err := nodes[0].srv.Of("/").Emit(t.Context(), "large", hex.EncodeToString(noise)); err != nil {
				t.Fatal(err)
			}
			if got := get(t, pollURL(nodes[1].base, sid)); got.status != 400 || got.body != unknownSession {
				t.Errorf("%+v", got)
			}
			if s := nodes[1].front.Stats(); s.Failed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A server that accepts requests and answers none costs its own sessions alone.
func TestSilentOwner(t *testing.T) {
	release := make(chan struct{})
	silent := thieve(t, func(r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	nodes := start(t, 1, setup{alone: true, prepare: func(_ int, _ *node, o *relay.Options) {
		o.Servers = map[string]string{"mute": silent}
		o.Timeout = 50 * time.Millisecond
	}})
	if got := get(t, pollURL(nodes[0].base, "mute567890123456789_")); got.status != 400 || got.body != unknownSession {
		t.Errorf("%+v", got)
	}
	if s := nodes[0].front.Stats(); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

// A poll whose answer has got lost is not asked for again: what was in it would be
// lost in silence.
func TestNoRepetition(t *testing.T) {
	var (
		mu    sync.Mutex
		count int
	)
	cutter := thieve(t, func(*http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if count++; count > 1 {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
	})
	nodes := start(t, 1, setup{alone: true, prepare: func(_ int, _ *node, o *relay.Options) {
		o.Servers = map[string]string{"cuts": cutter}
	}})
	get(t, pollURL(nodes[0].base, "cuts567890123456789_")) // leaves a connection to use again
	if got := get(t, pollURL(nodes[0].base, "cuts567890123456789_")); got.status != 400 {
		t.Errorf("%+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if count != 2 {
		t.Errorf("%d requests", count)
	}
}

// A client that does not read what comes through a tunnel is cut off.
func TestTunnelNotRead(t *testing.T) {
	nodes := start(t, 2, setup{
		core:  core.Options{MaxOutboxBytes: 64 << 20},
		relay: relay.Options{WriteTimeout: 50 * time.Millisecond},
	})
	// Without the session it would be the server that gives up first.
	_ = dialWebSocket(t, nodes[1].base, openSession(t, nodes[0]), "X-Unused", "1")
	until(t, "it is open", func() bool { return nodes[1].front.Stats().Active == 1 })
	ended := make(chan struct{})
	nodes[0].srv.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { close(ended) })
	for s := range nodes[0].srv.AllSessions() {
		s.Close(&core.CloseError{Reason: core.ForcedClose})
	}
	receive(t, "the end of the session", ended)
	until(t, "nothing is left", func() bool { return nodes[1].front.Stats().Active == 0 })
}

func TestOptions(t *testing.T) {
	tagged := func(t *testing.T) *core.Server {
		srv, err := core.New(core.Options{SessionTag: "abcd"})
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	good := relay.Options{Secret: secret, Servers: map[string]string{"efgh": "http://localhost:1"}}
	for name, change := range map[string]func(o *relay.Options){
		"Secret":       func(o *relay.Options) { o.Secret = "short" },
		"Advertise":    func(o *relay.Options) { o.Servers = nil },
		"adapter":      func(o *relay.Options) { o.Servers, o.Advertise = nil, "http://localhost:2" },
		"localhost:2":  func(o *relay.Options) { o.Servers, o.Advertise = nil, "localhost:2" },
		"ftp":          func(o *relay.Options) { o.Servers = map[string]string{"efgh": "ftp://x"} },
		"user":         func(o *relay.Options) { o.Servers = map[string]string{"efgh": "http://user@x"} },
		"SessionTag":   func(o *relay.Options) { o.Servers = map[string]string{"e": "http://x"} },
		"MaxRelayed":   func(o *relay.Options) { o.MaxRelayed = -1 },
		"MaxIdle":      func(o *relay.Options) { o.MaxIdle = -1 },
		"MaxResponse":  func(o *relay.Options) { o.MaxResponse = -1 },
		"DialTimeout":  func(o *relay.Options) { o.DialTimeout = -1 },
		"Timeout":      func(o *relay.Options) { o.Timeout = -1 },
		"WriteTimeout": func(o *relay.Options) { o.WriteTimeout = -1 },
		"AskTimeout":   func(o *relay.Options) { o.AskTimeout = -1 },
		"AskRate":      func(o *relay.Options) { o.AskRate = -1 },
		"UnknownTime":  func(o *relay.Options) { o.UnknownTime = -1 },
	} {
		o := good
		change(&o)
		if _, err := relay.New(tagged(t), o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv, _ := core.New(core.Options{})
	if _, err := relay.New(srv, good); err == nil || !strings.Contains(err.Error(), "SessionTag") {
		t.Errorf("no tag: %v", err)
	}
	if r, err := relay.New(tagged(t), good); err != nil {
		t.Error(err)
	} else if err := r.Close(); err != nil {
		t.Error(err)
	}
}
