package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startRedis starts a redis-server that keeps nothing on disk.
func startRedis() (*child, error) {
	const tries = 3 // another may take the port that was free
	for try := 1; ; try++ {
		c, err := startRedisOnce()
		if err == nil || try == tries {
			return c, err
		}
	}
}

func startRedisOnce() (*child, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var log strings.Builder
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, stdout) }() // until it ends
			return &child{name: "redis", cmd: cmd, stdin: killer{cmd}, addr: addr}, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("redis-server has not begun: %s", log.String()), cmd.Wait())
}

// A killer ends a process that does not read its standard input.
type killer struct{ cmd *exec.Cmd }

// Close implements io.Closer.
func (k killer) Close() error { return k.cmd.Process.Kill() }

// natsServer is the name of the broker of NATS.
const natsServer = "nats-server"

// serveNATS is the broker of NATS, in a process of its own, until standard input
// ends.
func serveNATS() (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(patience) {
		return errors.New("the NATS server has not begun")
	}
	if _, err := fmt.Fprintln(os.Stdout, s.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
