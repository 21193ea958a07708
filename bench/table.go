package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// A table is the outcome, in Markdown.
type table struct{ strings.Builder }

func newTable(p plan) *table {
	t := new(table)
	fmt.Fprintf(t, "%s, %d CPUs shared by client and server; medians of %d rounds of %v (least\u2013most).\n\n",
		runtime.Version(), runtime.NumCPU(), p.rounds, p.length)
	t.WriteString("| Load | Upshift, CPU \u00b5s per message | raw gws | ratio | Upshift per s | raw gws per s |\n|---|---|---|---|---|---|\n")
	return t
}

// row adds a load; format is that of its costs.
func (t *table) row(name string, s samples, format string) {
	up, raw := s["upshift"], s["gws"]
	cost := func(s sample) float64 { return s.cost }
	rate := func(s sample) float64 { return s.rate }
	figure := func(samples []sample) string {
		by := func(a, b sample) int { return cmp.Compare(a.cost, b.cost) }
		return fmt.Sprintf(format+" ("+format+"\u2013"+format+")", median(samples, cost),
			slices.MinFunc(samples, by).cost, slices.MaxFunc(samples, by).cost)
	}
	fmt.Fprintf(t, "| %s | %s | %s | **%.2f** | %.0f | %.0f |\n", name, figure(up), figure(raw),
		median(up, cost)/median(raw, cost), median(up, rate), median(raw, rate))
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
