package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/upshift-go/upshift/adapters/nats"
	"github.com/upshift-go/upshift/core"
)

const goServers = 3

// serveAll starts everything, in this process but for Redis and Node, until ctx ends.
func serveAll(ctx context.Context, f flags, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	adapter, end, err := broker(ctx, &f)
	if err != nil {
		return err
	}
	defer end()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var targets []*url.URL
	for i := range goServers {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		one := f
		one.name, one.advertise = fmt.Sprint("go ", i+1), "http://"+l.Addr().String()
		target, err := url.Parse(one.advertise)
		if err != nil {
			return err
		}
		targets = append(targets, target)
		running.Go(func() {
			if err := serve(ctx, l, one, adapter()); err != nil {
				_, _ = fmt.Fprintln(os.Stderr, one.name+":", err)
			}
		})
	}
	var turn atomic.Int64
	balancer := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(targets[int(turn.Add(1))%goServers])
		r.Out.Host = r.In.Host // by which the servers know their own pages
		r.SetXForwarded()
	}}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.addr)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "http://%s/ is %d Go servers in turns\n", l.Addr(), goServers)
	if !f.nats {
		running.Go(func() { runNode(ctx, f.redis, out) })
	}
	site := &http.Server{Handler: balancer, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- site.Serve(l) }()
	select {
	case <-ctx.Done():
		return site.Close()
	case err := <-failed:
		return err
	}
}

// broker starts what the servers share, and returns how to make an adapter on it.
func broker(ctx context.Context, f *flags) (adapter func() core.Adapter, end func(), err error) {
	if f.nats {
		dir, err := os.MkdirTemp("", "cluster")
		if err != nil {
			return nil, nil, err
		}
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
		if err != nil {
			return nil, nil, err
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			return nil, nil, errors.New("the NATS server does not start")
		}
		end := func() {
			s.Shutdown()
			s.WaitForShutdown()
			_ = os.RemoveAll(dir)
		}
		return func() core.Adapter {
			return nats.NewLog(nats.LogOptions{Options: nats.Options{Servers: s.ClientURL()}, MaxBytes: 64 << 20})
		}, end, nil
	}
	adapter = func() core.Adapter { return onRedis(f.redis) }
	if f.redis != "" {
		return adapter, func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	f.redis = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(f.redis)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("no Redis: install redis-server, say where there is one with -redis, or use -nats: %w", err)
	}
	return adapter, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}, nil
}

// runNode runs the server of Node until ctx ends, if there is one to run.
func runNode(ctx context.Context, redis string, out io.Writer) {
	dir := nodeDir()
	if _, err := exec.LookPath("node"); err != nil || dir == "" {
		_, _ = fmt.Fprintln(out, "no server of Node: it wants node, and npm ci in examples/cluster")
		return
	}
	cmd := exec.CommandContext(ctx, "node", "server.mjs", redis)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintln(out, "no server of Node:", err)
		return
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		_, _ = fmt.Fprintf(out, "%s is a server of Node\n", strings.TrimSpace(lines.Text()))
	}
	_ = cmd.Wait() // it is killed
}

// nodeDir is where the program for Node and its packages are, or empty.
func nodeDir() string {
	for _, dir := range []string{"examples/cluster", "."} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err == nil {
			return dir
		}
	}
	return ""
}
