package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A plan is how much to measure.
type plan struct {
	rounds  int
	length  time.Duration // of one round of one load, after a warm-up of a quarter
	idle    int           // sessions whose memory is measured; 0 leaves it out
	only    string        // a part of the names of the loads to run
	profile string        // file for the CPU profile of the last Upshift server
}

// A sample is one round of one load on one server.
type sample struct {
	cost float64 // CPU microseconds per message, or bytes per session
	rate float64 // messages, or connects, per second
}

// samples are the rounds of one load, by server. The servers take turns.
type samples map[string][]sample

// run runs every load of the plan and returns a table in Markdown.
func (p plan) run() (string, error) {
	t := newTable(p)
	for _, l := range loads() {
		if !strings.Contains(l.name, p.only) {
			continue
		}
		s, err := p.take(l.name, func(name string) (sample, error) { return p.measure(name, l) })
		if err != nil {
			return "", err
		}
		t.row(l.name, s, "%.2f")
	}
	if p.idle > 0 {
		s, err := p.take("idle", p.measureIdle)
		if err != nil {
			return "", err
		}
		t.row(fmt.Sprintf("idle, %d sessions: resident bytes for each, connects per s", p.idle), s, "%.0f")
	}
	return t.String(), nil
}

// take lets the servers take turns, each round in a fresh process.
func (p plan) take(load string, measure func(server string) (sample, error)) (samples, error) {
	taken := make(samples)
	for range p.rounds {
		for _, name := range []string{"upshift", "gws"} {
			s, err := measure(name)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", load, name, err)
			}
			taken[name] = append(taken[name], s)
		}
	}
	return taken, nil
}

func (p plan) start(name string) (*child, error) {
	if name != "upshift" {
		return start(name, "")
	}
	return start(name, p.profile)
}

// measure runs one load on one server.
func (p plan) measure(name string, l load) (s sample, err error) {
	server, err := p.start(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	clients, err := connect(server.addr, l.clients)
	if err != nil {
		return s, err
	}
	defer hangUp(clients)
	if _, err := joined(clients, time.Now()); err != nil {
		return s, err
	}
	if _, err := l.run(clients, time.Now().Add(p.length/4)); err != nil { // warm up
		return s, err
	}
	before, err := server.cpu()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	n, err := l.run(clients, begin.Add(p.length))
	if err != nil {
		return s, err
	}
	took := time.Since(begin)
	after, err := server.cpu()
	if n == 0 {
		return s, errors.Join(err, errors.New("no message was delivered"))
	}
	s.cost = float64((after - before).Microseconds()) / float64(n)
	s.rate = float64(n) / took.Seconds()
	return s, err
}

// measureIdle opens sessions that then do nothing, on one server.
func (p plan) measureIdle(name string) (s sample, err error) {
	server, err := p.start(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	before, err := server.resident()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	clients, err := connect(server.addr, p.idle)
	if err != nil {
		return s, err
	}
	defer hangUp(clients)
	s.rate = float64(p.idle) / time.Since(begin).Seconds()
	time.Sleep(p.length) // let it settle
	after, err := server.resident()
	s.cost = float64(after-before) / float64(p.idle)
	return s, err
}
