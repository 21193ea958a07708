package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
)

func newListen() *cobra.Command {
	var (
		c      = connection{reconnect: true}
		count  int
		period time.Duration
		asJSON bool
		states bool
	)
	cmd := &cobra.Command{
		Use:   "listen URL [EVENT...]",
		Short: "Print the events that the server sends",
		Long: `Print the events that the server sends, all or those that are named, until there are
enough of them or it is interrupted: for people on a terminal, otherwise as a line of
JSON each, with kind, namespace, event and args. A connection that is lost is opened
again.

Exit status: 0 it was told to end, or has what it was to wait for; 2 there is no
connection; 3 the server refuses; 4 not as many events as --count in --for.`,
		Example: `  upshift listen https://example.com/news
  upshift listen localhost:3000 price --count 1 --for 30s | jq '.args[0]'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, words []string) error {
			p := newPrinter(cmd.OutOrStdout(), asJSON)
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			got := make(chan line, 1)
			refused := make(chan error, 1)
			s, err := c.open(ctx, words[0], func(s *client.Socket) {
				follow(s, func(l line) {
					if l.Kind == "event" && len(words) > 1 && !slices.Contains(words[1:], l.Event) || l.Kind == "state" && !states {
						return
					}
					select {
					case got <- l:
					case <-ctx.Done():
					}
				})
				s.OnState(func(_ context.Context, c client.StateChange) {
					if c.State == client.Disconnected && final(c.Err) {
						select {
						case refused <- c.Err:
						default: // one is enough
						}
					}
				})
			})
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			var over <-chan time.Time // never
			if period > 0 {
				over = time.After(period) // connecting has a limit of its own
			}
			for n := 0; count == 0 || n < count; {
				select {
				case l := <-got:
					p.print(l)
					if l.Kind == "event" {
						n++
					}
				case err := <-refused:
					return &exitError{exitRefused, err}
				case <-over:
					if count > 0 {
						return &exitError{exitNoAnswer, fmt.Errorf("%d of %d events in %s", n, count, period)}
					}
					return nil
				case <-ctx.Done():
					return nil
				}
			}
			return nil
		},
	}
	c.clientFlags(cmd.Flags())
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after so many events (default: never)")
	cmd.Flags().DurationVar(&period, "for", 0, "end after listening for so long (default: never)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "lines of JSON, also on a terminal")
	cmd.Flags().BoolVar(&states, "states", false, "say when the connection is lost and back, too")
	return cmd
}

// final reports whether a socket that was disconnected with err stays so.
func final(err error) bool {
	_, refused := errors.AsType[*client.ConnectError](err)
	return refused || errors.Is(err, client.ErrOldServer) || err != nil && client.ReasonOf(err) == client.ServerDisconnect
}

// follow has tell called with all that happens to a socket.
func follow(s *client.Socket, tell func(l line)) {
	s.OnAny(func(_ context.Context, event string, args codec.Args) {
		values, err := valuesOf(args)
		if err != nil {
			tell(line{Kind: "error", Namespace: s.Namespace(), Event: event, Error: err.Error()})
			return
		}
		tell(line{Kind: "event", Namespace: s.Namespace(), Event: event, Args: values})
	})
	s.OnState(func(_ context.Context, c client.StateChange) {
		l := line{Kind: "state", Namespace: s.Namespace(), State: c.State.String()}
		if c.State == client.Connected {
			l.ID, l.Transport = s.ID(), s.Transport()
		}
		if c.Err != nil {
			l.Error = c.Err.Error()
		}
		tell(l)
	})
}
