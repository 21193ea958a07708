package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/upshift-go/upshift/adapters/relay"
	"github.com/upshift-go/upshift/core"
)

// A Message is what somebody says. Server is which server has taken it.
type Message struct {
	From   string `json:"from"`
	Text   string `json:"text"`
	Server string `json:"server"`
}

// name is what others see of a socket, on any server.
var name = core.NewSharedKey[string]("name")

// chat is the program on every server. server.mjs is the same for Node.
func chat(ns *core.Namespace, server string) {
	ns.OnConnect(func(ctx context.Context, s *core.Socket) error {
		if s.Recovered() {
			return nil // it is in the room, and has its name
		}
		var auth struct{ Name string }
		if err := s.Auth(&auth); err != nil || auth.Name == "" {
			auth.Name = "somebody"
		}
		name.Set(s, auth.Name)
		if err := s.Join(ctx, "chat"); err != nil {
			return err
		}
		return s.Emit(ctx, "welcome", server)
	})
	core.On(ns, "say", func(ctx context.Context, s *core.Socket, text string) (core.None, error) {
		from, _ := name.Get(s)
		return core.None{}, ns.To("chat").Emit(ctx, "message", Message{from, text, server})
	})
	core.On(ns, "who", func(ctx context.Context, _ *core.Socket, _ core.None) ([]string, error) {
		all, err := ns.To("chat").Fetch(ctx) // of all servers
		if err != nil && !errors.Is(err, core.ErrPartial) {
			return nil, err
		}
		names := make([]string, len(all))
		for i := range all {
			names[i], _, _ = name.From(&all[i])
		}
		return names, nil
	})
}

// serveOne serves until ctx ends. It writes the address to out.
func serveOne(ctx context.Context, f flags, out io.Writer) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return err
	}
	f.advertise = cmp.Or(f.advertise, "http://"+l.Addr().String())
	_, _ = fmt.Fprintln(out, f.advertise)
	return serve(ctx, l, f, onRedis(f.redis))
}

// serve serves the chat and its page until ctx ends.
func serve(ctx context.Context, l net.Listener, f flags, adapter core.Adapter) error {
	srv, err := core.New(core.Options{
		Adapter: adapter, Recovery: &core.Recovery{}, SessionTag: relay.NewTag(), ClientDir: f.client,
	})
	if err != nil {
		return err
	}
	chat(srv.Of("/"), f.name)
	front, err := relay.New(srv, relay.Options{Advertise: f.advertise, Secret: f.secret})
	if err != nil {
		return err
	}
	page, err := fs.Sub(web, "web")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", front)
	mux.Handle("/", http.FileServerFS(page))
	site := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- site.Serve(l) }()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(end), front.Close(), site.Shutdown(end))
}
