package tracing_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/tracing"
	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/upshifttest"
)

const (
	connectParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	eventParent   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

type traced struct {
	*core.Server
	t     *testing.T
	spans *tracetest.InMemoryExporter
	stop  func()
}

func newTraced(t *testing.T, o tracing.Options) *traced {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	o.TracerProvider = provider
	s := &traced{Server: upshifttest.NewServer(t, core.Options{}), t: t, spans: spans}
	s.stop = tracing.Attach(s.Server, o)
	ns := s.Of("/chat")
	core.On(ns, "say", func(ctx context.Context, s *core.Socket, how string) (string, error) {
		switch how {
		case "error":
			return "", core.Errorf("known", "known")
		case "internal":
			return "", errors.New("broken")
		}
		<-time.After(time.Second)
		return how, s.Namespace().Emit(ctx, "news", how)
	})
	return s
}

// take returns the spans that have ended, by name.
func (s *traced) take() map[string]tracetest.SpanStub {
	s.t.Helper()
	synctest.Wait()
	all := make(map[string]tracetest.SpanStub)
	for _, span := range s.spans.GetSpans() {
		all[span.Name] = span
	}
	s.spans.Reset()
	return all
}

func (s *traced) expect(span tracetest.SpanStub, attrs ...attribute.KeyValue) {
	s.t.Helper()
	for _, a := range attrs {
		if !slices.Contains(span.Attributes, a) {
			s.t.Errorf("%q has %v, not %v", span.Name, span.Attributes, a)
		}
	}
}

func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTraced(t, tracing.Options{Carrier: tracing.LastArgument})
		c := upshifttest.Dial(t, s.Server, "/chat", upshifttest.Options{Auth: map[string]any{"traceparent": connectParent, "token": 7}})
		connect := s.take()["connect /chat"]
		if connect.SpanContext.TraceID().String() != connectParent[3:35] || connect.Parent.SpanID().String() != connectParent[36:52] || connect.SpanKind != api.SpanKindServer {
			t.Errorf("connect: %+v", connect)
		}
		s.expect(connect, attribute.String("upshift.socket.id", c.ID()), attribute.String("messaging.destination.name", "/chat"))

		if err := c.Call(t.Context(), "say", []any{"hello", map[string]string{"traceparent": eventParent}}); err != nil {
			t.Fatal(err)
		}
		spans := s.take()
		event, broadcast := spans["process say"], spans["send news"]
		if event.SpanContext.TraceID().String() != eventParent[3:35] || event.Parent.SpanID().String() != eventParent[36:52] || len(event.Links) != 0 {
			t.Errorf("event: %+v", event)
		}
		if event.EndTime.Sub(event.StartTime) != time.Second || event.Status.Code != codes.Unset || event.SpanKind != api.SpanKindConsumer {
			t.Errorf("event: %+v", event)
		}
		if broadcast.Parent.SpanID() != event.SpanContext.SpanID() || broadcast.SpanKind != api.SpanKindProducer {
			t.Errorf("broadcast: %+v", broadcast)
		}
		s.expect(broadcast, attribute.Int("messaging.batch.message_count", 1), attribute.String("upshift.event", "news"))

		// Without a parent of its own it is linked to the connect.
		if err := c.Call(t.Context(), "say", []any{"hello"}); err != nil {
			t.Fatal(err)
		}
		event = s.take()["process say"]
		if event.Parent.IsValid() || len(event.Links) != 1 || event.Links[0].SpanContext.SpanID() != connect.SpanContext.SpanID() {
			t.Errorf("event: %+v", event)
		}
	})
}

// A connect continues the request that opened the session, unless the client says
// something else when it connects.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTraced(t, tracing.Options{})
		o := upshifttest.Options{Handshake: transports.Handshake{Header: transports.NewHeader("traceparent", eventParent)}}
		for _, auth := range []map[string]string{nil, {"traceparent": connectParent}} {
			parent := eventParent
			if auth != nil {
				o.Auth, parent = auth, connectParent
			}
			upshifttest.Dial(t, s.Server, "/chat", o)
			connect := s.take()["connect /chat"]
			if connect.SpanContext.TraceID().String() != parent[3:35] || connect.Parent.SpanID().String() != parent[36:52] || !connect.Parent.IsRemote() {
				t.Errorf("%v: %+v", auth, connect)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTraced(t, tracing.Options{})
		c := upshifttest.Dial(t, s.Server, "/chat", upshifttest.Options{})
		s.take()
		for how, want := range map[string]struct {
			kind   string
			status codes.Code
		}{"error": {"known", codes.Unset}, "internal": {core.CodeInternal, codes.Error}} {
			if err := c.Call(t.Context(), "say", []any{how}); err == nil {
				t.Fatal("no error")
			}
			span := s.take()["process say"]
			if span.Status.Code != want.status {
				t.Errorf("%s: %+v", how, span)
			}
			s.expect(span, attribute.String("error.type", want.kind))
		}
		// Names that a client makes up are no names of spans.
		_ = c.Call(t.Context(), "made up", nil)
		if spans := s.take(); spans["process other"].Name == "" || len(spans) != 1 {
			t.Errorf("%v", spans)
		}
	})
}

// What clients send in the place of a traceparent does no harm.
func TestBadParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTraced(t, tracing.Options{Carrier: tracing.LastArgument})
		for _, auth := range []any{nil, map[string]any{"traceparent": 7}, map[string]any{"traceparent": "00-zz"}, map[string]any{"traceparent": connectParent + "x"}} {
			c := upshifttest.Dial(t, s.Server, "/chat", upshifttest.Options{Auth: auth})
			if connect := s.take()["connect /chat"]; connect.Name == "" || connect.Parent.IsValid() {
				t.Errorf("%v: %+v", auth, connect)
			}
			for _, args := range [][]any{nil, {"hello"}, {"hello", 7}, {"hello", map[string]any{"traceparent": 7}}, {"hello", map[string]any{"traceparent": "junk"}}} {
				if err := c.Call(t.Context(), "say", args); err != nil {
					t.Errorf("%v: %v", args, err)
				}
				if event := s.take()["process say"]; event.Name == "" || event.Parent.IsValid() {
					t.Errorf("%v: %+v", args, event)
				}
			}
		}
	})
}

func TestSkipAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTraced(t, tracing.Options{Skip: func(_, event string) bool { return event == "say" }})
		c := upshifttest.Dial(t, s.Server, "/chat", upshifttest.Options{})
		s.take()
		if err := c.Call(t.Context(), "say", []any{"hello"}); err != nil {
			t.Fatal(err)
		}
		if spans := s.take(); len(spans) != 1 || spans["send news"].Name == "" {
			t.Errorf("%v", spans)
		}
		s.stop()
		_ = c.Call(t.Context(), "other", nil)
		if err := c.Call(t.Context(), "say", []any{"hello"}); err != nil {
			t.Fatal(err)
		}
		if spans := s.take(); len(spans) != 0 {
			t.Errorf("after stop: %v", spans)
		}
	})
}
