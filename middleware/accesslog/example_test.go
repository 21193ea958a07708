package accesslog_test

import (
	"log/slog"
	"os"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/accesslog"
)

func ExampleAttach() {
	srv, err := core.New(core.Options{})
	if err != nil {
		panic(err)
	}
	stop := accesslog.Attach(srv, accesslog.Options{
		Logger: slog.New(slog.NewJSONHandler(os.Stdout, nil)),
		Events: func(_, event string) int {
			if event == "cursor" {
				return 100 // about one in a hundred
			}
			return 1
		},
	})
	defer stop()
	// Output:
}
