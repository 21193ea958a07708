package session

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/upshift-go/upshift/transports"
)

var (
	oldest = Delivery{Overflow: DropOldest}
	newest = Delivery{Overflow: DropNewest}
	refuse = Delivery{Overflow: Refuse}
)

func latest(key string) Delivery { return Delivery{Overflow: KeepLatest, Key: key} }

// A parcel is a group of packets with its Delivery.
type parcel struct {
	d    Delivery
	data string // "a+b" is two packets
}

func (p parcel) send(s *Session) error {
	var packets []transports.Packet
	for data := range strings.SplitSeq(p.data, "+") {
		packets = append(packets, text(data))
	}
	return s.Deliver(p.d, packets...)
}

// The outbox of these tests has room for five packets.
func TestOverflow(t *testing.T) {
	must := Delivery{}
	for name, tt := range map[string]struct {
		parcels []parcel
		want    string // what is sent when the client reads again
		err     error  // of the last parcel
		counts  [3]uint64
	}{
		"refuse": {
			parcels: []parcel{{must, "1"}, {refuse, "2"}, {must, "3+4+5"}, {refuse, "6"}},
			want:    "41 42 43 44 45", err: ErrOutboxFull, counts: [3]uint64{0, 0, 1},
		},
		"drop newest": {
			parcels: []parcel{{newest, "1"}, {must, "2+3+4+5"}, {newest, "6"}},
			want:    "41 42 43 44 45", err: ErrDropped, counts: [3]uint64{1, 0, 0},
		},
		"drop oldest": {
			parcels: []parcel{{must, "1"}, {oldest, "2"}, {must, "3"}, {oldest, "4"}, {must, "5"}, {oldest, "6"}},
			want:    "41 43 44 45 46", counts: [3]uint64{1, 0, 0},
		},
		"drop oldest drops whole groups, as many as are needed": {
			parcels: []parcel{{oldest, "1+2"}, {must, "3"}, {oldest, "4"}, {oldest, "5"}, {oldest, "6+7+8"}},
			want:    "43 45 46 47 48", counts: [3]uint64{2, 0, 0},
		},
		"drop oldest spares what must arrive": {
			parcels: []parcel{{must, "1+2+3+4"}, {oldest, "5"}, {oldest, "6+7"}},
			want:    "41 42 43 44", err: ErrDropped, counts: [3]uint64{2, 0, 0},
		},
		"what must arrive drops nothing": {
			parcels: []parcel{{oldest, "1+2+3+4+5"}, {must, "6"}},
			err:     transports.ErrSlowConsumer,
		},
		"keep latest, with room": {
			parcels: []parcel{{latest("a"), "a1"}, {must, "x"}, {latest("b"), "b1"}, {latest("a"), "a2"}},
			want:    "4x 4b1 4a2", counts: [3]uint64{0, 1, 0},
		},
		"keep latest, without room": {
			parcels: []parcel{{must, "1+2"}, {latest("a"), "a1"}, {latest("b"), "b1"}, {must, "3"}, {latest("a"), "a2"}},
			want:    "41 42 4b1 43 4a2", counts: [3]uint64{0, 1, 0},
		},
		"keep latest drops other keys only when it must": {
			parcels: []parcel{{must, "1+2"}, {latest("a"), "a1"}, {latest("b"), "b1"}, {must, "3"}, {latest("c"), "c1"}},
			want:    "41 42 4b1 43 4c1", counts: [3]uint64{1, 0, 0},
		},
		"keep latest many times": {
			parcels: slicesRepeat(parcel{latest("a"), "a"}, 1000),
			want:    "4a", counts: [3]uint64{0, 999, 0},
		},
		"everything dropped": {
			parcels: []parcel{{latest("a"), "a+b+c"}, {latest("a"), "1+2+3+4+5"}, {must, "6"}},
			err:     transports.ErrSlowConsumer, counts: [3]uint64{0, 1, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{MaxOutboxPackets: 5})
			r.sink.Ready() // the open packet goes out, and the client does not come back
			r.expectSent(t, r.conn, "open")
			r.session.mu.Lock()
			r.session.outbox.settle()
			r.session.mu.Unlock()
			for i, p := range tt.parcels {
				err := p.send(r.session)
				if i < len(tt.parcels)-1 && err != nil && !errors.Is(err, ErrDropped) {
					t.Fatalf("parcel %d: %v", i, err)
				}
				if i == len(tt.parcels)-1 && !errors.Is(err, tt.err) {
					t.Errorf("last parcel: %v, want %v", err, tt.err)
				}
			}
			counts := r.manager.Stats()
			if got := [3]uint64{counts.OverflowDropped, counts.Replaced, counts.OutboxRefused}; got != tt.counts {
				t.Errorf("dropped, replaced, refused: %v, want %v", got, tt.counts)
			}
			r.sink.Ready()
			r.expectSent(t, r.conn, tt.want)
			if tt.want != "" {
				r.sink.Ready()
				if got := r.session.outbox.load; got != (load{}) {
					t.Errorf("an empty outbox counts %+v", got)
				}
			}
		})
	}
}

