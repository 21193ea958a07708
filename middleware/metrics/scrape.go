package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/upshift-go/upshift/core"
)

// A scrape reads what the server knows by itself when it is asked. It walks over the
// sessions.
type scrape struct {
	server *core.Server

	sessions, sockets, rooms            *prometheus.Desc
	opened, bytes, packets              *prometheus.Desc
	waitingBytes, waitingMost, dropped  *prometheus.Desc
	limits, slow, recovered, recoverLog *prometheus.Desc
}

func newScrape(srv *core.Server) *scrape {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("upshift_"+name, help, labels, nil)
	}
	return &scrape{
		server:       srv,
		sessions:     desc("sessions", "Sessions, by the transport they use now.", "transport"),
		sockets:      desc("sockets", "Connected sockets.", "namespace"),
		rooms:        desc("rooms", "Rooms that somebody is in, other than those of one socket.", "namespace"),
		opened:       desc("sessions_opened_total", "Sessions that have opened."),
		bytes:        desc("bytes_total", "Bytes of the data of packets.", "direction"),
		packets:      desc("packets_total", "Packets of Engine.IO, heartbeats included.", "direction"),
		waitingBytes: desc("outbox_bytes", "What clients have not taken yet."),
		waitingMost:  desc("outbox_largest_bytes", "What the one client has not taken yet for which most waits."),
		dropped:      desc("dropped_total", "Events that were not delivered to a client that did not keep up, by kind.", "kind"),
		limits:       desc("limit_hits_total", "How often a limit has taken effect.", "limit"),
		slow:         desc("slow_consumers_total", "Sessions that were closed because their client did not read."),
		recovered:    desc("recoveries_total", "Clients that wanted to come back to where they were, by outcome.", "outcome"),
		recoverLog:   desc("recovery_bytes", "What is kept for recovery."),
	}
}

// Describe implements prometheus.Collector.
func (s *scrape) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.sessions, s.sockets, s.rooms, s.opened, s.bytes, s.packets, s.waitingBytes, s.waitingMost,
		s.dropped, s.limits, s.slow, s.recovered, s.recoverLog,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *scrape) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	transports := make(map[string]int)
	waiting, most := 0, 0
	for session := range s.server.AllSessions() {
		transports[session.Transport()]++
		_, bytes := session.Waiting()
		waiting += bytes
		most = max(most, bytes)
	}
	for name, n := range transports {
		gauge(s.sessions, float64(n), name)
	}
	sockets, rooms := make(map[string]int), make(map[string]int)
	for _, n := range s.server.Namespaces() {
		sockets[n.Label()] += n.Len()
		rooms[n.Label()] += len(n.Rooms())
	}
	for name, n := range sockets {
		gauge(s.sockets, float64(n), name)
		gauge(s.rooms, float64(rooms[name]), name)
	}
	gauge(s.waitingBytes, float64(waiting))
	gauge(s.waitingMost, float64(most))

	stats := s.server.Stats()
	gauge(s.recoverLog, float64(stats.RecoveryBytes))
	counter(s.opened, stats.Opened)
	counter(s.bytes, stats.Traffic.BytesIn, "in")
	counter(s.bytes, stats.Traffic.BytesOut, "out")
	counter(s.packets, stats.Traffic.PacketsIn, "in")
	counter(s.packets, stats.Traffic.PacketsOut, "out")
	counter(s.slow, stats.SlowConsumers)
	counter(s.recovered, stats.Recovered, "ok")
	counter(s.recovered, stats.RecoveryFailed, "failed")
	for kind, n := range map[string]uint64{
		"volatile": stats.VolatileDropped, "overflow": stats.OverflowDropped,
		"replaced": stats.Replaced, "refused": stats.OutboxRefused,
	} {
		counter(s.dropped, n, kind)
	}
	for limit, n := range map[string]uint64{
		"sessions": stats.TooManySessions, "sessions_per_address": stats.TooManySessionsFromAddress,
		"connect_rate": stats.ConnectRate, "connect_rate_per_address": stats.ConnectRateFromAddress,
		"origin": stats.OriginRefused, "payload": stats.PayloadTooLarge, "packets_per_payload": stats.TooManyPackets,
		"malformed": stats.Malformed, "bad_packets": stats.BadPackets, "queue": stats.QueueFull,
		"namespaces": stats.TooManyNamespaces, "dynamic_namespaces": stats.TooManyDynamicNamespaces,
		"rooms": stats.TooManyRooms,
	} {
		counter(s.limits, n, limit)
	}
}
