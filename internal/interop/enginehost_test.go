package interop

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core/session"
	"github.com/upshift-go/upshift/internal/exchange"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
	"github.com/upshift-go/upshift/transports/ws"
)

// An engine is a server of sessions that sends every message back, and closes
// when it is told "close". The reasons for which sessions end go to its
// journal.
type engine struct {
	*journal[string]
	url string
}

func startEngine(t *testing.T, door string) *engine {
	t.Helper()
	e := &engine{journal: newJournal[string]()}
	manager, err := session.New(e, session.Options{
		Transports: []transports.Transport{polling.New(polling.Options{}), ws.New(ws.Options{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	own := door == "own"
	front := openDoor(t, door,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { manager.Serve(exchange.HTTP(w, r)) }),
		func(ctx *fasthttp.RequestCtx) { manager.Serve(exchange.FastHTTP(ctx, own)) })
	e.url = front.url
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := manager.Shutdown(ctx, &transports.CloseError{Reason: transports.ForcedClose}); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		front.shut(ctx, t)
	})
	return e
}

// Opened implements session.Handler.
func (e *engine) Opened(s *session.Session) session.Receiver { return echo{e, s} }

type echo struct {
	engine  *engine
	session *session.Session
}

func (e echo) Message(p transports.Packet) {
	if string(p.Data) == "close" {
		e.session.Close(&transports.CloseError{Reason: transports.ForcedClose})
		return
	}
	p.Data = bytes.Clone(p.Data)
	_ = e.session.Send(p) // the session may have ended
}

func (e echo) Closed(cause *transports.CloseError) { e.engine.add(string(cause.Reason)) }