func slicesRepeat(p parcel, n int) []parcel {
	parcels := make([]parcel, n)
	for i := range parcels {
		parcels[i] = p
	}
	return parcels
}

// Against a model: whatever is sent, dropped and fetched, what must arrive
// does, in order, the newest of each key does, and the load adds up.
func TestOverflowModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		r := newRig(t, Options{MaxOutboxPackets: 50})
		r.sink.Ready()
		r.conn.sent()
		r.session.mu.Lock()
		r.session.outbox.settle()
		r.session.mu.Unlock()
		var wantMust, got []string
		newestOf := make(map[string]string)
		for n := range 400 {
			data := strconv.Itoa(n)
			switch key := string(rune('a' + random.IntN(4))); random.IntN(8) {
			case 0:
				if err := r.session.Deliver(refuse, text("m"+data)); err == nil {
					wantMust = append(wantMust, "4m"+data)
				}
			case 1, 2, 3:
				_ = r.session.Deliver(oldest, text("o"+data), text("O"+data))
			case 4, 5, 6:
				if r.session.Deliver(latest(key), text(key+data)) == nil {
					newestOf[key] = "4" + key + data
				}
			case 7:
				if random.IntN(10) == 0 {
					r.sink.Ready()
				}
			}
		}
		r.sink.Ready()
		for packet := range strings.FieldsSeq(strings.ReplaceAll(r.conn.sent(), "|", " ")) {
			got = append(got, packet)
		}
		var must []string
		last := make(map[string]string)
		for i, packet := range got {
			switch kind := packet[1]; kind {
			case 'm':
				must = append(must, packet)
			case 'o':
				if i+1 == len(got) || got[i+1] != "4O"+packet[2:] {
					t.Fatalf("%s is without its other half in %v", packet, got)
				}
			case 'O':
			default:
				last[string(kind)] = packet
			}
		}
		if strings.Join(must, " ") != strings.Join(wantMust, " ") {
			t.Fatalf("arrived %v, want %v", must, wantMust)
		}
		for key, want := range newestOf {
			if last[key] != want && r.manager.Stats().OverflowDropped == 0 {
				t.Fatalf("the last of %s is %s, want %s", key, last[key], want)
			}
		}
		r.sink.Ready()
		if l := r.session.outbox.load; l != (load{}) {
			t.Fatalf("an empty outbox counts %+v", l)
		}
	}
}

