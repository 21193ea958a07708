package core_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/transports"
)

// wire is a transport that takes everything at once and counts it, so that
// only our own work is measured.
type wire struct{ sent chan struct{} }

func (w *wire) Name() string                  { return "wire" }
func (w *wire) Features() transports.Features { return transports.Features{} }

type wireConn struct{ wire *wire }

func (c wireConn) Send(batch []transports.Packet) (bool, error) {
	for range batch {
		c.wire.sent <- struct{}{}
	}
	return true, nil
}

func (c wireConn) Close(error) {}

// wireServer returns a server and the sinks of n sockets on it.
func wireServer(tb testing.TB, n int) (*core.Server, *wire, []transports.Sink) {
	tb.Helper()
	w := &wire{sent: make(chan struct{}, 4*n)}
	srv, err := core.New(core.Options{Transports: []transports.Transport{w}})
	if err != nil {
		tb.Fatal(err)
	}
	sinks := make([]transports.Sink, n)
	for i := range sinks {
		sinks[i], err = srv.Open(w, transports.Handshake{}, wireConn{w})
		if err != nil {
			tb.Fatal(err)
		}
		sinks[i].Ready()
		<-w.sent // open
		if err := sinks[i].Receive(transports.Packet{Type: transports.Message, Data: []byte("0")}); err != nil {
			tb.Fatal(err)
		}
		<-w.sent // CONNECT
	}
	tb.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	return srv, w, sinks
}

type benchMessage struct {
	Room string `json:"room"`
	Text string `json:"text"`
}

func onEcho(srv *core.Server) {
	core.On(srv.Of("/"), "echo", func(_ context.Context, _ *core.Socket, m benchMessage) (benchMessage, error) {
		return m, nil
	})
}

var echo = transports.Packet{Type: transports.Message, Data: []byte(`21["echo",{"room":"lobby","text":"Hello, how are you all today?"}]`)}

// A typed event in, and its typed answer out.
func BenchmarkEventWithAnswer(b *testing.B) {
	srv, w, sinks := wireServer(b, 1)
	onEcho(srv)
	b.ReportAllocs()
	for b.Loop() {
		_ = sinks[0].Receive(echo)
		<-w.sent
	}
}

// The same, 16 in flight.
func BenchmarkEventWithAnswerPipelined(b *testing.B) {
	srv, w, sinks := wireServer(b, 16)
	onEcho(srv)
	b.ReportAllocs()
	for b.Loop() {
		for range 16 {
			_ = sinks[0].Receive(echo)
		}
		for range 16 {
			<-w.sent
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	srv, w, _ := wireServer(b, 1)
	s := srv.Of("/").Sockets()[0]
	m := benchMessage{Room: "lobby", Text: "Hello"}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Emit(b.Context(), "message", m)
		<-w.sent
	}
}

func BenchmarkBroadcast1(b *testing.B)    { benchmarkBroadcast(b, 1) }
func BenchmarkBroadcast1000(b *testing.B) { benchmarkBroadcast(b, 1000) }

func benchmarkBroadcast(b *testing.B, recipients int) {
	srv, w, sinks := wireServer(b, recipients)
	m := benchMessage{Room: "lobby", Text: "Hello"}
	b.ReportAllocs()
	for b.Loop() {
		_ = srv.Of("/").Emit(b.Context(), "message", m)
		for range sinks {
			<-w.sent
		}
	}
}

// A typed question to a client, and its answer.
func BenchmarkCall(b *testing.B) {
	srv, w, sinks := wireServer(b, 1)
	s := srv.Of("/").Sockets()[0]
	question := core.NewEvent[benchMessage, bool]("question")
	left := make(chan struct{})
	defer close(left)
	go func() { // the client
		var answer []byte
		for id := uint64(0); ; id++ {
			select {
			case <-w.sent:
				answer = append(strconv.AppendUint(append(answer[:0], '3'), id, 10), "[true]"...)
				_ = sinks[0].Receive(transports.Packet{Type: transports.Message, Data: answer})
			case <-left:
				return
			}
		}
	}()
	m := benchMessage{Room: "lobby", Text: "Hello"}
	b.ReportAllocs()
	for b.Loop() {
		if yes, err := question.Call(b.Context(), s, m); err != nil || !yes {
			b.Fatal(yes, err)
		}
	}
}

// One socket leaves a room that all others stay in, and joins it again. How many
// they are should not matter.
func BenchmarkJoinLeave(b *testing.B) {
	for _, sockets := range []int{10, 1000, 10_000} {
		b.Run(strconv.Itoa(sockets), func(b *testing.B) { benchmarkJoinLeave(b, sockets) })
	}
}

func benchmarkJoinLeave(b *testing.B, sockets int) {
	srv, _, _ := wireServer(b, sockets)
	s := srv.Of("/").Sockets()[0]
	for _, other := range srv.Of("/").Sockets() {
		_ = other.Join(b.Context(), "room")
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Leave(b.Context(), "room")
		_ = s.Join(b.Context(), "room")
	}
}
