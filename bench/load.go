package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A load is something to do to a server for a while.
type load struct {
	name    string
	clients int
	// run sends until the deadline, waits for every answer, and returns how
	// many messages the server delivered. One that is lost, or is not what it
	// should be, is an error.
	run func(clients []*client, until time.Time) (messages int64, err error)
}

func loads() []load {
	small, large := payload(64), payload(128)
	echo, ack, cast := `42["echo",`+small+`]`, `421["ack",`+small+`]`, `42["cast",`+large+`]`
	answer := `431[` + small + `]`
	return []load{
		{"echo, 1 in flight", 100, exchange(echo, echo, 1)},
		{"echo, 16 in flight", 100, exchange(echo, echo, 16)},
		{"ack, 1 in flight", 100, exchange(ack, answer, 1)},
		{"ack, 16 in flight", 100, exchange(ack, answer, 16)},
		{"broadcast to 1,000, 1 in flight", 1000, broadcast(cast, 1)},
		{"broadcast to 1,000, 8 in flight", 1000, broadcast(cast, 8)},
	}
}

// joined is one acknowledged event on every connection. Upshift joins the room
// after it has answered CONNECT and before it handles events, so an answer
// means that a broadcast reaches the client.
var joined = exchange(`421["ack",{"text":""}]`, `431[{"text":""}]`, 1)

// payload is an object of size bytes.
func payload(size int) string {
	return `{"text":"` + strings.Repeat("x", size-len(`{"text":""}`)) + `"}`
}

// exchange keeps window messages in flight on every connection.
func exchange(text, answer string, window int) func([]*client, time.Time) (int64, error) {
	one, want := frame(text), []byte(answer)
	return func(clients []*client, until time.Time) (int64, error) {
		return each(clients, until, func(_ int, c *client) (int64, error) { return c.exchange(one, want, window, until) })
	}
}

// broadcast keeps window broadcasts in flight, from the first connection to
// all of them, itself too. The last one is another, so that everybody knows
// that nothing follows.
func broadcast(text string, window int) func([]*client, time.Time) (int64, error) {
	const last = `42["cast",{"text":""}]`
	one, want, end := frame(text), []byte(text), frame(last)
	return func(clients []*client, until time.Time) (int64, error) {
		var casts int64 // the sender's; read when all have ended
		deliveries, err := each(clients, until, func(i int, c *client) (n int64, err error) {
			if i > 0 {
				return c.listen(want, []byte(last))
			}
			if casts, err = c.exchange(one, want, window, until); err != nil {
				return casts, err
			}
			if _, err = c.conn.Write(end); err != nil {
				return casts, err
			}
			return casts, c.expect(last)
		})
		if err == nil && deliveries != casts*int64(len(clients)) {
			err = fmt.Errorf("%d of %d deliveries came", deliveries, casts*int64(len(clients)))
		}
		return deliveries, err
	}
}

// each runs do for every client at once, and adds up what they return.
func each(clients []*client, until time.Time, do func(i int, c *client) (int64, error)) (total int64, err error) {
	counts, errs := make([]int64, len(clients)), make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			if errs[i] = c.conn.SetDeadline(until.Add(patience)); errs[i] == nil {
				counts[i], errs[i] = do(i, c)
			}
		})
	}
	wg.Wait()
	for i, n := range counts {
		total += n
		if err == nil && errs[i] != nil { // one is enough to know
			err = fmt.Errorf("client %d, after %d messages: %w", i, n, errs[i])
		}
	}
	return total, err
}

// exchange sends as many frames as have been answered, in one write, until the
// deadline; then it takes the answers that are still to come.
func (c *client) exchange(one, want []byte, window int, until time.Time) (n int64, err error) {
	burst := bytes.Repeat(one, window)
	if _, err := c.conn.Write(burst); err != nil {
		return 0, err
	}
	for inFlight := window; inFlight > 0; {
		answered := 0
		for first := true; first || answered < inFlight && c.buffered(); first = false {
			text, err := c.next()
			if err != nil {
				return n, err
			}
			if !bytes.Equal(text, want) {
				return n, fmt.Errorf("%q came, not %q", text, want)
			}
			answered++
			n++
		}
		if !time.Now().Before(until) {
			inFlight -= answered
			continue
		}
		if _, err := c.conn.Write(burst[:answered*len(one)]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// listen counts what comes, up to the last message.
func (c *client) listen(want, last []byte) (n int64, err error) {
	for {
		text, err := c.next()
		switch {
		case err != nil:
			return n, err
		case bytes.Equal(text, last):
			return n, nil
		case !bytes.Equal(text, want):
			return n, fmt.Errorf("%q came, not %q", text, want)
		}
		n++
	}
}
