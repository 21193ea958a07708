package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/upshift-go/upshift/core"
)

// 500 clients join, leave, broadcast, upgrade and die at random. In the end
// nothing is left of them, and everything that began has ended.
func TestStress(t *testing.T) {
	const clients = 500
	var connects, disconnects, events atomic.Int64
	o := core.Options{PingInterval: 300 * time.Millisecond, PingTimeout: 2 * time.Second}
	eachDoor(t, o, func(t *testing.T, d *door) {
		connects.Store(0)
		disconnects.Store(0)
		n := d.Of("/")
		n.OnConnect(func(ctx context.Context, s *core.Socket) error {
			connects.Add(1)
			return s.Join(ctx, "all")
		})
		n.OnDisconnect(func(context.Context, *core.Socket, error) { disconnects.Add(1) })
		core.On(n, "join", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
			return core.None{}, ignoreGone(s.Join(ctx, room))
		})
		core.On(n, "leave", func(ctx context.Context, s *core.Socket, room string) (core.None, error) {
			return core.None{}, ignoreGone(s.Leave(ctx, room))
		})
		core.On(n, "say", func(ctx context.Context, s *core.Socket, room string) (int64, error) {
			return events.Add(1), s.To(room).Emit(ctx, "said", room, []byte("binary"))
		})
		core.On(n, "kick", func(_ context.Context, s *core.Socket, _ core.None) (core.None, error) {
			s.Disconnect()
			return core.None{}, nil
		})
		var wg sync.WaitGroup
		for i := range clients {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			wg.Go(func() { (&stressClient{door: d, random: random}).run() })
		}
		wg.Wait()
		// Nobody may hang: those that died without a word are found out by
		// the transport or by the heartbeat.
		for _, s := range n.Sockets() {
			<-s.Context().Done()
		}
		if err := d.Shutdown(t.Context()); err != nil {
			t.Error("Shutdown:", err)
		}
		if d.Sessions() != 0 || n.Len() != 0 || len(n.To("all").Sockets()) != 0 {
			t.Errorf("%d sessions, %d sockets, %d in the room", d.Sessions(), n.Len(), len(n.To("all").Sockets()))
		}
		if connects.Load() != disconnects.Load() || connects.Load() == 0 {
			t.Errorf("%d connects, %d disconnects", connects.Load(), disconnects.Load())
		}
		if events.Load() == 0 {
			t.Error("no event was handled")
		}
	})
}

func ignoreGone(err error) error {
	if errors.Is(err, core.ErrDisconnected) {
		return nil
	}
	return err
}

// A stressClient lives for a while and dies. It checks nothing but that it
// never blocks for ever; errors mean that the server has ended it, or it
// itself.
type stressClient struct {
	gws.BuiltinEventHandler
	door   *door
	random *rand.Rand
	probed chan struct{}
	closed chan struct{}
}

func (c *stressClient) OnClose(*gws.Conn, error) { close(c.closed) }

func (c *stressClient) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	switch string(m.Bytes()) {
	case "3probe":
		close(c.probed)
	case "2":
		_ = ws.WriteString("3")
	}
}

func (c *stressClient) run() {
	session := ""
	if c.random.IntN(3) > 0 {
		a, err := c.door.try("GET", "/socket.io/?EIO=4&transport=polling", "")
		var open struct{ SID string }
		if err != nil || len(a.body) < 1 || json.Unmarshal([]byte(a.body[1:]), &open) != nil {
			return
		}
		session = "&sid=" + open.SID
		c.poll(session)
		if c.random.IntN(3) == 0 {
			return // leaves without a word
		}
	}
	c.websocket(session)
}

// poll speaks for a while on polling.
func (c *stressClient) poll(session string) {
	path := "/socket.io/?EIO=4&transport=polling" + session
	if _, err := c.door.try("POST", path, "40"); err != nil {
		return
	}
	for range c.random.IntN(5) {
		if _, err := c.door.try("POST", path, c.batch()); err != nil {
			return
		}
		a, err := c.door.try("GET", path, "")
		if err != nil || a.status != 200 {
			return
		}
		if strings.Contains(a.body, "\x1e2") || a.body == "2" {
			_, _ = c.door.try("POST", path, "3")
		}
	}
}

// websocket opens a session, or moves one up, and dies in the middle.
func (c *stressClient) websocket(session string) {
	c.probed, c.closed = make(chan struct{}), make(chan struct{})
	ws, resp, err := gws.NewClient(c, &gws.ClientOption{Addr: "ws://" + c.door.addr + "/socket.io/?EIO=4&transport=websocket" + session})
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	var reader sync.WaitGroup
	reader.Go(ws.ReadLoop)
	defer reader.Wait()
	if session != "" {
		_ = ws.WriteString("2probe")
		if c.random.IntN(4) > 0 {
			select {
			case <-c.probed:
			case <-c.closed:
			}
		}
		if c.random.IntN(4) > 0 {
			_ = ws.WriteString("5")
		}
	} else {
		_ = ws.WriteString("40")
	}
	for range c.random.IntN(10) {
		for packet := range strings.SplitSeq(c.batch(), "\x1e") {
			_ = ws.WriteString(packet)
		}
	}
	if c.random.IntN(2) == 0 {
		_ = ws.WriteClose(1000, nil)
	}
	_ = ws.NetConn().Close()
}

// batch makes some packets, joined as on polling.
func (c *stressClient) batch() string {
	packets := make([]string, 1+c.random.IntN(4))
	for i := range packets {
		room := string(rune('a' + c.random.IntN(5)))
		switch c.random.IntN(10) {
		case 0:
			packets[i] = `42["leave","` + room + `"]`
		case 1, 2:
			packets[i] = `42["join","` + room + `"]`
		case 3:
			packets[i] = `41`
		case 4:
			packets[i] = `42["kick"]`
		case 5:
			packets[i] = `40`
		default:
			packets[i] = `421["say","` + room + `"]`
		}
	}
	return strings.Join(packets, "\x1e")
}
