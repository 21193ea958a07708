package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/upshift-go/upshift/cmd/upshift/internal/doctor"
)

// The exit statuses of doctor besides 0 and 1.
const (
	exitUsage       = 2
	exitInterrupted = 130 // as of programs that a signal has ended
)

func newDoctor() *cobra.Command {
	var (
		c       connection
		o       doctor.Options
		asJSON  bool
		warning bool
	)
	cmd := &cobra.Command{
		Use:   "doctor URL",
		Short: "Say what is wrong with a deployment",
		Long: `Examine a deployment from outside, as its clients see it, and say in plain words what is
wrong and what to do: handshake, protocol version, path, sticky sessions, WebSocket and
the upgrade to it, heartbeats against the idle timeouts of proxies, payload limits, CORS
for an origin, compression.

It takes as long as a heartbeat, 25 seconds with most servers; --quick leaves that out.
It opens about a dozen sessions and connects to the main namespace, where it sends the
event "upshift:doctor" with payloads up to what the server says it takes.

Exit status: 0 all is well, 1 there are problems (with --strict: or warnings), 2 the
command line is wrong, 130 it was interrupted. docs/doctor.md explains each finding.`,
		Example: `  upshift doctor https://example.com
  upshift doctor https://example.com --origin https://app.example.com --json | jq '.findings[] | select(.severity != "ok")'`,
		Args: func(cmd *cobra.Command, words []string) error {
			if err := cobra.ExactArgs(1)(cmd, words); err != nil {
				return &exitError{exitUsage, err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			var err error
			o.URL, o.Path, o.Auth, o.TLS = withScheme(words[0]), c.path, c.auth, c.tls()
			o.Timeout = c.timeout
			if o.Header, err = c.header(); err != nil {
				return &exitError{exitUsage, err}
			}
			if c.auth != "" {
				if _, err := objectOf(c.auth); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			report, err := doctor.Run(cmd.Context(), o)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if cmd.Context().Err() != nil { // what it says is of no meaning
				return &exitError{exitInterrupted, context.Cause(cmd.Context())}
			}
			p := newPrinter(cmd.OutOrStdout(), asJSON)
			if asJSON {
				p.write(encode(report, "  "))
			} else {
				show(p, report)
			}
			if worst := report.Worst(); worst == doctor.Problem || warning && worst == doctor.Warning {
				return &exitError{1, errors.New("the deployment has problems")}
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	c.flags(cmd.Flags())
	_ = cmd.Flags().Lookup("timeout").Value.Set("10s")
	cmd.Flags().Lookup("timeout").DefValue = "10s"
	cmd.Flags().StringVar(&o.Origin, "origin", "", "`origin` of the page whose clients connect, as in https://app.example.com")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "do not wait for a heartbeat")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.Flags().BoolVar(&warning, "strict", false, "warnings are problems")
	return cmd
}

// show prints a report for people.
func show(p *printer, r *doctor.Report) {
	colours := map[doctor.Severity]string{doctor.OK: green, doctor.Skipped: faint, doctor.Warning: amber, doctor.Problem: red}
	for _, f := range r.Findings {
		const width = 8
		p.write(p.paint(colours[f.Severity], fmt.Sprintf("%-*s", width, f.Severity)) + " " + f.Check + ": " + visible(f.Says))
		if f.Why != "" {
			p.write(p.paint(faint, "           "+visible(f.Why)))
		}
		if f.Fix != "" {
			p.write("         → " + f.Fix)
		}
	}
	p.write(p.paint(faint, fmt.Sprintf("%s, looked at for %s.", r.URL, r.Took.Round(time.Millisecond))))
}
