package core_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/core"
)

// websocket is a client's WebSocket, spoken by hand.
type websocket struct {
	gws.BuiltinEventHandler
	t        *testing.T
	conn     *gws.Conn
	received chan string // closed with the connection
}

func (w *websocket) OnMessage(_ *gws.Conn, m *gws.Message) {
	w.received <- string(m.Bytes())
	_ = m.Close()
}

func (w *websocket) OnClose(*gws.Conn, error) { close(w.received) }

// dial opens a WebSocket with the query of a session, or without.
func (d *door) dial(query string) (*websocket, error) {
	w := &websocket{t: d.t, received: make(chan string, 10_000)}
	query = strings.Replace(query, "polling", "websocket", 1)
	conn, resp, err := gws.NewClient(w, &gws.ClientOption{Addr: "ws://" + d.addr + "/socket.io/?" + query})
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	w.conn = conn
	var reader sync.WaitGroup
	reader.Go(conn.ReadLoop)
	d.t.Cleanup(func() {
		_ = conn.NetConn().Close()
		reader.Wait()
	})
	return w, nil
}

func (d *door) mustDial(query string) *websocket {
	d.t.Helper()
	w, err := d.dial(query)
	if err != nil {
		d.t.Fatal(err)
	}
	return w
}

func (w *websocket) send(packets ...string) {
	w.t.Helper()
	for _, p := range packets {
		if err := w.conn.WriteString(p); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *websocket) expect(packets ...string) {
	w.t.Helper()
	for _, want := range packets {
		if got, ok := <-w.received; got != want {
			w.t.Fatalf("received %q (%v), want %q", got, ok, want)
		}
	}
}

func (w *websocket) expectClosed() {
	w.t.Helper()
	if got, ok := <-w.received; ok {
		w.t.Fatalf("received %q, want the end", got)
	}
}

const (
	unknown       = `420["x"]`
	unknownAnswer = `430[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`
)

func TestUpgradeOnTheWire(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		t.Run("B57 probe, noop, commit, echo", func(t *testing.T) {
			session := d.join()
			polled := make(chan answer, 1)
			go func() {
				a, _ := d.try("GET", "/socket.io/?"+session, "")
				polled <- a
			}()
			w := d.mustDial(session)
			w.send("2probe")
			w.expect("3probe")
			if a := <-polled; a.body != "6" {
				t.Errorf("poll: %+v", a)
			}
			w.send("2probe", "5", unknown)
			w.expect("3probe", unknownAnswer)
			if a := d.request("GET", session, ""); a.status != 400 || a.body != `{"code":3,"message":"Bad request"}` {
				t.Errorf("poll after the upgrade: %+v", a)
			}
			if _, err := d.dial(session); err == nil { // B5
				t.Error("a second WebSocket was taken")
			}
			w.send("0", "5", "6", unknown) // ignored on an open session
			w.expect(unknownAnswer)
		})
		t.Run("B58 a message before the commit aborts the attempt only", func(t *testing.T) {
			session := d.join()
			w := d.mustDial(session)
			if _, err := d.dial(session); err == nil {
				t.Error("two candidates at once")
			}
			w.send("2probe")
			w.expect("3probe")
			w.send(unknown)
			w.expectClosed()
			d.post(session, unknown)
			d.expectPoll(session, unknownAnswer)
			w = d.mustDial(session)
			w.send("2probe")
			w.expect("3probe")
			w.send("5", unknown)
			w.expect(unknownAnswer)
		})
		t.Run("B59 a parked poll is closed by an immediate commit", func(t *testing.T) {
			session := d.join()
			polled := make(chan answer, 1)
			go func() {
				a, _ := d.try("GET", "/socket.io/?"+session, "")
				polled <- a
			}()
			w := d.mustDial(session)
			w.send("5", unknown)
			w.expect(unknownAnswer)
			// The poll came before the commit, or after it.
			if a := <-polled; a.body != "1" && a.status != 400 {
				t.Errorf("poll: %+v", a)
			}
		})
		t.Run("B61 websocket sessions are not upgraded", func(t *testing.T) {
			w := d.mustDial("EIO=4&transport=websocket")
			open := <-w.received
			if !strings.Contains(open, `"upgrades":[]`) {
				t.Errorf("open packet %s", open)
			}
			w.send("40")
			<-w.received
			sid := strings.Split(open, `"`)[3]
			if _, err := d.dial("EIO=4&transport=websocket&sid=" + sid); err == nil {
				t.Error("upgraded")
			}
			w.send(unknown)
			w.expect(unknownAnswer)
		})
		t.Run("10.4 the revision is the session's", func(t *testing.T) {
			session := d.join()
			if _, err := d.dial(strings.Replace(session, "EIO=4", "EIO=3", 1)); err == nil {
				t.Error("upgraded with EIO=3")
			}
			w := d.mustDial(strings.Replace(session, "EIO=4&", "", 1))
			w.send("5", unknown)
			w.expect(unknownAnswer)
		})
	})
}

