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
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	quick := flag.Bool("quick", false, "three short rounds rather than five long ones")
	only := flag.String("only", "", "run the loads whose names contain this `text`, and write no results")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the Upshift server's last round to this `file`;\nwith serve, of the server, when its standard input ends")
	flag.Parse()
	if flag.Arg(0) == "serve" {
		check(serveUntilEOF(flag.Arg(1), *profile))
		return
	}
	p := plan{rounds: 5, length: 2 * time.Second, idle: 10_000, only: *only, profile: *profile}
	if *quick {
		p.rounds, p.length = 3, time.Second
	}
	if *only != "" {
		p.idle = 0
	}
	table, err := p.run()
	check(err)
	fmt.Print(table)
	if *only == "" {
		check(os.MkdirAll("results", 0o755))
		check(os.WriteFile(filepath.Join("results", "latest.md"), []byte(table), 0o644))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
