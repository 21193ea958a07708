package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newEmit() *cobra.Command {
	var (
		c       connection
		ack     bool
		patient time.Duration
	)
	cmd := &cobra.Command{
		Use:   "emit URL EVENT [ARGUMENT...]",
		Short: "Send one event, and print the answer if there is to be one",
		Long: `Send one event, and with --ack wait for the answer and print it as a line of JSON.

The path of the URL is the namespace. An argument that is JSON is sent as that, any
other as text; {"$binary":"<base64>"} is bytes. After -- nothing is a flag, which
arguments that begin with - need.

Exit status: 0 the event was sent, or answered; 1 the command line is wrong; 2 there is
no connection, or none any more; 3 the server refuses, or disconnects; 4 there is no
answer in time.`,
		Example: `  upshift emit http://localhost:3000 "chat message" hello
  upshift emit https://example.com/admin job:start '{"id":7}' --ack --auth '{"token":"…"}'
  upshift emit localhost:3000 file '{"$binary":"AAEC"}'
  upshift emit localhost:3000 --ack add -- -5 7`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, words []string) error {
			s, err := c.open(cmd.Context(), words[0], nil)
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			ctx, cancel := context.WithTimeout(cmd.Context(), patient)
			defer cancel()
			event, args := eventOf(words[1]), parseArgs(words[2:])
			if !ack {
				if err := s.Emit(ctx, event, args...); err != nil {
					return fmt.Errorf("emit: %w", err)
				}
				return nil // Close sends what waits
			}
			values, err := call(ctx, s, event, args)
			if err == nil {
				newPrinter(cmd.OutOrStdout(), true).write(encode(values, ""))
			}
			return err
		},
	}
	c.clientFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&ack, "ack", "a", false, "wait for the answer of the server")
	cmd.Flags().DurationVar(&patient, "wait", 10*time.Second, "how long to wait for the answer")
	return cmd
}
