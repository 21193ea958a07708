package main

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/upshift-go/upshift/cmd/upshift/internal/load"
)

func newLoad() *cobra.Command {
	var (
		c      connection
		o      load.Options
		size   int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "load URL [ARGUMENT...]",
		Short: "Put a server under load with many clients, and measure",
		Long: `Open many connections, have each send events at a rate, and measure: how long connecting
takes, how long answers take, what is lost. Progress is shown once a second, and a
histogram at the end.

The arguments are those of each event; --size makes one of that many bytes. Thousands of
connections need as many file descriptors (ulimit -n), and beyond 28,000 to one address
of the server more addresses at this end.

Exit status: 0 all connections were opened and none was lost; 2 none could be opened;
1 otherwise.`,
		Example: `  upshift load http://localhost:3000 -c 1000 --for 30s
  upshift load http://localhost:3000 -c 100 --event echo --size 100 --rate 10 --ack`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			var err error
			o.URL, o.Args = withScheme(words[0]), parseArgs(words[1:])
			if o.Client, err = c.options(); err != nil {
				return err
			}
			o.HTTPClient = withJar
			if size > 0 {
				o.Args = append(o.Args, strings.Repeat("x", size))
			}
			l, err := load.New(o)
			if err != nil {
				return err
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.Run(cmd.Context())
			}()
			progress(cmd, l, done)
			s := l.Snapshot()
			p := newPrinter(cmd.OutOrStdout(), asJSON)
			if asJSON {
				p.write(encode(s, "  "))
			} else {
				p.write(summary(&s))
			}
			switch {
			case s.Connect == nil:
				return &exitError{exitNoConnection, errors.New("no connection was opened")}
			case s.Failed+s.Lost > 0:
				return fmt.Errorf("%d connections were not opened, %d were lost", s.Failed, s.Lost)
			}
			return nil
		},
	}
	c.clientFlags(cmd.Flags())
	c.reconnect = false // one that is lost is to be counted
	f := cmd.Flags()
	f.IntVarP(&o.Connections, "connections", "c", 100, "how many connections")
	f.Float64Var(&o.Ramp, "ramp", 0, "connections opened a second (default: as fast as it goes)")
	f.DurationVar(&o.Duration, "for", 10*time.Second, "how long, from when all are open")
	f.StringVarP(&o.Event, "event", "e", "", "event that each connection sends (default: none)")
	f.Float64VarP(&o.Rate, "rate", "r", 1, "events a second of each connection")
	f.BoolVarP(&o.Ack, "ack", "a", false, "wait for the answer of each event, and measure it")
	f.IntVarP(&size, "size", "s", 0, "add an argument of so many bytes to each event")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// progress says once a second how far it has come, until done.
func progress(cmd *cobra.Command, l *load.Load, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before load.Snapshot
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			s := l.Snapshot()
			cmd.PrintErrf("%4.0f s  %d connected  %d failed  %d lost  %s sent  %s received",
				s.Seconds, s.Connected, s.Failed, s.Lost, perSecond(s.Sent-before.Sent), perSecond(s.Received-before.Received))
			if s.Answer != nil {
				cmd.PrintErrf("  answers: p50 %s, p99 %s", micros(s.Answer.P50), micros(s.Answer.P99))
			}
			cmd.PrintErrln()
			before = s
		}
	}
}

func perSecond(n int64) string { return fmt.Sprintf("%d/s", n) }

// micros is a time in microseconds for people.
func micros(n int64) string {
	return (time.Duration(n) * time.Microsecond).String()
}

// summary is a result for people.
func summary(s *load.Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections open at the end, %d not opened, %d lost, in %.1f s\n", s.Connected, s.Failed, s.Lost, s.Seconds)
	fmt.Fprintf(&b, "%d events sent, %d not, %d received; %d answers, %d too late\n", s.Sent, s.Refused, s.Received, s.Answered, s.Late)
	for _, part := range []struct {
		name  string
		times *load.Times
	}{{"connecting", s.Connect}, {"answers", s.Answer}} {
		if t := part.times; t != nil {
			fmt.Fprintf(&b, "%s: mean %s, p50 %s, p90 %s, p99 %s, p99.9 %s, max %s\n", part.name,
				micros(int64(t.Mean)), micros(t.P50), micros(t.P90), micros(t.P99), micros(t.P999), micros(t.Max))
			b.WriteString(histogram(t))
		}
	}
	for text, n := range s.Errors {
		fmt.Fprintf(&b, "%d times: %s\n", n, visibleLines(text))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// histogram draws how often what took how long, in steps that double.
func histogram(t *load.Times) string {
	counts := make(map[int]int64)
	lowest, highest := math.MaxInt, 0
	for _, bar := range t.Bars() {
		if bar.Count == 0 {
			continue
		}
		step := int(math.Ceil(math.Log2(float64(max(bar.To, 1)))))
		counts[step] += bar.Count
		lowest, highest = min(lowest, step), max(highest, step)
	}
	var most int64
	for _, n := range counts {
		most = max(most, n)
	}
	const width = 50
	var b strings.Builder
	for step := lowest; step <= highest; step++ {
		n := counts[step]
		fmt.Fprintf(&b, "  up to %10s  %-*s %d\n", micros(1<<step), width, strings.Repeat("█", int(n*width/most)), n)
	}
	return b.String()
}
