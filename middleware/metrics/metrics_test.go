package metrics_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/upshift-go/upshift/adapters/adaptertest"
	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/metrics"
	"github.com/upshift-go/upshift/upshifttest"
)

// scrape reads what Prometheus would, as "name{labels}" to value.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %s %v", w.Code, body, err)
	}
	found := make(map[string]string)
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			found[line[:i]] = line[i+1:]
		}
	}
	return found
}

func expect(t *testing.T, found map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if found[name] != value {
			t.Errorf("%s is %q, want %q", name, found[name], value)
		}
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		srv := upshifttest.NewServer(t, core.Options{})
		stop, err := metrics.Attach(srv, metrics.Options{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		ns := srv.Of("/chat")
		ns.OnConnect(func(ctx context.Context, s *core.Socket) error { return s.Join(ctx, "room") })
		core.On(ns, "say", func(_ context.Context, _ *core.Socket, how string) (string, error) {
			switch how {
			case "slow":
				<-time.After(3 * time.Second)
			case "error":
				return "", core.Errorf("known", "known")
			case "internal":
				return "", errors.New("broken")
			}
			return how, nil
		})
		srv.OfPattern("/rooms/{room}")
		clients := make([]*upshifttest.Client, 0, 3)
		for range 3 {
			c := upshifttest.Dial(t, srv, "/chat", upshifttest.Options{})
			c.Handle("ask", func(e *upshifttest.Event) {
				if err := e.Reply("yes"); err != nil {
					t.Error(err)
				}
			})
			c.Handle("silence", func(*upshifttest.Event) {})
			clients = append(clients, c)
		}
		clients[0].Join("/rooms/1", nil)
		clients[1].Join("/rooms/2", nil)
		_ = upshifttest.Refused(t, srv, "/none", upshifttest.Options{})
		for _, how := range []string{"", "slow", "error", "internal", "error"} {
			_ = clients[0].Call(t.Context(), "say", []any{how})
		}
		_ = clients[0].Call(t.Context(), "made up", nil)
		if err := ns.To("room").Emit(t.Context(), "news", 1); err != nil {
			t.Error(err)
		}
		s := ns.Socket(clients[0].ID())
		if err := s.Call(t.Context(), "ask", nil); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Call(ctx, "silence", nil); err == nil {
			t.Error("answered")
		}
		synctest.Wait()
		clients[2].Close()
		synctest.Wait()

		expect(t, scrape(t, reg), map[string]string{
			`upshift_sockets{namespace="/chat"}`:                                            "2",
			`upshift_sockets{namespace="/rooms/{room}"}`:                                    "2",
			`upshift_rooms{namespace="/chat"}`:                                              "1",
			`upshift_connects_total{namespace="/chat",outcome="ok"}`:                        "3",
			`upshift_connects_total{namespace="/rooms/{room}",outcome="ok"}`:                "2",
			`upshift_connects_total{namespace="other",outcome="error"}`:                     "1",
			`upshift_disconnects_total{namespace="/chat",reason="transport close"}`:         "1",
			`upshift_sessions_closed_total{reason="transport close"}`:                       "1",
			`upshift_events_total{event="say",namespace="/chat",outcome="ok"}`:              "2",
			`upshift_events_total{event="say",namespace="/chat",outcome="error"}`:           "2",
			`upshift_events_total{event="say",namespace="/chat",outcome="internal"}`:        "1",
			`upshift_events_total{event="other",namespace="/chat",outcome="error"}`:         "1",
			`upshift_event_duration_seconds_bucket{event="say",namespace="/chat",le="2.5"}`: "4",
			`upshift_event_duration_seconds_bucket{event="say",namespace="/chat",le="5"}`:   "5",
			`upshift_events_sent_total{event="news",namespace="/chat"}`:                     "3",
			`upshift_broadcast_recipients_sum{namespace="/chat"}`:                           "3",
			`upshift_calls_total{event="ask",namespace="/chat",outcome="ok"}`:               "1",
			`upshift_calls_total{event="silence",namespace="/chat",outcome="timeout"}`:      "1",
			`upshift_call_duration_seconds_count{event="ask",namespace="/chat"}`:            "1",
			`upshift_sessions_opened_total`:                                                 "4",
			`upshift_outbox_bytes`:                                                          "0",
			`upshift_limit_hits_total{limit="queue"}`:                                       "0",
		})
		stop()
		if rest := scrape(t, reg); len(rest) != 0 {
			t.Errorf("after stop: %v", rest)
		}
		if _, err := metrics.Attach(srv, metrics.Options{Registerer: reg}); err != nil {
			t.Errorf("attached again: %v", err)
		}
	})
}

