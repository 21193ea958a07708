package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/ws"
)

func TestMaxRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{MaxRooms: 3})
		r.join()
		s := socketOf(t, r.Of("/"))
		if err := s.Join(t.Context(), "a", "b", "a", s.ID(), "c", "b"); err != nil {
			t.Error(err)
		}
		if err := s.Join(t.Context(), "d"); !errors.Is(err, core.ErrTooManyRooms) {
			t.Errorf("a room too many: %v", err)
		}
		if err := r.Of("/").To().Join(t.Context(), "d"); !errors.Is(err, core.ErrTooManyRooms) {
			t.Errorf("for a target: %v", err)
		}
		if err := s.Leave(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := s.Join(t.Context(), "d"); err != nil {
			t.Error(err)
		}
		if n := r.Stats().TooManyRooms; n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

// What a client comes back to may be more than the limit, together with what
// middleware adds. Then there is no more.
func TestMaxRoomsAfterRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{MaxRooms: 2, Recovery: &core.Recovery{RunMiddleware: true}})
		visits := 0
		r.Use(func(next core.Handler) core.Handler {
			return func(ctx context.Context, req *core.Request) error {
				visits++
				if err := req.Socket.Join(ctx, fmt.Sprint("a", visits), fmt.Sprint("b", visits)); err != nil {
					return err
				}
				return next(ctx, req)
			}
		})
		var back comeback
		c := r.dial()
		c.joinWith(&back)
		c.pipe.Cut()
		synctest.Wait()
		r.dial().joinWith(&back)
		synctest.Wait()
		s := socketOf(t, r.Of("/"))
		if err := s.Join(t.Context(), "more"); !errors.Is(err, core.ErrTooManyRooms) {
			t.Errorf("Join: %v; is in %v", err, s.Rooms())
		}
	})
}

