package health_test

import (
	"testing"

	"go.uber.org/goleak"
)

// fasthttp leaves goroutines behind that nobody can stop, see core.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}
