package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"github.com/valyala/fasthttp"
)

// serveGWS is raw gws on a fasthttp hijack, with just enough of the protocol
// for the same load: bytes are swapped, nothing is parsed, one write per
// message, and its own Broadcaster for broadcasts. Its polling is a bare loop:
// what a POST brings, the parked GET takes away.
func serveGWS(l net.Listener) error {
	h := &rawHandler{}
	h.upgrader = gws.NewUpgrader(h, &gws.ServerOption{})
	server := &fasthttp.Server{KeepHijackedConns: true, ReadBufferSize: 4096, Handler: h.serve}
	return server.Serve(l)
}

// serveGWSOverHTTP is gws as its own documentation has it: on net/http, with its
// defaults.
func serveGWSOverHTTP(l net.Listener) error {
	h := &rawHandler{}
	h.upgrader = gws.NewUpgrader(h, &gws.ServerOption{})
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := h.upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		_ = socket.WriteString(fmt.Sprintf(openRaw, 0))
		go socket.ReadLoop()
	}))
}

type rawHandler struct {
	gws.BuiltinEventHandler
	upgrader *gws.Upgrader
	sessions atomic.Int64
	polls    sync.Map // session id -> chan []byte

	mu    sync.Mutex // guards conns
	conns []*gws.Conn
}

const openRaw = `0{"sid":"%d","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`

func (h *rawHandler) serve(ctx *fasthttp.RequestCtx) {
	query := ctx.QueryArgs()
	sid := string(query.Peek("sid"))
	switch {
	case string(query.Peek("transport")) == "websocket":
		h.upgrade(ctx, sid)
	case sid == "":
		id := h.sessions.Add(1)
		h.polls.Store(strconv.FormatInt(id, 10), make(chan []byte, 16))
		fmt.Fprintf(ctx, openRaw, id)
	case ctx.IsPost():
		body := ctx.PostBody()
		if string(body) == "40" {
			body = []byte(`40{"sid":"x"}`)
		}
		h.to(sid) <- bytes.Clone(body)
		ctx.SetBodyString("ok")
	default:
		timeout := time.NewTimer(25 * time.Second)
		defer timeout.Stop()
		select {
		case body := <-h.to(sid):
			ctx.SetBody(body)
		case <-timeout.C:
			ctx.SetBodyString("2")
		}
	}
}

func (h *rawHandler) to(sid string) chan []byte {
	poll, ok := h.polls.Load(sid)
	if !ok {
		return make(chan []byte, 1)
	}
	return poll.(chan []byte)
}

func (h *rawHandler) upgrade(ctx *fasthttp.RequestCtx, sid string) {
	r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"} {
		r.Header.Set(name, string(ctx.Request.Header.Peek(name)))
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) {
		conn := c.(interface{ UnsafeConn() net.Conn }).UnsafeConn()
		socket, err := h.upgrader.UpgradeFromConn(conn, bufio.NewReaderSize(conn, 4096), r)
		if err != nil {
			return
		}
		if sid == "" {
			_ = socket.WriteString(fmt.Sprintf(openRaw, 0))
		} else {
			socket.Session().Store("sid", sid)
		}
		go socket.ReadLoop()
	})
}

// OnMessage implements gws.Event.
func (h *rawHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	b := m.Bytes()
	switch {
	case m.Opcode == gws.OpcodeBinary: // MessagePack
		_ = c.WriteMessage(gws.OpcodeBinary, b)
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
	case string(b) == "2probe":
		_ = c.WriteString("3probe")
		if sid, ok := c.Session().Load("sid"); ok {
			h.to(sid.(string)) <- []byte("6")
		}
	case string(b) == "5":
		if sid, ok := c.Session().Load("sid"); ok {
			h.polls.Delete(sid)
		}
	}
}
