package cluster

import (
	"slices"
	"sync"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/core"
)

// recent are the last events that came from a Log. Clients that come back are given
// what they have missed from here: when a server dies, hundreds come at once, and the
// broker need not be asked for each.
type recent struct {
	most int // bytes

	mu     sync.Mutex // guards what follows
	on     bool       // since somebody can come back
	events []*Message // without a gap
	bytes  int
}

func (r *recent) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = true
}

// clear forgets everything: there is a gap after it.
func (r *recent) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.bytes = nil, 0
}

// add takes an event before it is delivered.
func (r *recent) add(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return
	}
	r.events = append(r.events, m)
	r.bytes += memory(m)
	for r.bytes > r.most {
		r.bytes -= memory(r.events[0])
		r.events = r.events[1:] // those who are reading have the old one
	}
}

// memory is about what an event takes.
func memory(m *Message) int {
	const overhead = 400
	size := overhead + len(m.Event)
	for _, arg := range m.Args {
		if raw, ok := arg.(codec.Raw); ok {
			size += len(raw.Bytes())
		}
	}
	return size
}

// after calls take with the events after from, in order, and returns up to where they
// go. It reports false if it does not know them all.
func (r *recent) after(from core.Offset, take func(m *Message)) (until core.Offset, ok bool) {
	r.mu.Lock()
	events := r.events // what is appended later does not show
	r.mu.Unlock()
	at, found := slices.BinarySearchFunc(events, from, func(m *Message, from core.Offset) int { return m.Offset.Compare(from) })
	if !found {
		return core.Offset{}, false
	}
	for _, m := range events[at+1:] {
		take(m)
	}
	return events[len(events)-1].Offset, true
}
