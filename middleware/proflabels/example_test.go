package proflabels_test

import (
	"context"
	"fmt"
	"runtime/pprof"
	"testing"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/internal/exampletest"
	"github.com/upshift-go/upshift/middleware/proflabels"
	"github.com/upshift-go/upshift/upshifttest"
)

// What a handler does is found in a profile by
//
//	go tool pprof -tagfocus event=order cpu.out
func ExampleNew() {
	exampletest.Run(func(t testing.TB) {
		srv := upshifttest.NewServer(t, core.Options{})
		srv.Use(proflabels.New())
		core.On(srv.Of("/shop"), "order", func(ctx context.Context, _ *core.Socket, _ string) (string, error) {
			pprof.ForLabels(ctx, func(key, value string) bool {
				fmt.Println(key, value)
				return true
			})
			return "ordered", nil
		})

		client := upshifttest.Dial(t, srv, "/shop", upshifttest.Options{})
		fmt.Println(client.Call(t.Context(), "order", []any{"tea"}))
	})
	// Output:
	// event order
	// namespace /shop
	// <nil>
}
