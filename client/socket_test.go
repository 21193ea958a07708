package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/event"
)

type message struct {
	Text string `json:"text"`
	Blob []byte `json:"blob"`
}

var (
	echo   = event.New[message, message]("echo")
	posted = event.New[message, event.None]("posted")
	ask    = event.New[int, int]("ask")
)

// ways are the ways to reach a server.
var ways = map[string]client.Options{
	"polling":   {Transports: []string{client.Polling}},
	"websocket": {Transports: []string{client.WebSocket}},
	"upgrade":   {Transports: []string{client.Polling, client.WebSocket}},
}

// eachWay runs a test for every way and codec.
func eachWay(t *testing.T, test func(t *testing.T, o client.Options, c codec.Codec)) {
	t.Helper()
	for name, o := range ways {
		for _, c := range []codec.Codec{codec.JSON(codec.JSONOptions{}), codec.MsgPack(codec.MsgPackOptions{})} {
			t.Run(name+"/"+c.Name(), func(t *testing.T) {
				o := o
				o.Codec = c
				test(t, o, c)
			})
		}
	}
}

func TestEventsBothWays(t *testing.T) {
	eachWay(t, func(t *testing.T, o client.Options, c codec.Codec) {
		srv, url := serve(t, core.Options{Codec: c})
		core.OnEvent(srv.Of("/"), echo, func(ctx context.Context, s *core.Socket, m message) (message, error) {
			// The answer to the client's question waits for the client's answer.
			n, err := ask.Call(ctx, s, len(m.Text))
			if err != nil {
				return m, err
			}
			m.Text = fmt.Sprint(m.Text, n)
			return m, posted.Emit(ctx, s, m)
		})
		client := dial(t, url, o)
		ask.On(client, func(_ context.Context, n int) (int, error) { return n * 2, nil })
		heard := make(chan message, 1)
		posted.On(client, func(_ context.Context, m message) (event.None, error) {
			heard <- m
			return event.None{}, nil
		})
		for range 20 {
			got, err := echo.Call(t.Context(), client, message{Text: "hello", Blob: []byte{0, 1, 2, 255}})
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != "hello10" || !bytes.Equal(got.Blob, []byte{0, 1, 2, 255}) {
				t.Errorf("got %+v", got)
			}
			if m := receive(t, heard, "the event"); m.Text != "hello10" || len(m.Blob) != 4 {
				t.Errorf("heard %+v", m)
			}
		}
	})
}

func TestErrorsOfTheServerAreErrors(t *testing.T) {
	eachWay(t, func(t *testing.T, o client.Options, c codec.Codec) {
		srv, url := serve(t, core.Options{Codec: c})
		core.OnEvent(srv.Of("/"), ask, func(_ context.Context, _ *core.Socket, n int) (int, error) {
			return 0, &core.Error{Code: "no", Message: "never", Data: map[string]int{"n": n}}
		})
		s := dial(t, url, o)
		_, err := ask.Call(t.Context(), s, 7)
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Code != "no" || e.Message != "never" {
			t.Fatalf("Call: %v", err)
		}
		var data struct{ N int }
		if err := e.Data.(codec.Raw).Bind(&data); err != nil || data.N != 7 {
			t.Errorf("data: %+v, %v", data, err)
		}
	})
}