// A POST and "5" race on two connections. What was answered "ok" is handled
// before what follows "5"; what was not is not handled at all (A10, B60).
func TestPostRacesCommit(t *testing.T) {
	handled := make(chan string, 10)
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		core.On(d.Of("/"), "n", func(_ context.Context, _ *core.Socket, n string) (core.None, error) {
			handled <- n
			return core.None{}, nil
		})
		for i := range 300 {
			session := d.join()
			w := d.mustDial(session)
			w.send("2probe")
			w.expect("3probe")
			posted := make(chan answer, 1)
			go func() {
				a, _ := d.try("POST", "/socket.io/?"+session, `42["n","post"]`)
				posted <- a
			}()
			if i%3 > 0 {
				if a := <-posted; a.body != "ok" {
					t.Fatalf("POST before the commit: %+v", a)
				}
				posted <- answer{body: "ok"}
			}
			w.send("5", `42["n","after"]`)
			got := <-handled
			if a := <-posted; a.body == "ok" {
				got += " " + <-handled
			}
			if got != "post after" && got != "after" && (i%3 > 0 || got != "after post") {
				t.Fatalf("handled %q", got)
			}
			_ = w.conn.NetConn().Close()
		}
	})
}

// A CONNECT that comes in the same instant as the session opens is answered,
// always: a peer loses about one in 700.
func TestConnectAtOnce(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		for i := range 1000 {
			w := d.mustDial("EIO=4&transport=websocket")
			w.send("40")
			if open := <-w.received; !strings.HasPrefix(open, "0{") {
				t.Fatalf("%d: first packet %q", i, open)
			}
			if reply := <-w.received; !strings.HasPrefix(reply, `40{"sid":"`) {
				t.Fatalf("%d: answer to CONNECT %q", i, reply)
			}
			_ = w.conn.NetConn().Close()
		}
	})
}

// Two emits from one goroutine arrive in order, and a header and its
// attachments stay together, whoever else emits at the same time (socket-io
// B1 B2, C71).
func TestConcurrentEmits(t *testing.T) {
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		const emitters, each = 8, 200
		w := d.mustDial("EIO=4&transport=websocket")
		<-w.received
		w.send("40")
		<-w.received
		w.send(unknown) // answered: the socket is there
		w.expect(unknownAnswer)
		s := d.Of("/").Sockets()[0]
		var wg sync.WaitGroup
		for e := range emitters {
			wg.Go(func() {
				for i := range each {
					var err error
					mark := fmt.Sprintf("%d-%d", e, i)
					switch e % 4 {
					case 0:
						err = s.Emit(t.Context(), "text", e, i)
					case 1:
						err = s.Emit(t.Context(), "binary", e, i, []byte(mark+"a"), []byte(mark+"b"))
					case 2:
						err = d.Of("/").Emit(t.Context(), "text", e, i)
					case 3:
						err = d.Of("/").Emit(t.Context(), "binary", e, i, []byte(mark+"a"), []byte(mark+"b"))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		next := make([]int, emitters)
		for range emitters * each {
			header := <-w.received
			var e, i int
			_, arguments, _ := strings.Cut(header, `",`)
			if _, err := fmt.Sscanf(arguments, `%d,%d`, &e, &i); err != nil {
				t.Fatalf("header %q: %v", header, err)
			}
			if next[e] != i {
				t.Fatalf("emitter %d: got %d, want %d", e, i, next[e])
			}
			next[e]++
			if e%2 == 1 {
				mark := fmt.Sprintf("%d-%d", e, i)
				w.expect(mark+"a", mark+"b")
			}
		}
	})
}
