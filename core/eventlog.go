package core

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// An eventLog keeps the events of one namespace for clients that may come back.
// They are numbered from 1 on, without gaps. It is guarded by recovery.mu.
type eventLog struct {
	epoch string // tells this log from others, such as that of an earlier process
	last  uint64 // the number of the newest event, kept or not

	entries []entry // the newest is number last
	holds   []hold  // what is kept longer, both of its numbers ascending
	began   time.Time
	life    time.Duration
	budget  *atomic.Int64 // what all namespaces of the server keep
}

// An entry is an event as it was sent, and to whom.
type entry struct {
	packets    []transports.Packet
	self       string // a socket's id, or empty
	in, except []string
	key        string // of Latest
	size       int64
	at         time.Duration // since began
}

// A hold keeps what came after an event, until then since began.
type hold struct {
	after uint64
	until time.Duration
}

// An offset tells a client's place in the log, to the client and back: it is
// the last argument of each event. It has a fixed length, so that an event can
// be encoded, by any codec and with no lock held, before it is known which
// number it gets: offsetBlank stands in the offset's place until then.
const (
	epochLen  = 3
	numberLen = 7
	offsetLen = epochLen + numberLen
)

// offsetBlank is random, so that nobody can pass it off as an argument of an
// event.
var offsetBlank = randomText(offsetLen)

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func newEventLog(srv *Server) eventLog {
	o := &srv.options
	return eventLog{
		epoch:  randomText(epochLen),
		began:  time.Now(),
		life:   o.Recovery.Window + o.PingInterval + o.PingTimeout,
		budget: &srv.recoveryBytes,
	}
}

const numberDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-"

// stamp writes the offset of the next event into its packets. A volatile one gets
// that of the last event instead: it takes no part in recovery, but clients
// take the last text they see for an offset, and shall not be misled.
func (l *eventLog) stamp(packets []transports.Packet, volatile bool) {
	at := findBlank(packets)
	if at == nil {
		return
	}
	n := l.last
	if !volatile {
		n++
	}
	l.write(at, n)
}

// findBlank returns where in the packets the offset goes.
func findBlank(packets []transports.Packet) []byte {
	for _, p := range packets { // attachments, which may be large, come last
		if at := bytes.LastIndex(p.Data, []byte(offsetBlank)); at >= 0 {
			return p.Data[at : at+offsetLen]
		}
	}
	return nil
}

func (l *eventLog) write(at []byte, n uint64) {
	copy(at, l.epoch)
	for i := offsetLen - 1; i >= epochLen; i-- {
		at[i] = numberDigits[n%64]
		n /= 64
	}
}

// checkOffsets makes sure that the codec leaves offsets where they can be
// written.
func (srv *Server) checkOffsets() error {
	packets, err := srv.encode(codec.Packet{Type: codec.Event, Event: "event", Args: []any{offsetBlank}})
	if err != nil {
		return err
	}
	defer packets.release()
	if findBlank(packets.list) == nil {
		return errors.New("core: recovery needs a codec that writes text as it is, which " +
			srv.options.Codec.Name() + " does not")
	}
	return nil
}

// parse returns the number in an offset. No offset is that of a client that
// has seen nothing, and so is that of another log: official clients keep it when
// they start afresh, as after a restart, until they are sent something.
func (l *eventLog) parse(offset string) (n uint64, ok bool) {
	if offset == "" {
		return 0, true
	}
	if len(offset) != offsetLen {
		return 0, false
	}
	if offset[:epochLen] != l.epoch {
		return 0, true
	}
	for i := epochLen; i < offsetLen; i++ {
		digit := bytes.IndexByte([]byte(numberDigits), offset[i])
		if digit < 0 {
			return 0, false
		}
		n = n*64 + uint64(digit)
	}
	return n, n <= l.last
}

// append keeps the event that was stamped last.
func (l *eventLog) append(t *Target, packets []transports.Packet) {
	l.last++
	e := entry{
		packets: slices.Clone(packets), in: t.in, except: t.except, key: t.delivery.Key,
		at: time.Since(l.began),
	}
	if t.self != nil {
		e.self = t.self.id
	}
	for i := range e.packets {
		e.packets[i].Shared = nil // nor what transports have made of them
	}
	e.size = e.count()
	l.entries = append(l.entries, e)
	l.budget.Add(e.size)
	l.prune()
}

// count is about what an entry costs in memory.
func (e *entry) count() int64 {
	const overhead, perPacket, perRoom = 128, 48, 16
	size := overhead + perPacket*len(e.packets) + perRoom*(len(e.in)+len(e.except)) + len(e.key)
	for _, p := range e.packets {
		size += len(p.Data)
	}
	for _, room := range e.in {
		size += len(room)
	}
	for _, room := range e.except {
		size += len(room)
	}
	return int64(size)
}

// drop drops the n oldest events.
func (l *eventLog) drop(n int) {
	for i := range n {
		l.budget.Add(-l.entries[i].size)
		l.entries[i] = entry{}
	}
	l.entries = l.entries[n:]
}

// hold keeps what came after event n for as long as if it had been sent now, as it is
// to a client that comes back: it may be lost again before it gets it.
func (l *eventLog) hold(n uint64) {
	l.holds = slices.DeleteFunc(l.holds, func(h hold) bool { return h.after >= n }) // they end earlier
	l.holds = append(l.holds, hold{after: n, until: time.Since(l.began) + l.life})
}

// prune drops the events that nobody needs any more.
func (l *eventLog) prune() {
	now := time.Since(l.began)
	for len(l.holds) > 0 && l.holds[0].until < now {
		l.holds = l.holds[1:]
	}
	droppable := len(l.entries)
	if gone := l.last - uint64(len(l.entries)); len(l.holds) > 0 {
		droppable = int(max(l.holds[0].after, gone) - gone) //nolint:gosec // no more than there are entries
	}
	n := 0
	for n < droppable && l.entries[n].at < now-l.life {
		n++
	}
	l.drop(n)
	if len(l.entries) == 0 {
		l.entries = nil
	}
}

// oldest is when the oldest event was kept. There is one.
func (l *eventLog) oldest() time.Time { return l.began.Add(l.entries[0].at) }

func (l *eventLog) empty() bool { return len(l.entries) == 0 }

func (l *eventLog) clear() {
	l.drop(len(l.entries))
	l.entries, l.holds = nil, nil
}

// reaches reports whether every event after number n is kept.
func (l *eventLog) reaches(n uint64) bool { return n+uint64(len(l.entries)) >= l.last }

// missed returns the packets of the events that a client has missed, in order.
// Of events of which only the latest matters it is the latest. last is the number
// of the last of them, or 0.
func (l *eventLog) missed(st *state) (packets []transports.Packet, last uint64) {
	entries := l.entries[len(l.entries)-int(l.last-st.from):] //nolint:gosec // reaches(st.from) is true
	latest := make(map[string]int)
	for i := range entries {
		if key := entries[i].key; key != "" && entries[i].matches(st) {
			latest[key] = i
		}
	}
	for i := range entries {
		e := &entries[i]
		if e.key != "" && latest[e.key] != i || !e.matches(st) {
			continue
		}
		packets = append(packets, e.packets...)
		last = st.from + uint64(i) + 1
	}
	return packets, last
}

// matches reports whether an event was for a client.
func (e *entry) matches(st *state) bool {
	in := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool { return slices.Contains(st.rooms, room) })
	}
	switch {
	case in(e.except):
		return false
	case e.self != "" && e.self == st.id:
		return true
	case len(e.in) == 0:
		return e.self == ""
	default:
		return in(e.in)
	}
}
