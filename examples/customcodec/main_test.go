package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/examples/customcodec/plain"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/pipe"
)

// The server of the example speaks the codec: one line each way.
func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wire := pipe.New()
		srv, err := core.New(core.Options{Codec: plain.New(), Transports: []transports.Transport{wire}})
		if err != nil {
			t.Fatal(err)
		}
		register(srv)
		client, err := wire.Dial(srv, transports.Handshake{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = client.Close()
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		next := func() string {
			t.Helper()
			p, err := client.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return string(p.Data)
		}
		next() // the handshake
		for _, step := range []struct{ line, answer string }{
			{`{"type":0,"nsp":"/"}`, `{"type":0,"nsp":"/","data":{"sid":"`},
			{`{"type":2,"nsp":"/","id":7,"data":["message",{"from":"Ada","text":"Hi"}]}`, `{"type":3,"nsp":"/","id":7,"data":["delivered"]}`},
		} {
			if err := client.Send(transports.Packet{Type: transports.Message, Data: []byte(step.line)}); err != nil {
				t.Fatal(err)
			}
			if got := next(); !strings.HasPrefix(got, step.answer) {
				t.Errorf("%s was answered with %s", step.line, got)
			}
		}
	})
}
