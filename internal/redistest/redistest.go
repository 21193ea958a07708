// Package redistest runs redis-server for tests.
package redistest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A Server is a redis-server of a test's own.
type Server struct {
	Addr string

	tb   testing.TB
	args []string
	cmd  *exec.Cmd
}

// Start starts a server that keeps nothing on disk, with further arguments, and
// stops it when the test ends. Without a redis-server the test is skipped, but
// fails in CI.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal(err)
		}
		tb.Skip("redis-server is not installed")
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr) //nolint:forcetypeassert // it listens on TCP
	_ = l.Close()
	s := &Server{
		Addr: addr.String(), tb: tb,
		args: append([]string{"--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tb.TempDir()}, args...),
	}
	s.Run()
	tb.Cleanup(s.Kill)
	return s
}

// Run starts the server again, and returns when it answers.
func (s *Server) Run() {
	s.tb.Helper()
	s.cmd = exec.CommandContext(context.Background(), "redis-server", s.args...) //nolint:gosec // they are the test's
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if s.answers() {
			return
		}
		if time.Now().After(end) {
			s.tb.Fatal("redis-server does not answer")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (s *Server) answers() bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 7)
	n, _ := conn.Read(answer)
	return string(answer[:n]) == "+PONG\r\n"
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
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
}

// Pause stops the server without a word to anybody, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal os.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.tb.Fatal(err)
	}
}
