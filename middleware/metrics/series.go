package metrics

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upshift-go/upshift/core"
)

// vectors are the metrics that count as things happen.
type vectors struct {
	sessionsClosed  *prometheus.CounterVec
	upgrades        *prometheus.CounterVec
	requestsRefused *prometheus.CounterVec
	connects        *prometheus.CounterVec
	disconnects     *prometheus.CounterVec
	events          *prometheus.CounterVec
	duration        *prometheus.HistogramVec
	sent            *prometheus.CounterVec
	recipients      *prometheus.HistogramVec
	calls           *prometheus.CounterVec
	callDuration    *prometheus.HistogramVec
}

func newVectors(o *Options) vectors {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "upshift_" + name, Help: help}, labels)
	}
	seconds := func(name, help string, labels ...string) *prometheus.HistogramVec {
		opts := prometheus.HistogramOpts{Name: "upshift_" + name, Help: help, Buckets: o.Buckets}
		if o.NativeHistograms {
			opts.NativeHistogramBucketFactor, opts.NativeHistogramMaxBucketNumber = 1.1, 160
		}
		return prometheus.NewHistogramVec(opts, labels)
	}
	return vectors{
		sessionsClosed:  counter("sessions_closed_total", "Sessions that have ended, by reason.", "reason"),
		upgrades:        counter("upgrades_total", "Attempts to move to another transport, by outcome.", "transport", "outcome"),
		requestsRefused: counter("requests_refused_total", "HTTP requests that were refused, by code and context.", "code", "context"),
		connects:        counter("connects_total", "Connects to namespaces, by outcome.", "namespace", "outcome"),
		disconnects:     counter("disconnects_total", "Sockets that have left, by reason.", "namespace", "reason"),
		events:          counter("events_total", "Events that were handled, by outcome.", "namespace", "event", "outcome"),
		duration:        seconds("event_duration_seconds", "How long handlers took.", "namespace", "event"),
		sent:            counter("events_sent_total", "Events that were sent, once for each recipient.", "namespace", "event"),
		recipients: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "upshift_broadcast_recipients", Help: "Recipients of each broadcast on this server.",
			Buckets: []float64{0, 1, 10, 100, 1000, 10_000, 100_000},
		}, []string{"namespace"}),
		calls:        counter("calls_total", "Events that clients were to answer, by outcome.", "namespace", "event", "outcome"),
		callDuration: seconds("call_duration_seconds", "How long clients took to answer.", "namespace", "event"),
	}
}

func (v *vectors) all() []prometheus.Collector {
	return []prometheus.Collector{
		v.sessionsClosed, v.upgrades, v.requestsRefused, v.connects, v.disconnects,
		v.events, v.duration, v.sent, v.recipients, v.calls, v.callDuration,
	}
}

// A meter counts for one server.
type meter struct {
	options Options
	vectors vectors
	stopped atomic.Bool

	mu    sync.Mutex // taken to replace known
	known atomic.Pointer[map[pair]*series]
}

// A pair is what series are for.
type pair struct{ namespace, event string }

// series are those of one pair, found once.
type series struct {
	pair
	ok, failed, internal prometheus.Counter
	duration             prometheus.Observer
	sent                 prometheus.Counter
}

// received returns the series of an event that a client has sent.
func (m *meter) received(n *core.Namespace, event string) *series {
	return m.of(n, n.EventLabel(event))
}

// sent returns the counter of an event that the program sends.
func (m *meter) sent(n *core.Namespace, event string) prometheus.Counter { return m.of(n, event).sent }

// called counts an event that a client was to answer.
func (m *meter) called(n *core.Namespace, event, outcome string, took time.Duration) {
	p := m.of(n, event).pair
	m.vectors.calls.WithLabelValues(p.namespace, p.event, outcome).Inc()
	if outcome == "ok" {
		m.vectors.callDuration.WithLabelValues(p.namespace, p.event).Observe(took.Seconds())
	}
}

// of returns the series of a pair. Reading takes no lock: the map is replaced when a
// pair comes that is new, which ends soon.
func (m *meter) of(n *core.Namespace, event string) *series {
	p := pair{n.Label(), event}
	if s := (*m.known.Load())[p]; s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.known.Load()
	if len(known) >= m.options.MaxSeries {
		p = pair{core.OtherLabel, core.OtherLabel}
	}
	if s := known[p]; s != nil {
		return s
	}
	s := m.vectors.series(p)
	known = maps.Clone(known)
	known[p] = s
	m.known.Store(&known)
	return s
}

func (v *vectors) series(p pair) *series {
	return &series{
		pair:     p,
		ok:       v.events.WithLabelValues(p.namespace, p.event, "ok"),
		failed:   v.events.WithLabelValues(p.namespace, p.event, "error"),
		internal: v.events.WithLabelValues(p.namespace, p.event, "internal"),
		duration: v.duration.WithLabelValues(p.namespace, p.event),
		sent:     v.sent.WithLabelValues(p.namespace, p.event),
	}
}
