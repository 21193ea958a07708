package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/lxzan/gws"
	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core"
)

// servers are what is compared.
var servers = map[string]func(l net.Listener) error{
	"upshift": serveUpshift,
	"gws":     serveGWS,
}

// serveUntilEOF serves until standard input ends, so that no server outlives
// the program that started it.
func serveUntilEOF(name, profile string) error {
	if servers[name] == nil {
		return fmt.Errorf("no server %q", name)
	}
	stop, err := startProfile(profile)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- serve(name) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	return errors.Join(<-ended, stop())
}

// serve listens on a free port of this machine, prints its address, and serves.
func serve(name string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	return servers[name](l)
}

// serveUpshift is the full stack, as a program would use it: typed handlers,
// JSON, a room.
func serveUpshift(l net.Listener) error {
	srv, err := core.New(core.Options{PingInterval: time.Hour})
	if err != nil {
		return err
	}
	type payload struct {
		Text string `json:"text"`
	}
	n := srv.Of("/")
	n.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "all") })
	core.On(n, "echo", func(ctx context.Context, s *core.Socket, p payload) (core.None, error) {
		return core.None{}, s.Emit(ctx, "echo", p)
	})
	core.On(n, "ack", func(_ context.Context, _ *core.Socket, p payload) (payload, error) { return p, nil })
	core.On(n, "cast", func(ctx context.Context, _ *core.Socket, p payload) (core.None, error) {
		return core.None{}, n.To("all").Emit(ctx, "cast", p)
	})
	return srv.ServeListener(l)
}

// serveGWS is raw gws on a fasthttp hijack, with just enough of the protocol
// for the same load: bytes are swapped, nothing is parsed, one write per
// message, and its own Broadcaster for broadcasts.
func serveGWS(l net.Listener) error {
	h := &gwsHandler{}
	up := gws.NewUpgrader(h, &gws.ServerOption{})
	server := &fasthttp.Server{KeepHijackedConns: true, ReadBufferSize: 4096, Handler: func(ctx *fasthttp.RequestCtx) {
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
		for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"} {
			r.Header.Set(name, string(ctx.Request.Header.Peek(name)))
		}
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(c net.Conn) {
			conn := c.(interface{ UnsafeConn() net.Conn }).UnsafeConn()
			socket, err := up.UpgradeFromConn(conn, bufio.NewReaderSize(conn, 4096), r)
			if err != nil {
				return
			}
			_ = socket.WriteString(`0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
			go socket.ReadLoop()
		})
	}}
	return server.Serve(l)
}

type gwsHandler struct {
	gws.BuiltinEventHandler
	mu    sync.Mutex // guards conns
	conns []*gws.Conn
}

func (h *gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	b := m.Bytes()
	switch {
	case bytes.HasPrefix(b, []byte(`42["echo"`)):
		_ = c.WriteMessage(gws.OpcodeText, b)
	case bytes.HasPrefix(b, []byte(`421["ack",`)):
		// 421["ack",X] becomes 431[X]: the bytes are swapped in place.
		reply := b[6:]
		copy(reply, "431[")
		_ = c.WriteMessage(gws.OpcodeText, reply)
	case bytes.HasPrefix(b, []byte(`42["cast"`)):
		cast := gws.NewBroadcaster(gws.OpcodeText, bytes.Clone(b))
		h.mu.Lock()
		conns := h.conns
		h.mu.Unlock()
		for _, other := range conns {
			_ = cast.Broadcast(other)
		}
		_ = cast.Close()
	case string(b) == "40":
		h.mu.Lock()
		h.conns = append(h.conns, c) // beyond what a broadcast has in hand
		h.mu.Unlock()
		_ = c.WriteString(`40{"sid":"x"}`)
	}
}
