// Command upshift talks to Socket.IO v4 servers, in any language: by hand, from
// shell scripts, to find out what is wrong with a deployment, and to load it.
// "upshift help" tells more.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, newRoot(), os.Args[1:])
	stop()
	os.Exit(status)
}

// An exitError is an error with the exit status that scripts see. Others are 1.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// run executes the command and returns the exit status.
func run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(root.ErrOrStderr(), "upshift:", visibleLines(err.Error()))
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.status
	}
	return 1
}

// newRoot makes the command with all its subcommands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "upshift",
		Short: "Talk to Socket.IO servers, find out what is wrong with them, and load them",
		// The error is printed by run; the usage would bury it.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newConnect(), newEmit(), newListen(), newDoctor(), newLoad())
	return root
}
