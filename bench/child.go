package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

// A child is a server in a process of its own: this program, started again, or
// Node.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

// start starts the named server, with a CPU profile if a file is named for it.
func start(name, profile string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "-cpuprofile", profile, "serve", name)
	cmd.Env = append(os.Environ(), "UPSHIFT_BENCH_SERVE="+name)
	if program, is := nodeProgram(name); is {
		cmd = exec.Command("node", program...)
		cmd.Env = append(os.Environ(), "NODE_ENV=production")
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{name: name, cmd: cmd, stdin: stdin}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not say its address: %w", name, err), c.stop())
	}
	c.addr = strings.TrimSpace(addr)
	return c, nil
}

// nodeProgram is how a server of Node is started.
func nodeProgram(name string) ([]string, bool) {
	kind, ok := strings.CutPrefix(name, "node")
	if !ok {
		return nil, false
	}
	if kind == "" {
		return []string{"node/server.mjs"}, true
	}
	return []string{"node/cluster.mjs", kind[1:]}, true
}

// stop ends the process and waits for it.
func (c *child) stop() error {
	late := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	return errors.Join(c.stdin.Close(), c.cmd.Wait())
}

// cpu is the CPU time that the process has spent, user and system.
func (c *child) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100 on Linux
}

// resident is the memory of the process, in bytes.
func (c *child) resident() (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// serveUntilEOF serves until standard input ends, so that no server outlives
// the program that started it.
func serveUntilEOF(name, profile string) error {
	if name == natsServer {
		return serveNATS() // on a port of its own
	}
	serve := servers[name]
	if serve == nil {
		return fmt.Errorf("no server %q", name)
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close()
		}()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, l.Addr()); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- serve(l) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	return <-ended
}

// servers are those of this program.
var servers = map[string]func(l net.Listener) error{
	"upshift":          serveUpshift,
	"upshift-msgpack":  serveUpshiftMsgPack,
	"upshift-recovery": serveUpshiftRecovery,
	"gws":              serveGWS,
	"gws-http":         serveGWSOverHTTP,
	"limit":            serveLimit,
	"centrifuge":       serveCentrifuge,

	"upshift-redis":             clustered(classicAdapter, false),
	"upshift-sharded":           clustered(shardedAdapter, false),
	"upshift-streams":           clustered(streamsAdapter, false),
	"upshift-streams-recovery":  clustered(streamsAdapter, true),
	"upshift-nats":              clustered(natsAdapter, false),
	"upshift-nats-log-recovery": clustered(natsLogAdapter, true),
}
