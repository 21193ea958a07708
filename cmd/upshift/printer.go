package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

// A line is what is printed about one thing that has happened, as JSON.
type line struct {
	Time      string `json:"time,omitempty"`
	Kind      string `json:"kind"` // event, answer, state or error
	Namespace string `json:"namespace,omitempty"`
	Event     string `json:"event,omitempty"`
	Args      []any  `json:"args,omitempty"`
	State     string `json:"state,omitempty"`
	ID        string `json:"id,omitempty"`
	Transport string `json:"transport,omitempty"`
	Error     string `json:"error,omitempty"`
}

// A printer prints lines: for people if it is on a terminal, as JSON otherwise. It is
// safe for concurrent use.
type printer struct {
	pretty bool
	colour bool

	mu  sync.Mutex // guards out
	out io.Writer
}

// newPrinter prints to out. asJSON is for JSON, whatever out is.
func newPrinter(out io.Writer, asJSON bool) *printer {
	p := &printer{out: out}
	if f, ok := out.(*os.File); ok && !asJSON && term.IsTerminal(int(f.Fd())) {
		p.pretty, p.colour = true, os.Getenv("NO_COLOR") == ""
	}
	return p
}

// What colours mean.
const (
	faint = "\x1b[2m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
	red   = "\x1b[31m"
	amber = "\x1b[33m"
	plain = "\x1b[0m"
)

func (p *printer) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return colour + text + plain
}

func (p *printer) print(l line) {
	if !p.pretty {
		l.Time = time.Now().UTC().Format(time.RFC3339Nano)
		p.write(encode(l, ""))
		return
	}
	where := ""
	if l.Namespace != "" && l.Namespace != "/" {
		where = visible(l.Namespace) + " "
	}
	switch l.Kind {
	case "event":
		p.write(p.paint(faint, time.Now().Format(time.TimeOnly)+" "+where) + p.paint(cyan, visible(l.Event)) + p.values(l.Args))
	case "answer":
		p.write(p.paint(faint, time.Now().Format(time.TimeOnly)+" "+where) + p.paint(green, "answer") + p.values(l.Args))
	case "state":
		text := where + l.State
		if l.ID != "" {
			text += " as " + visible(l.ID)
		}
		if l.Transport != "" {
			text += " over " + l.Transport
		}
		if l.Error != "" {
			text += ": " + visibleLines(l.Error)
		}
		p.write(p.paint(faint, text))
	default:
		p.write(p.paint(red, where+visibleLines(l.Error)))
	}
}

// values are arguments for people: on a line if they are short.
func (p *printer) values(args []any) string {
	const short = 100
	var b strings.Builder
	for _, arg := range args {
		text := encode(arg, "")
		if len(text) > short {
			text = "\n" + encode(arg, "  ")
		}
		b.WriteString(" " + visibleLines(text))
	}
	return b.String()
}

// visible is text of a server for a terminal: with control characters, which a terminal
// obeys, as JSON has them.
func visible(text string) string {
	if !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visibleLines is visible for text that may have several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// mute ends printing.
func (p *printer) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = io.Discard
}

func (p *printer) write(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.out, text)
}
