package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/core"
)

// Shutdown under load, spread over a while: every client gets all that was
// emitted to it before its turn, and then an orderly end; until then it can send
// and is answered; nobody new is let in.
func TestShutdownUnderLoad(t *testing.T) {
	const clients = 100 // of each kind
	eachDoor(t, core.Options{ShutdownSpread: time.Second}, func(t *testing.T, d *door) {
		n := d.Of("/")
		var (
			emitters sync.WaitGroup
			mu       sync.Mutex // guards accepted
			accepted = make(map[string]int)
		)
		n.OnConnect(func(ctx context.Context, s *core.Socket) error {
			emitters.Go(func() {
				for i := 0; ; i++ {
					err := s.Emit(ctx, "n", i)
					if err != nil {
						if !errors.Is(err, core.ErrDisconnected) {
							t.Errorf("Emit: %v", err)
						}
						mu.Lock()
						accepted[s.ID()] = i
						mu.Unlock()
						return
					}
					select {
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			})
			return nil
		})
		core.On(n, "up", func(_ context.Context, _ *core.Socket, i int) (int, error) { return i, nil })

		all := make([]*leaver, 2*clients)
		var running, ready sync.WaitGroup
		for i := range all {
			ready.Add(1)
			c := &leaver{door: d, ready: sync.OnceFunc(ready.Done)}
			all[i] = c
			run := c.poll
			if i%2 == 0 {
				run = c.websocket
			}
			running.Go(run)
		}
		ready.Wait()
		done := make(chan error, 1)
		go func() { done <- d.Shutdown(t.Context()) }()
		for refused := false; !refused; {
			a, err := d.try("GET", "/socket.io/?EIO=4&transport=polling", "")
			if err != nil {
				t.Fatal(err)
			}
			if refused = a.status != 200; refused && (a.status != 503 || a.header.Get("Retry-After") != "1") {
				t.Errorf("a new client gets %+v", a)
			}
		}
		if err := <-done; err != nil {
			t.Error("Shutdown:", err)
		}
		running.Wait()
		emitters.Wait()
		for i, c := range all {
			if c.err != nil {
				t.Errorf("client %d: %v", i, c.err)
			}
			if c.got != accepted[c.sid] {
				t.Errorf("client %d got %d events, %d were emitted to it", i, c.got, accepted[c.sid])
			}
			if c.answers == 0 {
				t.Errorf("client %d was not answered", i)
			}
		}
	})
}

// A leaver counts what it gets until the server ends its session.
type leaver struct {
	gws.BuiltinEventHandler
	door  *door
	ready func()

	sid     string
	got     int // events, which are numbered
	answers int
	ended   bool
	err     error
}

// take takes one packet and returns what to answer, if anything.
func (c *leaver) take(packet string) (answer string) {
	switch {
	case packet == "2":
		return "3"
	case packet == "6":
	case packet == "1":
		c.ended = true
	case strings.HasPrefix(packet, "0"):
		return "40"
	case strings.HasPrefix(packet, "40"):
		var reply struct{ SID string }
		c.fail(json.Unmarshal([]byte(packet[2:]), &reply))
		c.sid = reply.SID
	case strings.HasPrefix(packet, "43"):
		c.answers++
		c.ready()
	case packet == `42["n",`+strconv.Itoa(c.got)+`]`:
		c.got++
		return `42` + strconv.Itoa(c.got) + `["up",1]`
	default:
		c.fail(fmt.Errorf("%s came after %d events", packet, c.got))
	}
	return ""
}

func (c *leaver) fail(err error) {
	if c.err == nil && err != nil {
		c.err = err
		c.ready()
	}
}

func (c *leaver) poll() {
	a, err := c.door.try("GET", "/socket.io/?EIO=4&transport=polling", "")
	var open struct{ SID string }
	if err == nil {
		err = json.Unmarshal([]byte(a.body[1:]), &open)
	}
	c.fail(err)
	path := "/socket.io/?EIO=4&transport=polling&sid=" + open.SID
	_, err = c.door.try("POST", path, "40")
	c.fail(err)
	for c.err == nil && !c.ended {
		a, err := c.door.try("GET", path, "")
		if err != nil || a.status != 200 {
			c.fail(fmt.Errorf("GET: %+v, %w", a, err))
			return
		}
		var answers []string
		for packet := range strings.SplitSeq(a.body, "\x1e") {
			if answer := c.take(packet); answer != "" {
				answers = append(answers, answer)
			}
		}
		if len(answers) > 0 && !c.ended {
			// It may be this client's turn just now: the next poll tells.
			_, err = c.door.try("POST", path, strings.Join(answers, "\x1e"))
			c.fail(err)
		}
	}
}

func (c *leaver) websocket() {
	ws, response, err := gws.NewClient(c, &gws.ClientOption{Addr: "ws://" + c.door.addr + "/socket.io/?EIO=4&transport=websocket"})
	if err != nil {
		c.fail(err)
		return
	}
	_ = response.Body.Close()
	ws.ReadLoop()
	_ = ws.NetConn().Close()
}

func (c *leaver) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	if answer := c.take(string(m.Bytes())); answer != "" {
		_ = ws.WriteString(answer) // the session may have ended just now
	}
}

func (c *leaver) OnClose(_ *gws.Conn, err error) {
	if _, ok := errors.AsType[*gws.CloseError](err); !ok {
		c.fail(fmt.Errorf("no orderly end: %w", err))
	}
}
