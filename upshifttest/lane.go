package upshifttest

import (
	"sync"
	"time"

	"github.com/upshift-go/upshift/transports"
)

// A lane is one direction of the network. Packets arrive in the order in which
// they were sent, each not before it is due.
type lane struct {
	pushed chan struct{} // has an element when there may be packets

	mu      sync.Mutex // guards what follows
	packets []travelling
	latest  time.Time // when the last one is due
}

type travelling struct {
	packet transports.Packet
	due    time.Time
}

func newLane() *lane { return &lane{pushed: make(chan struct{}, 1)} }

// push sends packets, with no others in between.
func (l *lane) push(delay time.Duration, packets ...transports.Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if due := time.Now().Add(delay); due.After(l.latest) {
		l.latest = due // a shorter delay does not let packets overtake others
	}
	for _, p := range packets {
		l.packets = append(l.packets, travelling{p, l.latest})
	}
	select {
	case l.pushed <- struct{}{}:
	default:
	}
}

func (l *lane) pop() (t travelling, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.packets) == 0 {
		return travelling{}, false
	}
	t = l.packets[0]
	l.packets = l.packets[1:]
	return t, true
}

// run delivers packets until there is no more network, or deliver says so.
func (l *lane) run(over <-chan struct{}, deliver func(transports.Packet) bool) {
	for {
		t, ok := l.pop()
		if !ok {
			select {
			case <-l.pushed:
				continue
			case <-over:
				return
			}
		}
		if wait := time.Until(t.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-over:
				return
			}
		}
		select {
		case <-over:
			return
		default:
		}
		if !deliver(t.packet) {
			return
		}
	}
}
