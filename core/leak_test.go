package core_test

import (
	"testing"

	"go.uber.org/goleak"
)

// fasthttp leaves two kinds of goroutines behind that nobody can stop: one
// that keeps the date, for good, and one per server that sweeps its workers,
// which ends some seconds after the server.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}
