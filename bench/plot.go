package main

import (
	"fmt"
	"math"
	"strings"
)

// colours of the servers, to be told apart by everybody.
var colours = map[string]string{
	"Upshift": "#0072b2", "raw gws": "#7f7f7f", "Node": "#d55e00", "centrifuge": "#e69f00", "limit": "#009e73",
}

// plot draws what each server spends, in a unit, as a multiple of raw gws, on a
// logarithmic scale, as an SVG.
func (r *report) plot(unit, title string) string {
	const (
		width, label, right = 900, 300, 70
		bar, gap            = 11, 9
		least, most         = 0.1, 20.0
	)
	x := func(ratio float64) float64 {
		ratio = min(max(ratio, least), most)
		return label + (width-label-right)*math.Log(ratio/least)/math.Log(most/least)
	}
	var b strings.Builder
	y := 60
	for _, one := range r.results {
		base := one.samples["gws"]
		if one.load.unit != unit || len(base) == 0 || len(one.samples[one.load.servers[0]]) == 0 {
			continue
		}
		top := y
		for _, name := range append(one.load.servers[:1:1], others...) {
			s := one.samples[name]
			if len(s) == 0 || name == "gws" {
				continue
			}
			ratio := median(s, cost) / median(base, cost)
			from, to := min(x(1), x(ratio)), max(x(1), x(ratio))
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", from, y, max(to-from, 1), bar, colours[names[name]])
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" font-size="10">%.2f %s</text>`+"\n", to+4, y+bar-1, ratio, names[name])
			y += bar + 2
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="12" text-anchor="end">%s</text>`+"\n", label-12, (top+y)/2+3, one.load.name)
		y += gap
	}
	var axis strings.Builder
	for _, tick := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 20} {
		stroke := "#dddddd"
		if tick == 1 {
			stroke = "#333333"
		}
		fmt.Fprintf(&axis, `<line x1="%.1f" y1="45" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", x(tick), x(tick), y, stroke)
		fmt.Fprintf(&axis, `<text x="%.1f" y="40" font-size="11" text-anchor="middle">%g</text>`+"\n", x(tick), tick)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" fill="#222222">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="12" y="20" font-size="14">%s, raw gws = 1 (less is better, logarithmic)</text>
%s%s</svg>
`, width, y+10, title, axis.String(), b.String())
}
