// Package redistest runs redis-server for tests.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/upshift-go/upshift/internal/clustertest/ports"
)

// A Server is a redis-server of a test's own.
type Server struct {
	Addr string

	tb      testing.TB
	before  []string // arguments in front of the port
	args    []string // and behind
	port    string
	process *os.Process
	over    <-chan struct{} // closed when the process has ended
}

// Start starts a server that keeps nothing on disk, with further arguments, and
// stops it when the test ends. Without a redis-server the test is skipped, but
// fails in CI.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return start(tb, nil, append([]string{"--save", "", "--appendonly", "no", "--dir", tb.TempDir()}, args...))
}

func start(tb testing.TB, before, args []string) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal(err)
		}
		tb.Skip("redis-server is not installed")
	}
	s := &Server{tb: tb, before: before, args: append([]string{"--bind", "127.0.0.1"}, args...)}
	tb.Cleanup(s.Kill)
	var err error
	for range ports.Attempts {
		s.port = strconv.Itoa(ports.Free(tb))
		s.Addr = "127.0.0.1:" + s.port
		if err = s.run(); err == nil {
			return s
		}
	}
	tb.Fatal(err)
	return nil
}

// Run starts the server again, and returns when it answers.
func (s *Server) Run() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *Server) run() error {
	cmd := exec.CommandContext(context.Background(), "redis-server", slices.Concat(s.before, []string{"--port", s.port}, s.args)...) //nolint:gosec // they are the test's
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = cmd.Wait() // how it ends is the test's doing
	}()
	s.process, s.over = cmd.Process, over
	for end := time.Now().Add(20 * time.Second); !s.answers(); {
		if time.Now().After(end) {
			s.Kill()
			return errors.New("redistest: redis-server does not answer")
		}
		select {
		case <-over:
			return fmt.Errorf("redistest: redis-server has ended at once: %v", cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// answers reports whether this server answers, and not another that has its port.
func (s *Server) answers() bool {
	return strings.Contains(s.ask("INFO server"), fmt.Sprintf("\nprocess_id:%d\r\n", s.process.Pid))
}

// ask sends a command that has no spaces in its arguments, and returns what comes back,
// as far as anything does.
func (s *Server) ask(command string) string {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(command + "\r\nQUIT\r\n")); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// StartSentinel starts a Sentinel that watches s, calls it by a name, and makes a
// replica of s the primary soon after s has gone. It returns its address.
func (s *Server) StartSentinel(tb testing.TB, name string) string {
	tb.Helper()
	config := filepath.Join(tb.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds %[1]s 1000\nsentinel failover-timeout %[1]s 3000\n", name, s.port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return start(tb, []string{config, "--sentinel"}, nil).Addr
}

// StartReplica starts a replica of s, and returns when it is one.
func (s *Server) StartReplica(tb testing.TB) *Server {
	tb.Helper()
	replica := Start(tb, "--replicaof", "127.0.0.1", s.port)
	until(tb, "the replica is in step", func() bool {
		return strings.Contains(replica.ask("INFO replication"), "master_link_status:up")
	})
	return replica
}

func until(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Do sends a command that has no spaces in its arguments, and does not read the
// answer.
func (s *Server) Do(command string) {
	s.tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		s.tb.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 100))
}

// Kill kills the server.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Kill()
	<-s.over
}

// Pause stops the server without a word to anybody, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal os.Signal) {
	s.tb.Helper()
	if err := s.process.Signal(signal); err != nil {
		s.tb.Fatal(err)
	}
}
