package adminui

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/upshift-go/upshift/core"
)

// serverStats are the figures of one server.
type serverStats struct {
	ServerID         string           `json:"serverId"`
	Hostname         string           `json:"hostname"`
	PID              int              `json:"pid"`
	Uptime           float64          `json:"uptime"` // seconds
	Clients          int              `json:"clientsCount"`
	PollingClients   int              `json:"pollingClientsCount"`
	Namespaces       []namespaceStats `json:"namespaces"`
	AggregatedEvents []aggregated     `json:"aggregatedEvents"`
}

type namespaceStats struct {
	Name    string `json:"name"`
	Sockets int    `json:"socketsCount"`
}

// aggregated is how often something has happened since it was last said.
type aggregated struct {
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970, of a full second
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"`
	Count     uint64 `json:"count"`
}

// began is when the process did, as nearly as we know.
var began = time.Now()

// maxNamespaces is of how many namespaces the pages are told, the fullest.
const maxNamespaces = 1000

// stats returns the figures of now.
func (a *Admin) stats(since []aggregated) serverStats {
	polling := 0
	for s := range a.server.AllSessions() {
		if s.Transport() == "polling" {
			polling++
		}
	}
	all := a.server.Namespaces()
	namespaces := make([]namespaceStats, len(all))
	for i, n := range all {
		namespaces[i] = namespaceStats{Name: n.Name(), Sockets: n.Len()}
	}
	if len(namespaces) > maxNamespaces {
		slices.SortFunc(namespaces, func(a, b namespaceStats) int { return cmp.Compare(b.Sockets, a.Sockets) })
		namespaces = namespaces[:maxNamespaces]
	}
	if since == nil {
		since = []aggregated{} // it is sent as an array
	}
	return serverStats{
		ServerID:         a.options.ServerID,
		Hostname:         hostname(),
		PID:              os.Getpid(),
		Uptime:           time.Since(began).Seconds(),
		Clients:          a.server.Stats().Sessions,
		PollingClients:   polling,
		Namespaces:       namespaces,
		AggregatedEvents: since,
	}
}

// tick sends the figures, and makes good what was lost.
func (a *Admin) tick() {
	since := a.tally.take(a.server.Stats())
	q := &a.queue
	q.mu.Lock()
	a.unwatchLocked()
	pages := len(q.pages)
	if q.lost && q.watched {
		q.lost = false
		all := q.allLocked()
		q.entries = append(q.entries, func() { a.reconcile(all) })
		a.wakeUp()
	}
	q.mu.Unlock()
	if pages == 0 && a.alone {
		return
	}
	a.emit(a.namespace.To().Overflow(core.DropNewest), "server_stats", a.stats(since))
	if pages > 0 && a.options.Development {
		a.announce()
	}
}

// maxReasons is how many reasons of the end of sessions are told apart. There are
// not that many, unless a transport makes them up.
const maxReasons = 32

// A tally counts what has happened since the pages were last told.
type tally struct {
	before core.Stats // used by the goroutine of run only

	mu   sync.Mutex // guards what follows
	ends map[core.Reason]uint64
}

func (t *tally) start(srv *core.Server) {
	t.before = srv.Stats()
	t.ends = make(map[core.Reason]uint64)
}

// ended counts the end of a session.
func (t *tally) ended(why core.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.ends[why]; !known && len(t.ends) >= maxReasons {
		why = "other"
	}
	t.ends[why]++
}

// take returns what has happened up to now, and begins anew.
func (t *tally) take(now core.Stats) []aggregated {
	t.mu.Lock()
	ends := t.ends
	t.ends = make(map[core.Reason]uint64, len(ends))
	t.mu.Unlock()
	second := time.Now().Truncate(time.Second).UnixMilli()
	var list []aggregated
	add := func(kind, sub string, count uint64) {
		if count > 0 {
			list = append(list, aggregated{Timestamp: second, Type: kind, SubType: sub, Count: count})
		}
	}
	add("rawConnection", "", now.Opened-t.before.Opened)
	for why, count := range ends {
		add("rawDisconnection", string(why), count)
	}
	add("packetsIn", "", now.Traffic.PacketsIn-t.before.Traffic.PacketsIn)
	add("packetsOut", "", now.Traffic.PacketsOut-t.before.Traffic.PacketsOut)
	add("bytesIn", "", now.Traffic.BytesIn-t.before.Traffic.BytesIn)
	add("bytesOut", "", now.Traffic.BytesOut-t.before.Traffic.BytesOut)
	t.before = now
	return list
}
