package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/upshift-go/upshift/adapters/cluster"
)

// A clusterScrape reads what the adapter to other servers knows.
type clusterScrape struct {
	stats func() cluster.Stats

	messages, lost, gaps, partial  *prometheus.Desc
	queued, requests, peers, saves *prometheus.Desc
}

func newClusterScrape(stats func() cluster.Stats) *clusterScrape {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("upshift_cluster_"+name, help, labels, nil)
	}
	return &clusterScrape{
		stats:    stats,
		messages: desc("messages_total", "Messages of this server that the broker has taken, and of others that have come.", "direction"),
		lost: desc("lost_total",
			"Messages that may not have reached other servers: the broker has not taken them, there was no room, or they could not be read or worked on.", "reason"),
		gaps:     desc("gaps_total", "Times that messages of other servers may have been missed."),
		partial:  desc("partial_answers_total", "Own questions to which not all servers have answered."),
		saves:    desc("states_not_saved_total", "Changes to what clients come back to that were not saved."),
		queued:   desc("queue_bytes", "What waits for the broker."),
		requests: desc("requests", "Own questions that wait for answers."),
		peers:    desc("servers", "Other servers, of engines with heartbeats."),
	}
}

// Describe implements prometheus.Collector.
func (s *clusterScrape) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.messages, s.lost, s.gaps, s.partial, s.saves, s.queued, s.requests, s.peers} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *clusterScrape) Collect(to chan<- prometheus.Metric) {
	stats := s.stats()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter(s.messages, stats.Published, "out")
	counter(s.messages, stats.Received, "in")
	counter(s.lost, stats.PublishFailed, "broker")
	counter(s.lost, stats.Dropped, "queue_full")
	counter(s.lost, stats.Malformed, "malformed")
	counter(s.lost, stats.Refused, "too_many_requests")
	counter(s.gaps, stats.Gaps)
	counter(s.partial, stats.Partial)
	counter(s.saves, stats.NotSaved)
	gauge(s.queued, stats.QueuedBytes)
	gauge(s.requests, stats.Requests)
	gauge(s.peers, stats.Servers)
}
