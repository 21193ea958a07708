package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startRedis starts a redis-server that keeps nothing on disk.
func startRedis() (*child, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return &child{name: "redis", cmd: cmd, stdin: killer{cmd}, addr: addr}, conn.Close()
		}
		if time.Now().After(end) {
			return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
	}
}

// A killer ends a process that does not read its standard input.
type killer struct{ cmd *exec.Cmd }

// Close implements io.Closer.
func (k killer) Close() error { return k.cmd.Process.Kill() }

// serveNATS is the broker of NATS, in a process of its own.
func serveNATS(l net.Listener) error {
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: addr.Port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}
