// Package exampletest lets examples have the clients of upshifttest, which belong to
// a test.
package exampletest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
)

// example has the part of a test that clients need.
type example struct {
	testing.TB
	cleanup []func()
}

// Run calls an example. What fails is printed, so that the output is not what it
// should be.
func Run(fn func(t testing.TB)) {
	e := new(example)
	done := make(chan struct{})
	go func() { // Fatalf ends it
		defer close(done)
		defer e.clean()
		fn(e)
	}()
	<-done
}

func (e *example) clean() {
	for _, fn := range slices.Backward(e.cleanup) {
		fn()
	}
}

// Helper implements testing.TB.
func (*example) Helper() {}

// Context implements testing.TB.
func (*example) Context() context.Context { return context.Background() }

// Cleanup implements testing.TB.
func (e *example) Cleanup(fn func()) { e.cleanup = append(e.cleanup, fn) }

// Error implements testing.TB.
func (*example) Error(args ...any) { fmt.Fprintln(os.Stdout, args...) }

// Errorf implements testing.TB.
func (*example) Errorf(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// Fatal implements testing.TB.
func (e *example) Fatal(args ...any) {
	e.Error(args...)
	runtime.Goexit()
}

// Fatalf implements testing.TB.
func (e *example) Fatalf(format string, args ...any) {
	e.Errorf(format, args...)
	runtime.Goexit()
}