func TestMaxNamespaces(t *testing.T) {
	const refusal = `{"message":"too many namespaces","data":{"code":"too_many_namespaces"}}`
	inBubble(t, "of one client", func(t *testing.T) {
		r := newRig(t, core.Options{MaxNamespaces: 3})
		r.OfPattern("/{any}")
		c := r.join()
		c.send("0/a", "0/b", "0/c")
		answers := []string{c.next(), c.next(), c.next()} // in any order
		if !slices.Contains(answers, "4/c,"+refusal) {
			t.Errorf("answers: %q", answers)
		}
		c.send("1/a", "0/c")
		if m := c.next(); !strings.HasPrefix(m, "0/c,") {
			t.Errorf("after it has left one: %s", m)
		}
		// What the server remembers of namespaces it sent the client away from
		// is bounded as well; beyond, a late event costs the client its session.
		for i := range 10 {
			name := "/" + strconv.Itoa(i)
			r.Of("/c").To().Disconnect()
			c.expect("1/c,")
			c.send("0" + name)
			c.next()
			r.Of(name).To().Disconnect()
			c.expect("1" + name + ",")
			c.send("0/c")
			c.next()
		}
		c.send(`2/9,["late"]`, `20["x"]`)
		c.expect(`30[{"error":{"code":"unknown_event","message":"no handler for this event"}}]`)
		c.send(`2/0,["too late"]`)
		c.expectEnd()
		if n := r.Stats().TooManyNamespaces; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
	inBubble(t, "of families", func(t *testing.T) {
		r := newRig(t, core.Options{MaxDynamicNamespaces: 2})
		r.OfPattern("/{any}")
		r.Of("/a/static/one")
		c := r.dial()
		c.send("0/a", "0/b")
		c.next()
		c.next()
		c.send("0/c")
		c.expect("4/c," + refusal)
		c.send("1/a")
		synctest.Wait()
		c.send("0/c")
		if m := c.next(); !strings.HasPrefix(m, "0/c,") {
			t.Errorf("after one is gone: %s", m)
		}
		if n := r.Stats().TooManyDynamicNamespaces; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

// What a client sends faster than it is handled stays with the client.
func TestMaxQueuedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{MaxQueuedBytes: 3 * 200})
		hold := make(chan struct{})
		handled := 0
		core.On(r.Of("/"), "e", func(context.Context, *core.Socket, string) (core.None, error) {
			<-hold
			handled++
			return core.None{}, nil
		})
		c := r.join()
		sent := 0
		go func() {
			for range 20 {
				c.send(`2["e","` + strings.Repeat("x", 60) + `"]`)
				sent++
			}
		}()
		synctest.Wait()
		if sent > 6 {
			t.Errorf("%d events were taken", sent)
		}
		close(hold)
		synctest.Wait()
		if handled != 20 {
			t.Errorf("%d events were handled", handled)
		}
		if n := r.Stats().QueueFull; n == 0 || n > 20 {
			t.Errorf("counted %d", n)
		}
	})
}

// A client that joins, sends, leaves and joins again stays within the limits,
// too: what its sockets have still to do is bounded.
func TestMaxQueuedBytesOfSocketsThatHaveLeft(t *testing.T) {
	inBubble(t, "while handlers are busy", func(t *testing.T) {
		const limit, rounds = 3, 20
		r := newRig(t, core.Options{MaxNamespaces: limit})
		hold := make(chan struct{})
		core.On(r.Of("/"), "e", func(context.Context, *core.Socket, core.None) (core.None, error) {
			<-hold
			return core.None{}, nil
		})
		var joined, gone atomic.Int32
		r.Of("/").OnConnect(func(context.Context, *core.Socket) error {
			joined.Add(1)
			return nil
		})
		r.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { gone.Add(1) })
		c := r.dial()
		var sender sync.WaitGroup
		sender.Go(func() {
			for range rounds {
				c.send("0")
				c.next()
				c.send(`2["e"]`, "1")
			}
		})
		synctest.Wait()
		if joined.Load() != limit || gone.Load() != 0 {
			t.Errorf("%d sockets have joined, %d are done with", joined.Load(), gone.Load())
		}
		close(hold)
		sender.Wait()
		synctest.Wait()
		if joined.Load() != rounds || gone.Load() != rounds {
			t.Errorf("%d sockets have joined, %d are done with in the end", joined.Load(), gone.Load())
		}
	})
	inBubble(t, "the session ends meanwhile", func(t *testing.T) {
		r := newRig(t, core.Options{MaxNamespaces: 1})
		hold := make(chan struct{})
		r.Of("/").OnDisconnect(func(context.Context, *core.Socket, error) { <-hold })
		c := r.join()
		c.send("1", "0")
		synctest.Wait()
		if n := r.Of("/").Len(); n != 0 {
			t.Errorf("%d sockets", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		if n := runtime.Stack(stacks, true); strings.Contains(string(stacks[:n]), "connection).settle") {
			t.Error("the reader still waits")
		}
		close(hold)
	})
}

func TestBadPacketsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, core.Options{})
		c := r.join()
		c.send(`511-["x"]`) // more attachments than a packet may have
		c.expectEnd()
		if n := r.Stats().BadPackets; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestNegativeLimits(t *testing.T) {
	for name, o := range map[string]core.Options{
		"queue":      {MaxQueuedBytes: -1},
		"rooms":      {MaxRooms: -1},
		"namespaces": {MaxNamespaces: -1},
		"families":   {MaxDynamicNamespaces: -1},
		"packets":    {MaxOutboxPackets: -1},
		"volatile":   {MaxVolatileBytes: -1},
		"window":     {Recovery: &core.Recovery{Window: -1}},
		"recovery":   {Recovery: &core.Recovery{MaxBytes: -1}},
	} {
		if _, err := core.New(o); err == nil || !strings.Contains(err.Error(), "negative") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that never reads costs its budget and no more: a thousand of them,
// on real WebSockets, are sent ten times what may wait for them.
func TestNonReadersCostTheirBudget(t *testing.T) {
	const (
		clients = 1000
		budget  = 32 << 10
		fixed   = 40 << 10 // of a connection, whatever is sent, under the race detector
	)
	for name, policy := range map[string]core.Overflow{"refuse": core.Refuse, "drop oldest": core.DropOldest} {
		t.Run(name, func(t *testing.T) {
			srv, err := core.New(core.Options{
				MaxOutboxBytes: budget,
				// However slow the machine is, they are not given up for lost.
				PingTimeout: time.Hour,
				Transports:  []transports.Transport{ws.New(ws.Options{WriteTimeout: time.Hour})},
			})
			if err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- srv.ServeListener(smallBuffers{listener}) }()
			defer func() {
				if err := errors.Join(srv.Shutdown(t.Context()), <-served); err != nil {
					t.Error(err)
				}
			}()
			connected := make(chan *core.Socket, clients)
			srv.Of("/").OnConnect(func(_ context.Context, s *core.Socket) error {
				connected <- s
				return nil
			})
			before := heap()
			for range clients {
				conn := neverRead(t, listener.Addr().String())
				defer conn.Close()
			}
			payload := strings.Repeat("x", budget/8)
			for range clients {
				s := <-connected
				for i := range 80 {
					_ = s.Self().Overflow(policy).Emit(t.Context(), "e", i, payload) // refused sooner or later
				}
			}
			cost := (heap() - before) / clients
			t.Logf("%d bytes for each client", cost)
			if cost > budget+fixed {
				t.Errorf("a client that does not read costs %d bytes, its budget is %d", cost, budget)
			}
			if cost < budget/2 {
				t.Errorf("a client costs %d bytes only: its outbox was not filled", cost)
			}
			if n := srv.Sessions(); n != clients {
				t.Errorf("%d sessions are left", n)
			}
			if st := srv.Stats(); st.OutboxRefused+st.OverflowDropped < 50*clients {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// smallBuffers is a listener for whose connections the system buffers next to
// nothing.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(1)
	}
	return conn, err
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools hold is gone only then
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// neverRead connects to the main namespace and leaves it at that. Its receive
// buffer is as small as the system lets it be.
func neverRead(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("HTTP/1.1 101"))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 101" {
		t.Fatalf("%q, %v", head, err)
	}
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'}); err != nil {
		t.Fatal(err)
	}
	return conn
}
