// Package interop drives the official JavaScript clients against the server:
// in Node.js, through proxies that treat WebSocket badly, and in a browser.
//
// A test that needs a program which this machine lacks is skipped; where CI is
// set it fails.
package interop

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// lingering are goroutines that fasthttp keeps: one for the life of the
// process, and one for ten seconds after a server has stopped.
var lingering = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, lingering...) }

// need returns the path of a program, by the first of its names that is found.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, names[0])
	return ""
}

// missing ends a test that cannot run for lack of something on this machine.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}
