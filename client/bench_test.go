package client_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

func benchmarked(b *testing.B) *client.Socket {
	b.Helper()
	srv, err := core.New(core.Options{})
	if err != nil {
		b.Fatal(err)
	}
	core.On(srv.Of("/"), "echo", func(_ context.Context, _ *core.Socket, text string) (string, error) { return text, nil })
	core.On(srv.Of("/"), "drop", func(context.Context, *core.Socket, core.Args) (core.None, error) { return core.None{}, nil })
	host := httptest.NewServer(srv)
	c, err := client.Dial(b.Context(), host.URL, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		_ = srv.Shutdown(context.Background())
		host.Close()
	})
	return c
}

const text64 = "0123456789012345678901234567890123456789012345678901234567890123"

// The server's part is in these figures.
func BenchmarkEmit(b *testing.B) {
	c := benchmarked(b)
	b.ReportAllocs()
	for b.Loop() {
		for errors.Is(c.Emit(b.Context(), "drop", text64), client.ErrBufferFull) {
			runtime.Gosched()
		}
	}
}

func BenchmarkCall(b *testing.B) {
	c := benchmarked(b)
	b.ReportAllocs()
	var answer string
	for b.Loop() {
		if err := c.Call(b.Context(), "echo", []any{text64}, &answer); err != nil {
			b.Fatal(err)
		}
	}
}
