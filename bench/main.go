// Command bench measures what a message costs: the full stack of Upshift beside
// a raw gws server that swaps bytes and parses nothing, in one run.
//
//	go run . -quick
//
// Servers run as child processes and take turns. Client and server share the
// machine, so the figure that counts is the CPU time that the server's process
// spent per message; rates are shown for the curious. The headline is the
// ratio within the run: absolute figures of a shared machine mean little.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "three short rounds rather than five long ones")
	profile := flag.String("cpuprofile", "", "with serve: write a CPU profile to this `file` when the input ends")
	flag.Parse()
	if flag.Arg(0) == "serve" {
		check(serveUntilEOF(flag.Arg(1), *profile))
		return
	}
	rounds, length := 5, 2*time.Second
	if *quick {
		rounds, length = 3, time.Second
	}
	table, err := runAll(rounds, length, 10_000)
	check(err)
	fmt.Print(table)
	check(os.MkdirAll("results", 0o755))
	check(os.WriteFile(filepath.Join("results", "latest.md"), []byte(table), 0o644))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func loads() []load {
	small, large := payload(64), payload(128)
	return []load{
		{"echo, 1 in flight", 100, echo(`42["echo",`+small+`]`, 1)},
		{"echo, 16 in flight", 100, echo(`42["echo",`+small+`]`, 16)},
		{"ack, 1 in flight", 100, echo(`421["ack",`+small+`]`, 1)},
		{"ack, 16 in flight", 100, echo(`421["ack",`+small+`]`, 16)},
		{"broadcast to 1,000, 1 in flight", 1000, cast(`42["cast",`+large+`]`, 1)},
		{"broadcast to 1,000, 8 in flight", 1000, cast(`42["cast",`+large+`]`, 8)},
	}
}

// A sample is one round of one load on one server.
type sample struct {
	cost float64 // CPU microseconds per message, or bytes per connection
	rate float64 // messages, or connects, per second
}

// runAll runs every load and returns a table in Markdown.
func runAll(rounds int, length time.Duration, idle int) (string, error) {
	names := []string{"upshift", "gws"}
	var out strings.Builder
	out.WriteString("| Load | Upshift, CPU \u00b5s per message | raw gws | ratio | Upshift per s | raw gws per s |\n|---|---|---|---|---|---|\n")
	for _, l := range loads() {
		samples := make(map[string][]sample)
		for range rounds {
			for _, name := range names {
				s, err := measure(name, l, length)
				if err != nil {
					return "", fmt.Errorf("%s on %s: %w", l.name, name, err)
				}
				samples[name] = append(samples[name], s)
			}
		}
		row(&out, l.name, samples, "%.2f")
	}
	samples := make(map[string][]sample)
	for _, name := range names {
		s, err := measureIdle(name, idle)
		if err != nil {
			return "", fmt.Errorf("idle on %s: %w", name, err)
		}
		samples[name] = []sample{s}
	}
	row(&out, fmt.Sprintf("%d idle sessions: resident bytes for each, connects per s", idle), samples, "%.0f")
	return out.String(), nil
}

func row(out io.Writer, name string, samples map[string][]sample, format string) {
	up, raw := samples["upshift"], samples["gws"]
	cost := func(s sample) float64 { return s.cost }
	rate := func(s sample) float64 { return s.rate }
	figure := func(samples []sample) string {
		return fmt.Sprintf(format+" (%s)", median(samples, cost), spread(samples, format))
	}
	fmt.Fprintf(out, "| %s | %s | %s | **%.2f** | %.0f | %.0f |\n", name, figure(up), figure(raw),
		median(up, cost)/median(raw, cost), median(up, rate), median(raw, rate))
}

func spread(samples []sample, format string) string {
	by := func(a, b sample) int { return int(1000 * (a.cost - b.cost)) }
	return fmt.Sprintf(format+"\u2013"+format, slices.MinFunc(samples, by).cost, slices.MaxFunc(samples, by).cost)
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// A child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func start(name string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, "serve", name)
	cmd.Env = append(os.Environ(), "UPSHIFT_BENCH_SERVE="+name)
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
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	return &child{cmd, stdin, strings.TrimSpace(addr)}, err
}

func (c *child) stop() error { return errors.Join(c.stdin.Close(), c.cmd.Wait()) }

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
	pages, err := strconv.ParseInt(string(bytes.Fields(statm)[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

func connect(addr string, n int) ([]*client, error) {
	clients := make([]*client, n)
	for i := range clients {
		c, err := dial(addr)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		clients[i] = c
	}
	return clients, nil
}

func hangUp(clients []*client) {
	for _, c := range clients {
		_ = c.conn.Close()
	}
}

func measure(name string, l load, length time.Duration) (s sample, err error) {
	server, err := start(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	clients, err := connect(server.addr, l.clients)
	if err != nil {
		return s, err
	}
	defer hangUp(clients)
	if strings.HasPrefix(l.name, "broadcast") {
		time.Sleep(200 * time.Millisecond) // the last to connect are in the room
	} else if _, err := l.run(clients, time.Now().Add(length/4)); err != nil { // warm up
		return s, err
	}
	before, err := server.cpu()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	n, err := l.run(clients, begin.Add(length))
	if err != nil {
		return s, err
	}
	took := time.Since(begin)
	after, err := server.cpu()
	s.cost = float64((after - before).Microseconds()) / float64(n)
	s.rate = float64(n) / took.Seconds()
	return s, err
}

func measureIdle(name string, n int) (s sample, err error) {
	server, err := start(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	before, err := server.resident()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	clients, err := connect(server.addr, n)
	if err != nil {
		return s, err
	}
	defer hangUp(clients)
	s.rate = float64(n) / time.Since(begin).Seconds()
	time.Sleep(2 * time.Second) // let it settle
	after, err := server.resident()
	s.cost = float64(after-before) / float64(n)
	return s, err
}

// serveUntilEOF serves until standard input ends, so that no server outlives
// the program that started it.
func serveUntilEOF(name, profile string) error {
	stop, err := startProfile(profile)
	if err != nil {
		return err
	}
	if servers[name] == nil {
		return fmt.Errorf("no server %q", name)
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(name) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	err = <-failed
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, stop())
}
