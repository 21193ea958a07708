// Package tracing makes spans of OpenTelemetry of what clients do: from the connect
// or the event that a client sends, through middleware and handler, to the broadcasts
// that the handler makes with its context.
//
//	stop := tracing.Attach(srv, tracing.Options{})
//
// A span continues what the client has begun, if it says so with a traceparent of W3C
// Trace Context: in the object that it sends to connect, or in an event if
// Options.Carrier is set. A connect without one continues the HTTP request that opened
// the session. An event without one begins a trace of its own, linked to the connect.
//
//	io("/chat", {auth: {token, traceparent}})
//
// Names and attributes are those of the semantic conventions for messaging:
// "process say" with messaging.destination.name /chat, and "send news" for a
// broadcast, with messaging.batch.message_count. Names that clients make up are not
// used: an event without a handler is "other", and a namespace of a family is the
// family's pattern.
package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/upshift-go/upshift/core"
)

// Options say where spans go. The zero value works.
type Options struct {
	// TracerProvider makes the spans. Default: that of otel, as it is when Attach is
	// called.
	TracerProvider trace.TracerProvider
	// Propagator reads what clients send. Default: W3C Trace Context.
	Propagator propagation.TextMapPropagator
	// Carrier returns what an event carries of a trace, or nil. Default: events carry
	// nothing. See LastArgument.
	Carrier func(r *core.Request) propagation.TextMapCarrier
	// Skip says which events have no span, such as those that come all the time.
	// Default: each has one.
	Skip func(namespace, event string) bool
}

const scope = "github.com/upshift-go/upshift/middleware/tracing"

type tracer struct {
	Options
	trace.Tracer
	stopped <-chan struct{}
}

// connected is the span of a socket's connect.
var connected = core.NewKey[trace.SpanContext]("tracing: connect")

// Attach traces what happens on srv from now on, until stop is called. Its middleware
// is added to what srv.Use has already, and does not see what that refuses: attach it
// first.
func Attach(srv *core.Server, o Options) (stop func()) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.TraceContext{}
	}
	stopped, end := context.WithCancel(context.Background())
	t := &tracer{Options: o, Tracer: o.TracerProvider.Tracer(scope), stopped: stopped.Done()}
	srv.Use(t.trace)
	unobserve := srv.Observe(core.Hooks{Broadcast: t.broadcast})
	return func() {
		end()
		unobserve()
	}
}

// LastArgument is a Carrier: the last argument of an event, if it is an object with a
// member traceparent. Handlers that take fewer arguments do not see it.
//
//	socket.emit("say", "hello", {traceparent})
func LastArgument(r *core.Request) propagation.TextMapCarrier {
	var carrier propagation.MapCarrier
	if r.Args.Len() == 0 || r.Args.Raw(r.Args.Len()-1).Bind(&carrier) != nil || carrier["traceparent"] == "" {
		return nil
	}
	return carrier
}

// trace is the middleware.
func (t *tracer) trace(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		select {
		case <-t.stopped:
			return next(ctx, r)
		default:
		}
		if r.Connect() {
			return t.connect(ctx, r, next)
		}
		return t.event(ctx, r, next)
	}
}

func (t *tracer) connect(ctx context.Context, r *core.Request, next core.Handler) error {
	ctx = t.Propagator.Extract(ctx, headers{r.Socket.Handshake()})
	var auth map[string]any
	if r.Socket.Auth(&auth) == nil {
		ctx = t.Propagator.Extract(ctx, texts(auth))
	}
	namespace := r.Socket.Namespace().Label()
	ctx, span := t.Start(ctx, "connect "+namespace, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("messaging.system", "socketio"),
		attribute.String("messaging.destination.name", namespace),
		attribute.String("upshift.socket.id", r.Socket.ID()),
		attribute.String("upshift.transport", r.Socket.Transport()),
	))
	defer span.End()
	connected.Set(r.Socket, span.SpanContext())
	err := next(ctx, r)
	end(span, err)
	return err
}

func (t *tracer) event(ctx context.Context, r *core.Request, next core.Handler) error {
	n := r.Socket.Namespace()
	namespace, event := n.Label(), n.EventLabel(r.Event)
	if t.Skip != nil && t.Skip(namespace, event) {
		return next(ctx, r)
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "socketio"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", namespace),
		attribute.Int("messaging.message.body.size", r.Args.Size()),
		attribute.String("upshift.event", event),
		attribute.String("upshift.socket.id", r.Socket.ID()),
	)}
	if t.Carrier != nil {
		if carrier := t.Carrier(r); carrier != nil {
			ctx = t.Propagator.Extract(ctx, carrier)
		}
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		if connect, ok := connected.Get(r.Socket); ok {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: connect}))
		}
	}
	ctx, span := t.Start(ctx, "process "+event, options...)
	defer span.End()
	err := next(ctx, r)
	end(span, err)
	return err
}

// broadcast makes the span of a broadcast when it is over.
func (t *tracer) broadcast(ctx context.Context, b *core.Broadcasted) {
	namespace := b.Namespace.Label()
	if t.Skip != nil && t.Skip(namespace, b.Event) {
		return
	}
	_, span := t.Start(ctx, "send "+b.Event, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(b.Started), trace.WithAttributes(
		attribute.String("messaging.system", "socketio"),
		attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("messaging.destination.name", namespace),
		attribute.Int("messaging.batch.message_count", b.Recipients),
		attribute.String("upshift.event", b.Event),
	))
	end(span, b.Err)
	span.End(trace.WithTimestamp(b.Started.Add(b.Took)))
}

// end writes down how a span has ended. What was meant for the client is no fault of
// the server.
func end(span trace.Span, err error) {
	if err == nil {
		return
	}
	if told, ok := errors.AsType[*core.Error](err); ok {
		span.SetAttributes(attribute.String("error.type", told.Code))
		return
	}
	span.SetAttributes(attribute.String("error.type", core.CodeInternal))
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
