package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// A soak is the server side: an app behind all doors in either codec, with links to each.
type soak struct {
	servers []*core.Server
	name    *core.Key[string]
	fronts  []*frontDoor
	own     sync.WaitGroup // ServeListener
	links   []soakLink
	stop    func()
	wrong   findings

	// Counted by their emitters.
	all   int
	rooms [soakRooms]int

	mu      sync.Mutex // guards what follows
	clients map[string]*soaked
}

// A soakLink leads to a server that speaks a codec.
type soakLink struct {
	*link
	codec string
}

// A soaked is what the server knows of one client.
type soaked struct {
	socket *core.Socket // the first one, which stands for all that follow
	room   int
	up     int // the number that must come next
	again  int // numbers that have come more than once, as they may
	fire   int // the last one
	fires  int
	direct int // how many were sent; counted by their emitter

	left time.Time // when it was disconnected last
}

// findings collects what is wrong.
type findings struct {
	mu   sync.Mutex // guards what follows
	list []string
	some chan struct{} // closed when there is one
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		close(f.some)
	}
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *findings) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{
		name: core.NewKey[string]("name"), clients: make(map[string]*soaked),
		wrong: findings{some: make(chan struct{})},
	}
	var log lockedBuffer
	for _, c := range []codec.Codec{codec.JSON(codec.JSONOptions{}), codec.MsgPack(codec.MsgPackOptions{})} {
		addrs := s.serve(t, c, &log)
		for i := range soakClients / 20 {
			s.links = append(s.links, soakLink{startLink(t, addrs[i%len(addrs)]), c.Name()})
		}
	}
	s.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, srv := range s.servers {
			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown of a server: %v", err)
			}
		}
		for _, front := range s.fronts {
			front.shut(ctx, t)
		}
		s.own.Wait()
		for _, l := range s.links {
			l.stop()
		}
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log of the servers:\n%s", log.String())
		}
	})
	return s
}

// serve starts a server behind all doors and returns where they are.
func (s *soak) serve(t *testing.T, c codec.Codec, log io.Writer) (addrs []string) {
	t.Helper()
	srv, err := core.New(core.Options{
		PingInterval: 2 * time.Second, PingTimeout: 4 * time.Second,
		// Enough for three attempts of which the client gives up two, and two losses
		// that only heartbeats can find.
		Recovery: &core.Recovery{Window: 40 * time.Second},
		Codec:    c,
		Logger:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.servers = append(s.servers, srv)
	s.register(srv.Of("/"))
	listener := listen(t)
	addrs = append(addrs, listener.Addr().String())
	s.own.Go(func() { _ = srv.ServeListener(listener) }) // until Shutdown
	for _, door := range []string{"nethttp", "fasthttp"} {
		front := openDoor(t, door, srv, srv.ServeFastHTTP)
		s.fronts = append(s.fronts, front)
		addrs = append(addrs, front.addr)
	}
	return addrs
}

// awaitEmpty waits until the servers have no sessions, and keep nothing.
func (s *soak) awaitEmpty(t *testing.T) {
	t.Helper()
	await(t, "end of all sessions and of what is kept for them", func() bool {
		return !slices.ContainsFunc(s.servers, func(srv *core.Server) bool { return srv.Sessions() > 0 || srv.Stats().RecoveryBytes > 0 })
	})
}

// to has something sent by all servers.
func (s *soak) to(send func(all core.Target) error) error {
	var err error
	for _, srv := range s.servers {
		err = errors.Join(err, send(srv.Of("/").To()))
	}
	return err
}

func (s *soak) register(n *core.Namespace) {
	n.OnConnect(func(ctx context.Context, socket *core.Socket) error {
		name := nameOf(socket)
		s.mu.Lock()
		defer s.mu.Unlock()
		known := s.clients[name]
		if !socket.Recovered() {
			if known != nil {
				s.wrong.add("%s has started afresh, %v after it had left", name, time.Since(known.left))
			}
			room := len(s.clients) % soakRooms
			s.clients[name] = &soaked{socket: socket, room: room, fire: -1}
			s.name.Set(socket, name)
			return socket.Join(ctx, roomName(room))
		}
		if value, _ := s.name.Get(socket); known == nil || value != name || socket.ID() != known.socket.ID() {
			s.wrong.add("%s is back as %q, socket %s", name, value, socket.ID())
			return nil
		}
		if !slices.Contains(socket.Rooms(), roomName(known.room)) {
			s.wrong.add("%s is back without its room", name)
		}
		return nil
	})
	n.OnDisconnect(func(_ context.Context, socket *core.Socket, _ error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.clients[nameOf(socket)].left = time.Now()
	})
	core.On(n, "up", func(_ context.Context, socket *core.Socket, in core.Args2[int, []byte]) (core.None, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch c := s.clients[nameOf(socket)]; {
		case in.A < c.up:
			c.again++
		case in.A > c.up:
			s.wrong.add("up %d of %s when %d is due", in.A, nameOf(socket), c.up)
			c.up = in.A + 1
		default:
			c.up++
		}
		if in.A%7 == 0 && string(in.B) != strconv.Itoa(in.A) {
			s.wrong.add("up %d of %s carries %q", in.A, nameOf(socket), in.B)
		}
		return core.None{}, nil
	})
	core.On(n, "fire", func(_ context.Context, socket *core.Socket, i int) (core.None, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.clients[nameOf(socket)]
		if i <= c.fire {
			s.wrong.add("fire %d of %s after %d", i, nameOf(socket), c.fire)
		}
		c.fire = i
		c.fires++
		return core.None{}, nil
	})
}

func roomName(i int) string { return fmt.Sprint("room ", i) }

// A soakProcess is a Node.js process with official clients.
type soakProcess struct {
	*journal[soakReport]
	clients int
	stdin   io.WriteCloser
	ended   chan struct{}
	cmd     *exec.Cmd
}

// A soakReport is a line that soak.mjs writes.
type soakReport struct {
	Client string
	Event  string
	What   string

	Next     struct{ All, Room, Direct int }
	Connects int
	Ticks    int
	Sent     int
	Acked    int
}

// start starts a process with the given clients and waits until they are
// connected.
func (s *soak) start(t *testing.T, clients []map[string]any) *soakProcess {
	t.Helper()
	need(t, "node")
	if _, err := os.Stat("node_modules/socket.io-client"); err != nil {
		missing(t, "the official clients (npm ci in internal/interop)")
	}
	p := &soakProcess{
		journal: newJournal[soakReport](), clients: len(clients),
		ended: make(chan struct{}), cmd: exec.Command("node", "soak.mjs"),
	}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var r soakReport
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				s.wrong.add("node says %s", lines.Bytes())
				continue
			}
			if r.Event == "wrong" {
				s.wrong.add("%s: %s", r.Client, r.What)
				continue
			}
			p.add(r)
		}
		_ = p.cmd.Wait() // how it ended shows in the test
	}()
	t.Cleanup(p.stop)
	if err := json.NewEncoder(p.stdin).Encode(clients); err != nil {
		t.Fatal(err)
	}
	p.awaitN(t, len(clients), "connected clients", func(r soakReport) bool { return r.Event == "connected" })
	return p
}

// stop ends the process.
func (p *soakProcess) stop() {
	_ = p.stdin.Close() // it ends by itself then
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.ended
}
