package main

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// broadcast keeps window broadcasts in flight, from the first connection to
// all of them, itself too. Of the clients so many are dead: they read nothing
// at all, and are not counted.
func broadcast(clients, dead, window int) func(plan, *child) (sample, error) {
	return func(p plan, server *child) (s sample, err error) {
		all, err := connect(server, clients, 4096)
		if err != nil {
			return s, err
		}
		defer hangUp(all)
		d := dialectOf(server.name)
		one := frame(d.cast(payload(128)), d.binary)
		live := all[:clients-dead]
		return p.during(server, func(until time.Time) (int64, error) {
			t := &tally{clients: live, fanout: int64(len(live)), until: until}
			t.senders.Store(1)
			return each(live, until, func(i int, c *client) (int64, error) {
				if i > 0 {
					return t.listen(c)
				}
				return t.send(c, c, one, nil, window)
			})
		})
	}
}

// publish sends to as many rooms as there are clients. Each client is in ten,
// and keeps one event in flight to one of them.
func publish(clients int) func(plan, *child) (sample, error) {
	const members = 10
	return func(p plan, server *child) (s sample, err error) {
		all, err := connect(server, clients, 4096)
		if err != nil {
			return s, err
		}
		defer hangUp(all)
		d := dialectOf(server.name)
		requests, names := make([][]byte, clients), make([][]byte, clients)
		err = inParallel(8, clients, func(i int) error {
			rooms := make([]string, members)
			for k := range rooms {
				rooms[k] = roomName((i + k) % clients)
			}
			requests[i] = frame(d.room(rooms[0], payload(64)), d.binary)
			names[i] = []byte(`"` + rooms[0] + `"`)
			return d.join(all[i], rooms)
		})
		if err != nil {
			return s, err
		}
		return p.during(server, func(until time.Time) (int64, error) {
			t := &tally{clients: all, fanout: members, until: until}
			t.senders.Store(int64(clients))
			return each(all, until, func(i int, c *client) (int64, error) {
				return t.send(c, c, requests[i], names[i], 1)
			})
		})
	}
}

// A tally knows when everything has arrived that was sent.
type tally struct {
	clients []*client
	fanout  int64 // how many receive one message
	until   time.Time

	senders   atomic.Int64 // that have not stopped
	sent, got atomic.Int64
	over      atomic.Bool
	once      sync.Once
}

// settle ends everybody's reading when nothing more can come.
func (t *tally) settle() {
	if t.senders.Load() > 0 || t.got.Load() != t.sent.Load()*t.fanout {
		return
	}
	t.once.Do(func() {
		t.over.Store(true)
		for _, c := range t.clients {
			_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // fails only if the connection has, which shows
		}
	})
}

// ended returns err, unless it is how reading ends.
func (t *tally) ended(err error) error {
	if t.over.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// listen counts what comes.
func (t *tally) listen(c *client) (n int64, err error) {
	for {
		got, _, err := c.burst(nil)
		n += got
		if err != nil {
			return n, t.ended(err)
		}
		t.got.Add(got)
		t.settle()
	}
}

// send keeps window requests in flight until the deadline, on the connection of
// from, and counts what comes to c. The messages that own is a part of are those
// it has caused.
func (t *tally) send(c, from *client, request, own []byte, window int) (n int64, err error) {
	requests := bytes.Repeat(request, window)
	t.sent.Add(int64(window))
	if _, err := from.conn.Write(requests); err != nil {
		return 0, err
	}
	for inFlight := int64(window); ; {
		got, mine, err := c.burst(own)
		n += got
		if err != nil {
			return n, t.ended(err)
		}
		if mine > 0 && time.Now().Before(t.until) {
			t.sent.Add(mine)
			if _, err := from.conn.Write(requests[:mine*int64(len(request))]); err != nil {
				return n, err
			}
		} else if inFlight -= mine; mine > 0 && inFlight == 0 {
			t.senders.Add(-1)
		}
		t.got.Add(got)
		t.settle()
	}
}

// burst takes messages, one at least and as many as have come. own are those
// that the bytes are a part of.
func (c *client) burst(own []byte) (got, mine int64, err error) {
	for first := true; first || c.buffered(); first = false {
		message, err := c.next()
		if err != nil {
			return got, mine, err
		}
		got++
		if bytes.Contains(message, own) {
			mine++
		}
	}
	return got, mine, nil
}