// Upgrades and refused requests, which need HTTP.
func TestHTTP(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	srv, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.Attach(srv, metrics.Options{Registerer: reg, ConstLabels: prometheus.Labels{"zone": "a"}}); err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(srv)
	defer site.Close()
	defer func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody polls any more: what is left is dropped
		_ = srv.Shutdown(ctx)
	}()
	for _, query := range []string{"EIO=4&transport=polling", "EIO=4&transport=x", "EIO=4&transport=polling&sid=none"} {
		answer, err := http.Get(site.URL + "/socket.io/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	expect(t, scrape(t, reg), map[string]string{
		`upshift_sessions{transport="polling",zone="a"}`:               "1",
		`upshift_requests_refused_total{code="0",context="",zone="a"}`: "1",
		`upshift_requests_refused_total{code="1",context="",zone="a"}`: "1",
	})
}

// An upgrade that something on the way cuts off is counted as failed, and the
// session goes on.
func TestUpgrades(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	srv, err := core.New(core.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.Attach(srv, metrics.Options{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	upgraded, opened := make(chan error, 2), make(chan string, 2)
	srv.Observe(core.Hooks{
		SessionOpened: func(s *core.Session) { opened <- s.ID() },
		Upgraded:      func(_ *core.Session, _ string, err error) { upgraded <- err },
	})
	site := httptest.NewServer(srv)
	defer site.Close()
	defer func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = srv.Shutdown(ctx)
	}()

	c, err := client.Dial(t.Context(), site.URL, client.Options{Transports: []string{"polling", "websocket"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-opened
	if err := <-upgraded; err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(site.URL + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	conn, err := net.Dial("tcp", site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket&sid=%s HTTP/1.1\r\nHost: %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		<-opened, site.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if status, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(status, " 101 ") {
		t.Fatal(status, err)
	}
	_ = conn.Close()
	if err := <-upgraded; err == nil {
		t.Fatal("the upgrade that was cut off has succeeded")
	}
	expect(t, scrape(t, reg), map[string]string{
		`upshift_upgrades_total{outcome="ok",transport="websocket"}`:     "1",
		`upshift_upgrades_total{outcome="failed",transport="websocket"}`: "1",
		`upshift_sessions{transport="websocket"}`:                        "1",
		`upshift_sessions{transport="polling"}`:                          "1",
	})
}

// Whatever clients call their events and namespaces, the number of series has a bound.
func TestHostileNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		srv := upshifttest.NewServer(t, core.Options{})
		if _, err := metrics.Attach(srv, metrics.Options{Registerer: reg, MaxSeries: 10}); err != nil {
			t.Fatal(err)
		}
		srv.OfFunc(func(context.Context, *core.NamespaceRequest) bool { return true })
		ns := srv.Of("/")
		c := upshifttest.Dial(t, srv, "/", upshifttest.Options{})
		for i := range 20_000 {
			if err := c.Emit(t.Context(), fmt.Sprint("event", i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 50 {
			c.Join(fmt.Sprint("/mine/", i), nil)
			if err := ns.Emit(t.Context(), fmt.Sprint("sent", i)); err != nil { // a program that makes up names, too
				t.Fatal(err)
			}
		}
		synctest.Wait()
		found := scrape(t, reg)
		if len(found) > 500 {
			t.Errorf("%d series: %v", len(found), slices.Sorted(maps.Keys(found))[:20])
		}
		expect(t, found, map[string]string{
			`upshift_events_total{event="other",namespace="/",outcome="ok"}`: "20000",
			`upshift_sockets{namespace="other"}`:                             "50",
			`upshift_events_sent_total{event="other",namespace="other"}`:     "41",
		})
	})
}

// A Registerer that has such metrics is told from one that has not.
func TestTwice(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	for i := range 2 {
		srv := upshifttest.NewServer(t, core.Options{})
		_, err := metrics.Attach(srv, metrics.Options{Registerer: reg, NativeHistograms: true})
		if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); twice != (i == 1) {
			t.Errorf("attached %d times: %v", i+1, err)
		}
	}
}

// The dashboard asks for what there is, and shows all of it.
// What goes to other servers, and what may not have got there, shows.
func TestCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(adaptertest.Bus)
		broker := bus.Engine()
		other := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(bus.Engine(), cluster.Options{})})
		srv := upshifttest.NewServer(t, core.Options{Adapter: cluster.New(broker, cluster.Options{})})
		reg := prometheus.NewPedanticRegistry()
		if _, err := metrics.Attach(srv, metrics.Options{Registerer: reg}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if err := other.Of("/").Emit(t.Context(), "news"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		broker.Cut(true)
		if err := srv.Of("/").Emit(t.Context(), "lost"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		broker.Cut(false)
		expect(t, scrape(t, reg), map[string]string{
			`upshift_cluster_servers`:                         "1",
			`upshift_cluster_lost_total{reason="broker"}`:     "1",
			`upshift_cluster_lost_total{reason="queue_full"}`: "0",
			`upshift_cluster_gaps_total`:                      "1",
			`upshift_cluster_queue_bytes`:                     "0",
			`upshift_cluster_partial_answers_total`:           "0",
		})
	})
}

func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(metrics.Dashboard, &dashboard); err != nil {
		t.Fatal(err)
	}
	adapter := cluster.New(new(adaptertest.Bus).Engine(), cluster.Options{})
	srv := upshifttest.NewServer(t, core.Options{Adapter: adapter})
	all := &collected{}
	if _, err := metrics.Attach(srv, metrics.Options{Registerer: all}); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, m := range regexp.MustCompile(`(upshift_\w+)\{([^}]*)\}`).FindAllStringSubmatch(target.Expr, -1) {
				name := strings.TrimSuffix(m[1], "_bucket")
				labels, known := all.labels()[name]
				if !known {
					t.Errorf("%s: there is no %s", p.Title, name)
				}
				shown[name] = true
				for _, by := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(target.Expr, -1) {
					for label := range strings.SplitSeq(by[1], ", ") {
						if label != "le" && !slices.Contains(labels, label) {
							t.Errorf("%s: %s has no label %s", p.Title, name, label)
						}
					}
				}
			}
		}
	}
	for name := range all.labels() {
		if !shown[name] {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
}

// collected is a Registerer that remembers what there is.
type collected struct{ descs []string }

func (c *collected) Register(from prometheus.Collector) error {
	to := make(chan *prometheus.Desc)
	go func() {
		from.Describe(to)
		close(to)
	}()
	for d := range to {
		c.descs = append(c.descs, d.String())
	}
	return nil
}

func (c *collected) MustRegister(...prometheus.Collector) {}
func (c *collected) Unregister(prometheus.Collector) bool { return true }

// labels are those of each metric.
func (c *collected) labels() map[string][]string {
	all := make(map[string][]string)
	for _, d := range c.descs {
		m := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d)
		all[m[1]] = strings.Split(m[2], ",")
	}
	return all
}

// What is counted for each event costs no allocation.
func BenchmarkEvent(b *testing.B) {
	for name, attach := range map[string]bool{"off": false, "on": true} {
		b.Run(name, func(b *testing.B) {
			srv := upshifttest.NewServer(b, core.Options{})
			if attach {
				if _, err := metrics.Attach(srv, metrics.Options{Registerer: prometheus.NewRegistry()}); err != nil {
					b.Fatal(err)
				}
			}
			core.On(srv.Of("/"), "x", func(context.Context, *core.Socket, string) (string, error) { return "", nil })
			c := upshifttest.Dial(b, srv, "/", upshifttest.Options{})
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Call(b.Context(), "x", []any{"text"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
