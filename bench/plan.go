package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A plan is how much to measure.
type plan struct {
	quick    bool
	rounds   int
	length   time.Duration // of one round of one load, after a warm-up of a quarter
	only     string        // a part of the names of the loads to run
	servers  []string      // to run; empty means all
	profile  string        // file for the CPU profile of the last Upshift server
	progress io.Writer
}

// A sample is one round of one load on one server.
type sample struct {
	cost     float64 // CPU microseconds per message, or bytes per session
	rate     float64 // messages, or sessions opened, per second
	p50, p99 time.Duration
	wakes    float64 // of threads, per second, while nothing happens
}

// A result is all rounds of one load, by server.
type result struct {
	load    load
	samples map[string][]sample
}

// run runs every load of the plan. The servers of a load take turns.
func (p plan) run() (*report, error) {
	r := &report{plan: p}
	for _, l := range loads() {
		if !strings.Contains(l.name, p.only) || p.quick && !l.quick {
			continue
		}
		taken := result{load: l, samples: make(map[string][]sample)}
		for round := range p.rounds {
			for _, name := range l.servers {
				if len(p.servers) > 0 && !slices.Contains(p.servers, name) {
					continue
				}
				p.say("%s: %s, round %d", l.name, name, round+1)
				s, err := p.measure(name, l)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", l.name, name, err)
				}
				taken.samples[name] = append(taken.samples[name], s)
			}
		}
		r.results = append(r.results, taken)
	}
	return r, nil
}

// say tells how far it has come.
func (p plan) say(format string, args ...any) {
	if p.progress != nil {
		_, _ = fmt.Fprintf(p.progress, format+"\n", args...)
	}
}

// measure runs one load on one server, a fresh process.
func (p plan) measure(name string, l load) (s sample, err error) {
	profile := ""
	if strings.HasPrefix(name, "upshift") {
		profile = p.profile
	}
	server, err := start(name, profile)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	return l.measure(p, server)
}

// during measures what a server spends on what run does, once to warm up and
// once in earnest. run ends a little after the deadline and returns how many
// messages it was.
func (p plan) during(server *child, run func(until time.Time) (messages int64, err error)) (s sample, err error) {
	if _, err := run(time.Now().Add(p.length / 4)); err != nil {
		return s, err
	}
	before, err := server.cpu()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	n, err := run(begin.Add(p.length))
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
