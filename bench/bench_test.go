package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the server processes as well.
func TestMain(m *testing.M) {
	if name := os.Getenv("UPSHIFT_BENCH_SERVE"); name != "" {
		check(serveUntilEOF(name, ""))
		return
	}
	os.Exit(m.Run())
}

// Loads of every kind run on every server that knows them, every answer is what
// was asked for, and no message is lost: measure fails otherwise.
func TestLoads(t *testing.T) {
	echo := func(d dialect) func(string) string { return d.echo }
	ack := func(d dialect) func(string) string { return d.ack }
	p := plan{rounds: 1, length: 100 * time.Millisecond}
	r := &report{plan: p}
	for _, l := range []load{
		{"echo", "µs", true, events, exchange(3, 64, 1, echo)},
		{"ack", "µs", true, everybody, exchange(3, 64, 16, ack)},
		{"large", "µs", true, everybody, exchange(3, 4096, 2, ack)},
		{"packed", "µs", true, []string{"upshift-msgpack", "gws"}, exchange(3, 64, 16, echo)},
		{"broadcast", "µs", true, append(everybody, "upshift-recovery"), broadcast(20, 0, 4)},
		{"dead", "µs", true, []string{"upshift", "node"}, broadcast(20, 5, 4)},
		{"publish", "µs", true, rooms, publish(30)},
		{"poll", "µs", true, polling, poll(3)},
		{"upgrade", "µs", true, polling, upgrade(3)},
		{"connect", "µs", true, noLimit, openOnWebSocket(3)},
		{"idle", "B", true, noLimit, idle(50)},
		{"idle polls", "B", true, polling, idlePolls(50)},
	} {
		one := result{load: l, samples: make(map[string][]sample)}
		for _, name := range l.servers {
			t.Run(l.name+"/"+name, func(t *testing.T) {
				if _, err := exec.LookPath("node"); name == "node" && (err != nil || !exists("node/node_modules")) {
					if os.Getenv("CI") != "" {
						t.Fatal("node, or its packages, are missing")
					}
					t.Skip("node, or its packages, are missing")
				}
				s, err := p.measure(name, l)
				if err != nil {
					t.Fatal(err)
				}
				if l.unit == "µs" && s.rate <= 0 {
					t.Errorf("rate %v", s.rate)
				}
				one.samples[name] = append(one.samples[name], s)
			})
		}
		r.results = append(r.results, one)
	}
	table := r.table()
	for _, want := range []string{"| echo |", "| idle polls |", "| publish |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in the table:\n%s", want, table)
		}
	}
	for decoder := xml.NewDecoder(strings.NewReader(r.plot("µs", "CPU"))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal("the plot is no XML: ", err)
		}
	}
}

// Clusters can be measured, on each broker and of Node, and lose nothing: measuring
// fails otherwise.
func TestClusters(t *testing.T) {
	for _, program := range []string{"redis-server", "node"} {
		if _, err := exec.LookPath(program); err != nil || !exists("node/node_modules") {
			if os.Getenv("CI") != "" {
				t.Fatal(program, ", or node's packages, are missing")
			}
			t.Skip(program, ", or node's packages, are missing")
		}
	}
	some := []string{"upshift-sharded", "node-sharded", "upshift-streams-recovery", "upshift-nats"}
	table, err := measureClusters(plan{rounds: 1, length: 100 * time.Millisecond, servers: some})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range some {
		if !strings.Contains(table, "| "+name+" |") {
			t.Errorf("no %s in the table:\n%s", name, table)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Every load has a name of its own and somebody to compare with.
func TestList(t *testing.T) {
	seen := make(map[string]bool)
	for _, l := range loads() {
		if seen[l.name] || len(l.servers) < 2 || !strings.HasPrefix(l.servers[0], "upshift") {
			t.Errorf("load %q on %v", l.name, l.servers)
		}
		seen[l.name] = true
	}
}
