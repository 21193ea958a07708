package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// exchange keeps window requests in flight on every connection, each of which
// is answered with one message.
func exchange(clients, size, window int, request func(d dialect) func(payload string) string) func(plan, *child) (sample, error) {
	return func(p plan, server *child) (s sample, err error) {
		all, err := connect(server, clients, 2*size+4096)
		if err != nil {
			return s, err
		}
		defer hangUp(all)
		text := payload(size)
		one := frame(request(dialectOf(server.name))(text), dialectOf(server.name).binary)
		want, err := answerTo(all, one, text)
		if err != nil {
			return s, err
		}
		delays := make([][]time.Duration, clients)
		s, err = p.during(server, func(until time.Time) (int64, error) {
			return each(all, until, func(i int, c *client) (int64, error) {
				delays[i] = delays[i][:0]
				return c.exchange(one, want, window, until, &delays[i])
			})
		})
		if window == 1 {
			s.p50, s.p99 = quantiles(slices.Concat(delays...))
		}
		return s, err
	}
}

// answerTo sends one request on every connection and returns the answer, which
// all share, and which has the payload in it.
func answerTo(clients []*client, request []byte, payload string) (want []byte, err error) {
	for _, c := range clients {
		if _, err := c.conn.Write(request); err != nil {
			return nil, err
		}
	}
	text := strings.TrimSuffix(strings.TrimPrefix(payload, `{"text":"`), `"}`)
	for _, c := range clients {
		got, err := c.next()
		if err != nil {
			return nil, err
		}
		if want == nil {
			want = bytes.Clone(got)
		}
		if !bytes.Equal(got, want) || !bytes.Contains(got, []byte(text)) {
			return nil, fmt.Errorf("%.80q is no answer", got)
		}
	}
	return want, nil
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
// deadline; then it takes the answers that are still to come. With a window of
// one it notes how long each answer took.
func (c *client) exchange(one, want []byte, window int, until time.Time, delays *[]time.Duration) (n int64, err error) {
	burst := bytes.Repeat(one, window)
	sent := time.Now()
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
				return n, fmt.Errorf("%.80q came, not %.80q", text, want)
			}
			answered++
			n++
		}
		now := time.Now()
		if window == 1 {
			*delays = append(*delays, now.Sub(sent))
			sent = now
		}
		if !now.Before(until) {
			inFlight -= answered
			continue
		}
		if _, err := c.conn.Write(burst[:answered*len(one)]); err != nil {
			return n, err
		}
	}
	return n, nil
}

func quantiles(delays []time.Duration) (p50, p99 time.Duration) {
	if len(delays) == 0 {
		return 0, 0
	}
	slices.Sort(delays)
	return delays[len(delays)/2], delays[len(delays)*99/100]
}
