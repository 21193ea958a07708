// Command bench measures what a message costs: the full stack of Upshift beside
// a raw gws server that parses nothing, raw sockets with coalesced writes, Node's
// socket.io, and centrifuge, all in one run.
//
//	go run . -quick
//
// Servers run as child processes and take turns. Client and server share the
// machine, so the figure that counts is the CPU time that the server's process
// spent per message; rates are shown for the curious. The headline is the
// ratio within the run: absolute figures of a shared machine mean little.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "the loads that say most, in one short round")
	only := flag.String("only", "", "run the loads whose names contain this `text`, and write no results")
	against := flag.String("servers", "", "run these `servers` only, separated by commas")
	rounds := flag.Int("rounds", 0, "`rounds` rather than 3, or 1 with -quick")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the Upshift server's last round to this `file`;\nwith serve, of the server, when its standard input ends")
	flag.Parse()
	if flag.Arg(0) == "serve" {
		check(serveUntilEOF(flag.Arg(1), *profile))
		return
	}
	p := plan{rounds: 3, length: 2 * time.Second, only: *only, profile: *profile, progress: os.Stderr}
	if *quick {
		p.quick, p.rounds, p.length = true, 1, time.Second
	}
	if *rounds > 0 {
		p.rounds = *rounds
	}
	if *against != "" {
		p.servers = strings.Split(*against, ",")
	}
	if flag.Arg(0) == "cluster" {
		table, err := measureClusters(p)
		check(err)
		fmt.Print(table)
		if len(p.servers) == 0 {
			check(os.WriteFile(filepath.Join("results", "cluster.md"), []byte(table), 0o644))
		}
		return
	}
	r, err := p.run()
	check(err)
	table := r.table()
	fmt.Print(table)
	if *only != "" {
		return
	}
	check(os.MkdirAll("results", 0o755))
	for name, content := range map[string]string{
		"latest.md":  table,
		"cpu.svg":    r.plot("µs", "Server CPU per message"),
		"memory.svg": r.plot("B", "Resident memory per idle session"),
	} {
		check(os.WriteFile(filepath.Join("results", name), []byte(content), 0o644))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
