package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Adapters under which a server need not read what is for rooms without members there,
// after those under which it does.
var roomClusters = []string{"upshift-redis", "node-classic", "upshift-sharded", "node-sharded", "upshift-nats"}

const (
	clusterRooms  = 1000
	roomsOfClient = clusterRooms / clusterClients
)

// roomsResult is what one kind has shown. The costs are µs of CPU of one server for
// each message.
type roomsResult struct {
	rate                      float64
	sending, members, without float64
}

// roomsTable is the table of measureRooms.
func roomsTable(names []string, rounds map[string][]roomsResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| Three servers, %d rooms with members on two of them | messages/s | CPU of the sending server per message | of that with the other members | of that without |\n|---|---|---|---|---|\n", clusterRooms)
	for _, name := range names {
		r := middle(rounds[name], func(r roomsResult) float64 { return r.rate })
		fmt.Fprintf(&b, "| %s | %.0f | %.2f µs | %.2f µs | **%.2f µs** |\n", name, r.rate, r.sending, r.members, r.without)
	}
	return b.String()
}

// measureRooms has the clients of one server send to rooms with members there and on a
// second server, and none on the third: as much as those of the second take.
func (p plan) measureRooms(name string, broker *child) (r roomsResult, err error) {
	c, err := startCluster(name, broker)
	if err != nil {
		return r, err
	}
	defer func() { err = joinStop(err, c) }()
	requests := make([][][]byte, clusterClients) // of each sender
	for i := range clusterClients {
		rooms := make([]string, roomsOfClient)
		for k := range rooms {
			rooms[k] = roomName(i*roomsOfClient + k)
			requests[i] = append(requests[i], frame(socketIO.room(rooms[k], payload(128)), false))
		}
		for server := range 2 {
			if err := socketIO.join(c.of(server)[i], rooms); err != nil {
				return r, err
			}
		}
		if err := reach(c.of(0)[i], c.of(1)[i], rooms); err != nil {
			return r, err
		}
	}
	active := c.clients[:2*clusterClients]
	run := func(until time.Time) (int64, error) {
		t := &tally{clients: active, fanout: 2, until: until}
		t.senders.Store(clusterClients)
		return each(active, until, func(i int, client *client) (int64, error) {
			if i < clusterClients {
				return t.listen(client)
			}
			return t.sendInTurn(client, active[i-clusterClients], requests[i-clusterClients], 8)
		})
	}
	l, err := c.during(p, run)
	if err != nil {
		return r, err
	}
	messages := float64(l.received) / 2
	r.rate = messages / l.took.Seconds()
	for i, cost := range []*float64{&r.sending, &r.members, &r.without} {
		*cost = float64(l.servers[i].Microseconds()) / messages
	}
	return r, nil
}

// reach waits until what from sends to each of the rooms comes to a client of another
// server: that hears a room a moment after a client has joined it. Both are in the
// rooms, in each of which messages keep their order: when they have all of the last
// round, no other is on its way.
func reach(from, to *client, rooms []string) error {
	for end, round := time.Now().Add(patience), 0; ; round++ {
		text := fmt.Sprintf(`{"text":"%d"}`, round)
		for _, room := range rooms {
			if err := from.send(socketIO.room(room, text)); err != nil {
				return err
			}
		}
		if err := from.hear(len(rooms), text, patience); err != nil {
			return err
		}
		err := to.hear(len(rooms), text, time.Second)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			return err
		}
	}
}

// hear waits for so many messages with a text, and drops others.
func (c *client) hear(n int, text string, atMost time.Duration) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(atMost)); err != nil {
		return err
	}
	for n > 0 {
		message, err := c.next()
		if err != nil {
			return err
		}
		if bytes.Contains(message, []byte(text)) {
			n--
		}
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// sendInTurn keeps window of the requests in flight, one after the other, until the
// deadline, on the connection of from, and counts what comes to c, all of which it has
// caused.
func (t *tally) sendInTurn(c, from *client, requests [][]byte, window int) (n int64, err error) {
	at := 0
	send := func(count int) error {
		t.sent.Add(int64(count))
		burst := make([]byte, 0, count*len(requests[0]))
		for range count {
			burst = append(burst, requests[at]...)
			at = (at + 1) % len(requests)
		}
		_, err := from.conn.Write(burst)
		return err
	}
	if err := send(window); err != nil {
		return 0, err
	}
	for inFlight := window; ; {
		got, _, err := c.burst(nil)
		n += got
		if err != nil {
			return n, t.ended(err)
		}
		if time.Now().Before(t.until) {
			if err := send(int(got)); err != nil {
				return n, err
			}
		} else if inFlight -= int(got); inFlight == 0 {
			t.senders.Add(-1)
		}
		t.got.Add(got)
		t.settle()
	}
}

// middle returns the element in the middle, by what of says.
func middle[T any](all []T, of func(T) float64) T {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(of(a), of(b)) })
	return sorted[len(sorted)/2]
}