// B45, C34: volatile packets are sent now or never.
func TestVolatile(t *testing.T) {
	volatile := Delivery{Volatile: true}
	send := func(t *testing.T, r *rig, d Delivery, packets ...transports.Packet) {
		t.Helper()
		if err := r.session.Deliver(d, packets...); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(t *testing.T, r *rig, packets ...transports.Packet) {
		t.Helper()
		if err := r.session.DeliverLater(volatile, packets...); !errors.Is(err, ErrDropped) {
			t.Fatalf("%v, want ErrDropped", err)
		}
	}
	t.Run("a poll is parked", func(t *testing.T) {
		r := opened(t, Options{})
		send(t, r, volatile, text("a"), text("b"))
		r.expectSent(t, r.conn, "4a 4b")
		drop(t, r, text("c"), text("d")) // the poll is used up
		send(t, r, Delivery{}, text("e"))
		r.sink.Ready()
		r.expectSent(t, r.conn, "4e")
		if got := r.manager.Stats().VolatileDropped; got != 1 {
			t.Errorf("%d dropped, want 1", got)
		}
	})
	t.Run("more waits than is allowed", func(t *testing.T) {
		r := opened(t, Options{MaxVolatileBytes: 200})
		r.session.flusher.running = true // as if it were busy elsewhere
		for range 3 {
			if err := r.session.DeliverLater(volatile, text("x")); err != nil { // 65 bytes each
				t.Fatal(err)
			}
		}
		drop(t, r, text("y"))
		r.session.flusher.run()
		r.expectSent(t, r.conn, "4x 4x 4x")
	})
	t.Run("another goroutine is writing", func(t *testing.T) {
		r := newRig(t, Options{})
		r.conn.streaming = true
		r.sink.Ready()
		r.expectSent(t, r.conn, "open")
		r.session.mu.Lock()
		r.session.outbox.flushing, r.session.link.ready = true, false
		r.session.mu.Unlock()
		send(t, r, volatile, text("x")) // it has been prompt so far
		r.session.mu.Lock()
		r.session.outbox.flushing, r.session.link.ready = false, true
		r.session.mu.Unlock()
		r.session.Flush()
		r.expectSent(t, r.conn, "4x")
	})
	t.Run("the transport is stuck", func(t *testing.T) {
		r := newRig(t, Options{})
		r.conn.streaming = true
		r.sink.Ready()
		r.conn.streaming = false
		send(t, r, Delivery{}, text("fills it"))
		drop(t, r, text("dropped"))
		r.sink.Ready()
		r.expectSent(t, r.conn, "open|4fills it")
	})
}

// Packets that may be dropped survive a change of transports with the others.
func TestOverflowAcrossUpgrade(t *testing.T) {
	r := opened(t, Options{MaxOutboxPackets: 4})
	conn, sink := r.offer(t)
	receive(t, sink, probePacket)
	r.expectSent(t, r.conn, "6")
	for _, p := range []parcel{{latest("a"), "a1"}, {oldest, "o"}, {latest("a"), "a2"}} {
		if err := p.send(r.session); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, sink, upgradePacket)
	r.expectSent(t, conn, "3probe|4o 4a2")
}

// What a retired transport gave back comes first, and what was queued
// meanwhile can still be dropped.
func TestOverflowAfterRestore(t *testing.T) {
	var o outbox
	o.push(text("1"), text("2"))
	sent := o.take()
	d, packets := latest("a"), []transports.Packet{text("a1")}
	o.push(text("3"))
	o.pushGroup(&d, packets, loadOf(packets))
	o.push(text("4"))
	o.restore(sent)
	if !o.dropKey("a") {
		t.Fatal("nothing to drop")
	}
	if got := show(o.take().packets); got != "41 42 43 44" {
		t.Errorf("sent %q", got)
	}
}

// A client that was too slow for one message does not get a later one that is
// smaller: nobody could tell what is missing.
func TestNothingFollowsWhatHadNoRoom(t *testing.T) {
	r := opened(t, Options{MaxOutboxBytes: 1000})
	if err := r.session.Queue(Delivery{}, text(strings.Repeat("x", 800))); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{strings.Repeat("y", 800), "small"} {
		if err := r.session.Queue(Delivery{}, text(data)); !errors.Is(err, transports.ErrSlowConsumer) {
			t.Errorf("%.5s: %v", data, err)
		}
	}
	r.session.Flush()
	r.expectReason(t, transports.TransportError)
}

// What a retired transport gives back counts again, also if the session has
// moved on before it did.
func TestLoadAfterRestore(t *testing.T) {
	for _, moved := range []bool{false, true} {
		var o outbox
		o.push(text("1"), text("2"))
		sent := o.take()
		if moved {
			o.settle()
		}
		o.push(text("3"))
		o.restore(sent)
		if want := loadOf(o.batch.packets); o.load != want {
			t.Errorf("moved %v: counts %+v, want %+v", moved, o.load, want)
		}
	}
}
