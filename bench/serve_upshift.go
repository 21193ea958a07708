package main

import (
	"context"
	"net"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// serveUpshift is the full stack, as a program would use it: typed handlers,
// JSON, rooms.
func serveUpshift(l net.Listener) error { return upshift(l, core.Options{}) }

func serveUpshiftMsgPack(l net.Listener) error {
	return upshift(l, core.Options{Codec: codec.MsgPack(codec.MsgPackOptions{})})
}

func serveUpshiftRecovery(l net.Listener) error {
	return upshift(l, core.Options{Recovery: &core.Recovery{}})
}

type message struct {
	Text string `json:"text" msgpack:"text"`
}

func upshift(l net.Listener, o core.Options) error {
	o.PingInterval = time.Hour // too rare to matter, as with the others
	srv, err := core.New(o)
	if err != nil {
		return err
	}
	n := srv.Of("/")
	n.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "all") })
	core.On(n, "echo", func(ctx context.Context, s *core.Socket, m message) (core.None, error) {
		return core.None{}, s.Emit(ctx, "echo", m)
	})
	core.On(n, "ack", func(_ context.Context, _ *core.Socket, m message) (message, error) { return m, nil })
	core.On(n, "cast", func(ctx context.Context, _ *core.Socket, m message) (core.None, error) {
		return core.None{}, n.To("all").Emit(ctx, "cast", m)
	})
	core.On(n, "join", func(ctx context.Context, s *core.Socket, rooms []string) (bool, error) {
		return true, s.Join(ctx, rooms...)
	})
	core.On(n, "room", func(ctx context.Context, _ *core.Socket, in core.Args2[string, message]) (core.None, error) {
		return core.None{}, n.To(in.A).Emit(ctx, "room", in.A, in.B)
	})
	return srv.ServeListener(l)
}
