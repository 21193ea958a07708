package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Three servers of one kind in a cluster, in the order of the table. Those that Node
// has, too, are beside it, on the same Redis.
var clusters = []string{
	"upshift-redis", "node-classic", "upshift-sharded", "node-sharded", "upshift-streams", "node-streams",
	"upshift-streams-recovery", "node-streams-recovery", "upshift-nats", "upshift-nats-log-recovery",
}

const (
	clusterServers = 3
	clusterClients = 10 // of each
)

// measureClusters measures each kind, in turns, and returns the tables.
func measureClusters(p plan) (string, error) {
	redis, err := startRedis()
	if err != nil {
		return "", err
	}
	defer func() { _ = redis.stop() }() // it is killed
	nats, err := start(natsServer, "")
	if err != nil {
		return "", err
	}
	defer func() { _ = nats.stop() }() // it has been read from
	broker := func(name string) *child {
		if strings.Contains(name, "nats") {
			return nats
		}
		return redis
	}
	measured := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return len(p.servers) > 0 && !slices.Contains(p.servers, name)
		})
	}
	everywhere, rooms := make(map[string][]clusterResult), make(map[string][]roomsResult)
	for round := range p.rounds {
		for _, name := range measured(clusters) {
			p.say("%d/%d %s", round+1, p.rounds, name)
			r, err := p.measureCluster(name, broker(name))
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			everywhere[name] = append(everywhere[name], r)
		}
		for _, name := range measured(roomClusters) {
			p.say("%d/%d %s, rooms", round+1, p.rounds, name)
			r, err := p.measureRooms(name, broker(name))
			if err != nil {
				return "", fmt.Errorf("%s, rooms: %w", name, err)
			}
			rooms[name] = append(rooms[name], r)
		}
	}
	return clusterTable(measured(clusters), everywhere) + "\n" + roomsTable(measured(roomClusters), rooms), nil
}

// clusterResult is what one kind has shown.
type clusterResult struct {
	rate       float64       // messages a second, each to all clients of all servers
	cost       float64       // µs of CPU of the three servers for each delivery on another server
	brokerCost float64       // µs of CPU of the broker for each message
	here       time.Duration // median until a client of the same server has a message
	there      time.Duration // until one of another server has, in the same time
	worst      time.Duration // 99 of 100 of these
}

// clusterTable is the table of measureCluster.
func clusterTable(names []string, rounds map[string][]clusterResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| Three servers, %d clients each | messages/s | CPU of servers per delivery elsewhere | CPU of the broker per message | latency, same server | another server | p99 |\n|---|---|---|---|---|---|---|\n", clusterClients)
	for _, name := range names {
		r := middle(rounds[name], func(r clusterResult) float64 { return r.rate })
		fmt.Fprintf(&b, "| %s | %.0f | %.2f µs | %.1f µs | %s | %s | %s |\n", name, r.rate, r.cost, r.brokerCost,
			r.here.Round(time.Microsecond), r.there.Round(time.Microsecond), r.worst.Round(time.Microsecond))
	}
	return b.String()
}

// measureCluster has one client send to all clients of all servers, one message at a
// time and then as many as a client of another server takes.
func (p plan) measureCluster(name string, broker *child) (r clusterResult, err error) {
	c, err := startCluster(name, broker)
	if err != nil {
		return r, err
	}
	defer func() { err = joinStop(err, c) }()
	if r.here, r.there, r.worst, err = c.latency(p); err != nil {
		return r, err
	}
	one := frame(socketIO.cast(payload(128)), false)
	l, err := c.during(p, func(until time.Time) (int64, error) {
		t := &tally{clients: c.clients, fanout: int64(len(c.clients)), until: until}
		t.senders.Store(1)
		return each(c.clients, until, func(i int, client *client) (int64, error) {
			if i != clusterClients {
				return t.listen(client)
			}
			return t.send(client, c.clients[0], one, nil, 64)
		})
	})
	if err != nil {
		return r, err
	}
	messages := float64(l.received) / float64(len(c.clients))
	r.rate = messages / l.took.Seconds()
	for _, spent := range l.servers {
		r.cost += float64(spent.Microseconds()) / (messages * clusterClients * (clusterServers - 1))
	}
	r.brokerCost = float64(l.broker.Microseconds()) / messages
	return r, nil
}

// A cluster is servers and their clients, as many on each.
type cluster struct {
	broker  *child
	nodes   []*child
	clients []*client
}

