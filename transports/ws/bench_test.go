package ws

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

// discarding is a ready conn whose peer reads all and ignores it.
func discarding(b testing.TB, s setup) link {
	b.Helper()
	l := connect(b, s)
	go func() { _, _ = io.Copy(io.Discard, l.Conn) }()
	return l
}

func (l link) mustSend(b testing.TB, batch []transports.Packet) {
	ready, err := l.conn.Send(batch)
	if err != nil {
		b.Fatal(err)
	}
	if !ready {
		wait(b, "Ready", l.readied)
	}
}

// BenchmarkSend is one write system call on a loopback socket for each batch.
func BenchmarkSend(b *testing.B) {
	packet := text(strings.Repeat("x", 64))
	shared := packet
	shared.Shared = new(transports.Shared)
	batch := make([]transports.Packet, 16)
	for i := range batch {
		batch[i] = packet
	}
	benchmarks := map[string]struct {
		setup setup
		batch []transports.Packet
	}{
		"one of 64 B":      {setup{}, batch[:1]},
		"16 of 64 B":       {setup{}, batch},
		"shared 64 B":      {setup{}, []transports.Packet{shared}},
		"one of 64 B, b64": {setup{request: func(r *request) { r.query += "&b64=1" }}, []transports.Packet{binaryPacket(string(packet.Data))}},
		"deflate, 64 B":    {deflating(), batch[:1]},
		"deflate, 2 KiB":   {deflating(), []transports.Packet{text(strings.Repeat("hello ", 350))}},
		"one of 64 KiB":    {setup{}, []transports.Packet{text(strings.Repeat("x", 64<<10))}},
	}
	for name, bm := range benchmarks {
		b.Run(name, func(b *testing.B) {
			l := discarding(b, bm.setup)
			b.ReportAllocs()
			for b.Loop() {
				l.mustSend(b, bm.batch)
			}
		})
	}
}

// BenchmarkAppend is Send without the write: what this package itself costs.
func BenchmarkAppend(b *testing.B) {
	packet := text(strings.Repeat("x", 64))
	shared := packet
	shared.Shared = new(transports.Shared)
	c := newConn(New(Options{}).(*transport), nil)
	for name, p := range map[string]transports.Packet{"64 B": packet, "64 B, shared": shared} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 128)
			for b.Loop() {
				buf = c.appendPlain(buf[:0], &p)
			}
		})
	}
}

// BenchmarkBroadcast sends one shared packet to 100 connections.
func BenchmarkBroadcast(b *testing.B) {
	links := make([]link, 0, 100)
	for range cap(links) {
		links = append(links, discarding(b, setup{}))
	}
	data := []byte(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		batch := []transports.Packet{{Type: transports.Message, Data: data, Shared: new(transports.Shared)}}
		for _, l := range links {
			l.mustSend(b, batch)
		}
	}
}

// BenchmarkReceive is a message from the socket to the sink; 16 frames come in
// one write.
func BenchmarkReceive(b *testing.B) {
	s := newSession()
	received := make(chan struct{}, 64)
	count := 0
	sink := countingSink{s, func() {
		if count++; count%16 == 0 {
			received <- struct{}{}
		}
	}}
	server, peer := tcp(b)
	r := newRequest(server)
	adm := s.admission()
	adm.Attach = func(conn transports.Conn) (transports.Sink, error) { s.conn = conn; return sink, nil }
	New(Options{}).Accept(r, adm)
	c := newClient(peer)
	c.readHead(b)
	b.Cleanup(func() { _ = peer.Close(); wait(b, "end of the connection's goroutine", r.served) })
	burst := bytes.Repeat(frame(textFrame, "4"+strings.Repeat("x", 64)), 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := peer.Write(burst); err != nil {
			b.Fatal(err)
		}
		<-received
	}
}

type countingSink struct {
	*session
	receive func()
}

func (s countingSink) Receive(transports.Packet) error { s.receive(); return nil }
