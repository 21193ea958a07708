package core_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/upshift-go/upshift/core"
)

// openOld opens a session of a client of Socket.IO 2 and returns its query and
// id. What the server has sent along is what is left of the answer.
func (d *door) openOld() (session, id, rest string) {
	d.t.Helper()
	a := d.request("GET", "EIO=3&transport=polling", "")
	_, body, _ := strings.Cut(a.body, ":0")
	at := strings.Index(body, "}")
	var open struct{ SID string }
	if a.status != 200 || at < 0 || json.Unmarshal([]byte(body[:at+1]), &open) != nil {
		d.t.Fatalf("handshake: %+v", a)
	}
	return "EIO=3&transport=polling&sid=" + open.SID, open.SID, body[at+1:]
}

// expectOld polls until what has come is want.
func (d *door) expectOld(session, got, want string) {
	d.t.Helper()
	for len(got) < len(want) {
		a := d.request("GET", session, "")
		if a.status != 200 {
			d.t.Fatalf("poll: %+v after %q", a, got)
		}
		got += a.body
	}
	if got != want {
		d.t.Fatalf("polled %q, want %q", got, want)
	}
}

// C57 and section 20 of the protocol.
func TestOldClients(t *testing.T) {
	eachDoor(t, core.Options{AllowEIO3: true, Recovery: &core.Recovery{}}, func(t *testing.T, d *door) {
		var main, chat *core.Socket
		var connected sync.WaitGroup // the handlers of both
		connected.Add(2)
		d.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
			main = s
			connected.Done()
			return nil
		})
		n := d.Of("/chat")
		n.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, r *core.Request) error {
				var auth struct{ Token, Why string }
				if err := r.Socket.Auth(&auth); err != nil {
					return err
				}
				switch {
				case auth.Token == "a b":
					return next(ctx, r)
				case auth.Why == "object":
					return &core.Error{Code: "no", Message: "not you", Data: map[string]int{"n": 1}}
				case auth.Why == "text":
					return &core.Error{Code: "no", Message: "not you", Data: "the data"}
				case auth.Why == "number":
					return &core.Error{Code: "no", Message: "not you", Data: 1}
				}
				return core.Errorf("no", "not you")
			}
		})
		n.OnConnect(func(_ context.Context, s *core.Socket) error {
			chat = s
			connected.Done()
			return nil
		})
		core.On(n, "ask", func(context.Context, *core.Socket, core.None) (string, error) { return "answer", nil })
		session, id, rest := d.openOld()
		d.expectOld(session, rest, "2:40") // without having asked
		for query, refusal := range map[string]string{
			"":                   `4/chat,"not you"`,
			"?token=wrong":       `4/chat,"not you"`,
			"?why=object":        `4/chat,{"n":1}`,
			"?why=text":          `4/chat,"the data"`,
			"?why=number":        `4/chat,"not you"`,
			"?%zz&token=x":       `4/chat,"not you"`,
			"?token=a%20b&pid=x": `0/chat`,
		} {
			if strings.HasPrefix(refusal, "0") {
				continue // last
			}
			d.postOld(session, "40/chat"+query+",")
			d.expectOld(session, "", old("4"+refusal))
		}
		d.postOld(session, "40/nowhere?x=1,")
		d.expectOld(session, "", old(`44/nowhere,{"message":"Invalid namespace"}`))
		d.postOld(session, "40/chat?token=no&token=a+b,")
		d.expectOld(session, "", old("40/chat,"))
		d.postOld(session, `42/chat?x=1,7["ask"]`)
		d.expectOld(session, "", old(`43/chat,7["answer"]`))
		connected.Wait()
		if main.ID() != id || chat.ID() != "/chat#"+id {
			t.Errorf("ids %q and %q of session %q", main.ID(), chat.ID(), id)
		}
		d.postOld(session, "40") // is connected already
		if a := d.request("GET", session, ""); a.status == 200 && !strings.HasSuffix(a.body, "1:1") {
			t.Errorf("after a second CONNECT: %+v", a)
		}
	})
	eachDoor(t, core.Options{AllowEIO3: true}, func(t *testing.T, d *door) {
		session, _, rest := d.openOld()
		d.expectOld(session, rest, "2:40")
		if head, _ := d.upgrade(strings.Replace(session, "EIO=3", "EIO=4", 1) + "&transport=websocket"); !strings.HasPrefix(head, "HTTP/1.1 400 ") {
			t.Errorf("upgrade with another revision: %s", head)
		}
	})
	eachDoor(t, core.Options{}, func(t *testing.T, d *door) {
		for _, eio := range []string{"EIO=3&", "EIO=2&", ""} {
			if a := d.request("GET", eio+"transport=polling", ""); a.status != 400 || !strings.HasPrefix(a.body, `{"code":5,`) {
				t.Errorf("%q: %+v", eio, a)
			}
		}
	})
}

// old is a payload of one packet, of ASCII.
func old(packet string) string {
	text, _ := json.Marshal(len(packet)) //nolint:errchkjson // a number
	return string(text) + ":" + packet
}

func (d *door) postOld(session, packet string) {
	d.t.Helper()
	if a := d.request("POST", session, old(packet), "Content-Type", "text/plain;charset=UTF-8"); a.status != 200 || a.body != "ok" {
		d.t.Fatalf("POST %q: %+v", packet, a)
	}
}

// An old client that middleware refuses is not connected to the main namespace,
// and its session ends if it does not connect to another.
func TestOldClientRefused(t *testing.T) {
	eachDoor(t, core.Options{AllowEIO3: true}, func(_ *testing.T, d *door) {
		d.Of("/").Use(func(core.Handler) core.Handler {
			return func(context.Context, *core.Request) error { return core.Errorf("no", "not authorized") }
		})
		session, _, rest := d.openOld()
		d.expectOld(session, rest, old(`44"not authorized"`))
	})
}
