package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is the outcome of a plan.
type report struct {
	plan    plan
	results []result
}

// names are what the tables call the servers.
var names = map[string]string{
	"upshift": "Upshift", "upshift-msgpack": "Upshift", "upshift-recovery": "Upshift",
	"gws": "raw gws", "gws-http": "raw gws", "limit": "limit", "node": "Node", "centrifuge": "centrifuge",
}

// others are the columns beside Upshift's.
var others = []string{"gws", "node", "centrifuge", "limit"}

// table is the report in Markdown.
func (r *report) table() string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s, %d CPUs shared by client and server; medians of %d rounds of %v (least\u2013most).\n",
		runtime.Version(), runtime.NumCPU(), r.plan.rounds, r.plan.length)
	r.section(&t, "µs", "Server CPU, µs per message, and Upshift's as a multiple of each", "%.2f")
	r.section(&t, "B", "Resident memory, bytes for each session, and Upshift's as a multiple of each", "%.0f")
	r.rates(&t)
	r.latencies(&t)
	return t.String()
}

// of returns what the server in the column of name has to show.
func (r *result) of(name string) []sample {
	for _, server := range r.load.servers {
		if names[server] == names[name] {
			return r.samples[server]
		}
	}
	return nil
}

// section is a table of costs of one unit.
func (r *report) section(t *strings.Builder, unit, title, format string) {
	results := slices.DeleteFunc(slices.Clone(r.results), func(one result) bool { return one.load.unit != unit })
	if len(results) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s:\n\n| Load | Upshift |", title)
	for _, name := range others {
		fmt.Fprintf(t, " %s | \u00f7 |", names[name])
	}
	t.WriteString("\n|---|---|" + strings.Repeat("---|---|", len(others)) + "\n")
	for _, one := range results {
		ours := one.samples[one.load.servers[0]]
		fmt.Fprintf(t, "| %s | %s |", one.load.name, figure(ours, format))
		for _, name := range others {
			theirs := one.of(name)
			if len(theirs) == 0 || len(ours) == 0 {
				t.WriteString(" | |")
				continue
			}
			fmt.Fprintf(t, " %s | **%.2f** |", figure(theirs, format), median(ours, cost)/median(theirs, cost))
		}
		t.WriteString("\n")
	}
}

// rates are messages per second, with what the client costs.
func (r *report) rates(t *strings.Builder) {
	t.WriteString("\nMessages, or sessions opened, per second, client and server together:\n\n| Load | Upshift |")
	for _, name := range others {
		fmt.Fprintf(t, " %s |", names[name])
	}
	t.WriteString("\n|---|---|" + strings.Repeat("---|", len(others)) + "\n")
	for _, one := range r.results {
		fmt.Fprintf(t, "| %s |", one.load.name)
		for _, name := range append(one.load.servers[:1:1], others...) {
			if s := one.of(name); len(s) > 0 {
				fmt.Fprintf(t, " %.0f |", median(s, func(s sample) float64 { return s.rate }))
			} else {
				t.WriteString(" |")
			}
		}
		t.WriteString("\n")
	}
}

// latencies are those of loads with one message in flight, and how often idle
// servers wake up.
func (r *report) latencies(t *strings.Builder) {
	duration := func(of func(sample) time.Duration) func([]sample) string {
		return func(s []sample) string {
			d := time.Duration(median(s, func(s sample) float64 { return float64(of(s)) }))
			return d.Round(10 * time.Microsecond).String()
		}
	}
	p50 := func(s sample) time.Duration { return s.p50 }
	p99 := func(s sample) time.Duration { return s.p99 }
	for _, section := range []struct {
		title string
		has   func(sample) bool
		show  func([]sample) string
	}{
		{"Half of the answers come within", func(s sample) bool { return s.p50 > 0 }, duration(p50)},
		{"99 of 100 answers come within", func(s sample) bool { return s.p99 > 0 }, duration(p99)},
		{"Wake-ups of threads per second while idle", func(s sample) bool { return s.wakes > 0 }, func(s []sample) string {
			return fmt.Sprintf("%.0f", median(s, func(s sample) float64 { return s.wakes }))
		}},
	} {
		columns := make([]string, len(others))
		for i, name := range others {
			columns[i] = names[name]
		}
		head := fmt.Sprintf("\n%s:\n\n| Load | Upshift | %s |\n|---|---|%s\n",
			section.title, strings.Join(columns, " | "), strings.Repeat("---|", len(others)))
		for _, one := range r.results {
			ours := one.samples[one.load.servers[0]]
			if len(ours) == 0 || !section.has(ours[0]) {
				continue
			}
			t.WriteString(head)
			head = ""
			fmt.Fprintf(t, "| %s |", one.load.name)
			for _, name := range append(one.load.servers[:1:1], others...) {
				if s := one.samples[name]; len(s) > 0 {
					fmt.Fprintf(t, " %s |", section.show(s))
				} else {
					t.WriteString(" |")
				}
			}
			t.WriteString("\n")
		}
	}
}

func cost(s sample) float64 { return s.cost }

// figure is a median, with the least and the most.
func figure(samples []sample, format string) string {
	if len(samples) == 0 {
		return ""
	}
	text := fmt.Sprintf(format, median(samples, cost))
	if len(samples) > 1 {
		by := func(a, b sample) int { return cmp.Compare(a.cost, b.cost) }
		text += fmt.Sprintf(" ("+format+"\u2013"+format+")", slices.MinFunc(samples, by).cost, slices.MaxFunc(samples, by).cost)
	}
	return text
}

// median is exact for an odd number of samples.
func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
