// Package metrics counts what a server does, for Prometheus.
//
//	stop, err := metrics.Attach(srv, metrics.Options{})
//	http.Handle("/metrics", promhttp.Handler())
//
// What is counted:
//
//	upshift_sessions{transport}                        sessions, by the transport they use now
//	upshift_sessions_opened_total, upshift_sessions_closed_total{reason}
//	upshift_upgrades_total{transport,outcome}          ok, failed
//	upshift_requests_refused_total{code,context}       HTTP requests
//	upshift_sockets{namespace}, upshift_rooms{namespace}
//	upshift_connects_total{namespace,outcome}, upshift_disconnects_total{namespace,reason}
//	upshift_events_total{namespace,event,outcome}      handled: ok, error (meant for the client), internal
//	upshift_event_duration_seconds{namespace,event}    a histogram
//	upshift_events_sent_total{namespace,event}         once for each recipient
//	upshift_broadcast_recipients{namespace}            a histogram
//	upshift_calls_total{namespace,event,outcome}       ok, error, timeout, disconnected, internal
//	upshift_call_duration_seconds{namespace,event}     a histogram of those that were answered
//	upshift_bytes_total{direction}, upshift_packets_total{direction}
//	upshift_outbox_bytes, upshift_outbox_largest_bytes what clients have not taken yet
//	upshift_dropped_total{kind}, upshift_slow_consumers_total
//	upshift_limit_hits_total{limit}
//	upshift_recoveries_total{outcome}, upshift_recovery_bytes
//
// And of the adapter to other servers, if it has Stats as a cluster.Adapter has:
//
//	upshift_cluster_messages_total{direction}          out: the broker has taken them; in: of other servers
//	upshift_cluster_lost_total{reason}                 broker, queue_full, malformed, too_many_requests
//	upshift_cluster_gaps_total                         times that messages may have been missed
//	upshift_cluster_partial_answers_total              own questions that not all have answered
//	upshift_cluster_states_not_saved_total             of what clients come back to
//	upshift_cluster_queue_bytes                        what waits for the broker
//	upshift_cluster_requests                           own questions that wait for answers
//	upshift_cluster_servers                            other servers, with NATS; 0 with Redis
//
// Heartbeats that were not answered are sessions closed for "ping timeout". There is a
// dashboard for Grafana: dashboard.json, which is also Dashboard.
//
// No client can make series: a label holds names that the program has given, to
// namespaces, families of them, and events that have a handler, and of those no more
// than Options.MaxSeries. What is left counts as "other".
package metrics

import (
	"context"
	_ "embed" // the dashboard
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// Dashboard is a dashboard for Grafana, version 10 and later, as JSON. It asks for the
// data source, and has variables for job and instance.
//
//go:embed dashboard.json
var Dashboard []byte

// Options say where and how to count. The zero value works.
type Options struct {
	// Registerer takes the metrics. Default prometheus.DefaultRegisterer.
	Registerer prometheus.Registerer
	// ConstLabels are on every metric. Servers that share a Registerer need one that
	// tells them apart. Default: none.
	ConstLabels prometheus.Labels
	// Buckets are the bounds of the histograms of times, in seconds. Default: from
	// 0.5 ms to 10 s.
	Buckets []float64
	// NativeHistograms makes the histograms of times native ones besides, which
	// have no bounds.
	NativeHistograms bool
	// MaxSeries is how many pairs of a namespace and an event have series of their
	// own, each of some 20. Default 200.
	MaxSeries int
}

// Attach counts what happens on srv from now on, until stop is called, which takes
// the metrics from the Registerer. An error says that it has such metrics already.
//
// Its middleware is added to what srv.Use has already, and does not see what that
// refuses: attach it first.
func Attach(srv *core.Server, o Options) (stop func(), err error) {
	if o.Registerer == nil {
		o.Registerer = prometheus.DefaultRegisterer
	}
	if len(o.ConstLabels) > 0 {
		o.Registerer = prometheus.WrapRegistererWith(o.ConstLabels, o.Registerer)
	}
	if o.Buckets == nil {
		o.Buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	}
	if o.MaxSeries <= 0 {
		o.MaxSeries = 200
	}
	m := &meter{options: o, vectors: newVectors(&o)}
	m.known.Store(&map[pair]*series{})
	collectors := append(m.vectors.all(), newScrape(srv))
	if a, ok := srv.Adapter().(interface{ Stats() cluster.Stats }); ok {
		collectors = append(collectors, newClusterScrape(a.Stats))
	}
	for i, c := range collectors {
		if err := o.Registerer.Register(c); err != nil {
			for _, registered := range collectors[:i] {
				o.Registerer.Unregister(registered)
			}
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	unobserve := srv.Observe(m.hooks())
	srv.Use(m.handled)
	return func() {
		m.stopped.Store(true)
		unobserve()
		for _, c := range collectors {
			o.Registerer.Unregister(c)
		}
	}, nil
}

func (m *meter) hooks() core.Hooks {
	v := &m.vectors
	return core.Hooks{
		SessionClosed: func(_ *core.Session, cause *core.CloseError) {
			v.sessionsClosed.WithLabelValues(string(cause.Reason)).Inc()
		},
		Upgraded: func(_ *core.Session, transport string, err error) {
			ended := "ok"
			if err != nil {
				ended = "failed"
			}
			v.upgrades.WithLabelValues(transport, ended).Inc()
		},
		RequestRefused: func(e *core.RequestError) {
			v.requestsRefused.WithLabelValues(strconv.Itoa(int(e.Code)), e.Context).Inc()
		},
		Connected: func(s *core.Socket) {
			v.connects.WithLabelValues(s.Namespace().Label(), "ok").Inc()
		},
		ConnectRefused: func(_ *core.Session, _ string, s *core.Socket, err error) {
			name := core.OtherLabel
			if s != nil && s.Namespace() != nil {
				name = s.Namespace().Label()
			}
			v.connects.WithLabelValues(name, outcome(err)).Inc()
		},
		Disconnected: func(s *core.Socket, cause *core.CloseError) {
			v.disconnects.WithLabelValues(s.Namespace().Label(), string(cause.Reason)).Inc()
		},
		EventSentTo: func(sockets []*core.Socket, event string, _ []any) {
			if len(sockets) > 0 {
				m.sent(sockets[0].Namespace(), event).Add(float64(len(sockets)))
			}
		},
		Broadcast: func(_ context.Context, b *core.Broadcasted) {
			v.recipients.WithLabelValues(b.Namespace.Label()).Observe(float64(b.Recipients))
		},
		Called: func(s *core.Socket, event string, took time.Duration, err error) {
			m.called(s.Namespace(), event, outcome(err), took)
		},
	}
}

// handled is the middleware, for what hooks do not see: how long handlers take.
func (m *meter) handled(next core.Handler) core.Handler {
	return func(ctx context.Context, r *core.Request) error {
		if r.Connect() || m.stopped.Load() {
			return next(ctx, r)
		}
		of := m.received(r.Socket.Namespace(), r.Event)
		began := time.Now()
		err := next(ctx, r)
		of.duration.Observe(time.Since(began).Seconds())
		switch outcome(err) {
		case "ok":
			of.ok.Inc()
		case "error":
			of.failed.Inc()
		default:
			of.internal.Inc()
		}
		return err
	}
}

// outcome tells what was meant for the client from what went wrong.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if _, ok := errors.AsType[*core.Error](err); ok {
		return "error"
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "timeout"
	}
	if errors.Is(err, core.ErrDisconnected) {
		return "disconnected"
	}
	return "internal"
}
