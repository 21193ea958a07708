package transporttest

import (
	"runtime"
	"strings"
	"time"
)

// goroutines returns the stacks of all goroutines by their ids.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		stacks[id] = stack
	}
	return stacks
}

// leftGoroutines returns the stacks of goroutines that were not there before,
// unless they end while there is patience. One of the functions in background
// makes a stack one that may stay.
func leftGoroutines(before map[string]string, background []string, patience time.Duration) string {
	var left []string
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, quiet) {
		left = left[:0]
		for id, stack := range goroutines() {
			if _, ok := before[id]; !ok && !mayStay(stack, background) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		<-time.After(pause)
	}
}

func mayStay(stack string, background []string) bool {
	if strings.Contains(stack, "transporttest.leftGoroutines(") {
		return true // the one that looks
	}
	for _, function := range background {
		if strings.Contains(stack, function) {
			return true
		}
	}
	return false
}