// startCluster starts servers, and waits until they hear each other.
func startCluster(name string, broker *child) (c *cluster, err error) {
	if err := os.Setenv("UPSHIFT_BENCH_BROKER", broker.addr); err != nil {
		return nil, err
	}
	c = &cluster{broker: broker}
	defer func() {
		if err != nil {
			err = joinStop(err, c)
		}
	}()
	for range clusterServers {
		node, err := start(name, "")
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, node)
	}
	for _, node := range c.nodes {
		clients, err := connect(node, clusterClients, 4096)
		if err != nil {
			return c, err
		}
		c.clients = append(c.clients, clients...)
	}
	return c, c.together()
}

// of are the clients of one server.
func (c *cluster) of(server int) []*client {
	return c.clients[server*clusterClients:][:clusterClients]
}

// joinStop ends the cluster, and returns err with what that has met.
func joinStop(err error, c *cluster) error {
	hangUp(c.clients)
	for _, node := range c.nodes {
		err = errors.Join(err, node.stop())
	}
	return err
}

// together waits until what one client casts reaches all.
func (c *cluster) together() error {
	hello := socketIO.cast(`{"text":"hello"}`)
	for end := time.Now().Add(patience); ; {
		if err := c.clients[0].send(hello); err != nil {
			return err
		}
		reached := 0
		for _, one := range c.clients {
			if one.conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)) == nil {
				if _, err := one.next(); err == nil {
					reached++
				}
			}
		}
		for _, one := range c.clients { // what came late
			for one.conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)) == nil {
				if _, err := one.next(); err != nil {
					break
				}
			}
			if err := one.conn.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
		}
		if reached == len(c.clients) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d clients are reached", reached, len(c.clients))
		}
	}
}

// clusterLoad is what a load has cost.
type clusterLoad struct {
	received int64 // messages, by all clients
	took     time.Duration
	servers  [clusterServers]time.Duration // of CPU
	broker   time.Duration                 // the same
}

// during is plan.during for a cluster.
func (c *cluster) during(p plan, run func(until time.Time) (int64, error)) (l clusterLoad, err error) {
	if _, err := run(time.Now().Add(p.length / 4)); err != nil {
		return l, err
	}
	before, err := c.spent()
	if err != nil {
		return l, err
	}
	began := time.Now()
	l.received, err = run(began.Add(p.length))
	l.took = time.Since(began)
	if err == nil && l.received == 0 {
		err = errors.New("no message was delivered")
	}
	after, cpuErr := c.spent()
	for i := range l.servers {
		l.servers[i] = after[i] - before[i]
	}
	l.broker = after[clusterServers] - before[clusterServers]
	return l, errors.Join(err, cpuErr)
}

// spent is the CPU time of the servers and, last, of the broker.
func (c *cluster) spent() (all [clusterServers + 1]time.Duration, err error) {
	for i, process := range append(slices.Clone(c.nodes), c.broker) {
		var cpuErr error
		all[i], cpuErr = process.cpu()
		err = errors.Join(err, cpuErr)
	}
	return all, err
}

// latency sends one message at a time, and returns how long the first client of the
// first server and that of the second have waited for it.
func (c *cluster) latency(p plan) (here, there, worst time.Duration, err error) {
	one := frame(socketIO.cast(payload(128)), false)
	near, far := c.of(0)[0], c.of(1)[0]
	var hereAll, thereAll []time.Duration
	for end := time.Now().Add(p.length / 2); time.Now().Before(end); {
		began := time.Now()
		if _, err := near.conn.Write(one); err != nil {
			return 0, 0, 0, err
		}
		var both sync.WaitGroup
		var farErr, nearErr error
		var farTook, nearTook time.Duration
		both.Go(func() {
			_, farErr = far.next()
			farTook = time.Since(began)
		})
		both.Go(func() {
			_, nearErr = near.next()
			nearTook = time.Since(began)
		})
		both.Wait()
		if err := errors.Join(farErr, nearErr); err != nil {
			return 0, 0, 0, err
		}
		for _, other := range c.clients { // the others have it, too
			if other != near && other != far {
				if _, err := other.next(); err != nil {
					return 0, 0, 0, err
				}
			}
		}
		hereAll, thereAll = append(hereAll, nearTook), append(thereAll, farTook)
	}
	here, _ = quantiles(hereAll)
	there, worst = quantiles(thereAll)
	return here, there, worst, nil
}
