package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/upshift-go/upshift/core"
)

const (
	soakProcesses = 3
	soakClients   = 300 // a third of them on each route
	soakRooms     = 10
	// soakMargin is how much larger the heap may be after the soak: what
	// pools and maps keep, and what the test itself has noted.
	soakMargin = 3 << 20
)

// Hundreds of official clients on mixed transports, behind all front doors, half of
// them speaking MessagePack, whose connections are cut, reset, stalled and lost at
// random, with recovery on. Every message has a number. In the end nothing is lost,
// nothing has come twice, nothing is out of order, and nothing is left of it all.
//
// SOAK is how long it takes (15s; 2m in CI), SOAK_SEED chooses the faults.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes its time")
	}
	duration := soakDuration(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SOAK=%s SOAK_SEED=%d", duration, seed)

	before := goleak.IgnoreCurrent()
	s := newSoak(t)
	s.warmUp(t)
	heap := heapInUse()

	processes := s.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	var faults, emitters sync.WaitGroup
	for i, l := range s.links {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		faults.Go(func() { s.disturb(ctx, random, l.link) })
	}
	s.emit(ctx, &emitters)
	end := time.NewTimer(duration)
	defer end.Stop()
	select {
	case <-end.C:
	case <-s.wrong.some: // it does not get better
	}
	cancel()
	faults.Wait()
	emitters.Wait()
	s.finish(t, processes)
	for _, p := range processes {
		p.stop()
	}

	s.awaitEmpty(t)
	await(t, fmt.Sprintf("heap of %d KiB or less", (heap+soakMargin)>>10), func() bool { return heapInUse() <= heap+soakMargin })
	t.Logf("heap: %d KiB before, %d KiB after", heap>>10, heapInUse()>>10)
	s.stop()
	goleak.VerifyNone(t, append(slices.Clone(lingering), before)...)
}

func soakDuration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	switch {
	case text != "":
	case os.Getenv("CI") != "":
		text = "2m"
	default:
		text = "15s"
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return duration
}

// await waits for something that announces itself to nobody.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	timeout := time.NewTimer(3 * patience) // longer than recovery keeps anything
	defer timeout.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-timeout.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what pools have given up in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// warmUp has some clients come and go, so that what is made once is there.
func (s *soak) warmUp(t *testing.T) {
	t.Helper()
	clients := make([]map[string]any, 0, len(s.links)*len(routes))
	for i := range len(s.links) * len(routes) {
		clients = append(clients, s.client(fmt.Sprint("warm ", i), i))
	}
	s.start(t, clients).stop()
	s.awaitEmpty(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.clients)
}

func (s *soak) client(name string, i int) map[string]any {
	l := s.links[i%len(s.links)]
	c := map[string]any{"name": name, "url": l.url, "codec": l.codec, "gap": 1000}
	if transports, ok := routes[i/len(s.links)%len(routes)].options["transports"]; ok {
		c["transports"] = transports
	}
	return c
}

// connect starts all clients.
func (s *soak) connect(t *testing.T) []*soakProcess {
	t.Helper()
	processes := make([]*soakProcess, 0, soakProcesses)
	for p := range soakProcesses {
		var clients []map[string]any
		for i := p; i < soakClients; i += soakProcesses {
			clients = append(clients, s.client(fmt.Sprint("c", i), i))
		}
		processes = append(processes, s.start(t, clients))
	}
	return processes
}

// disturb plays tricks on a link until ctx ends, and mends it then.
func (s *soak) disturb(ctx context.Context, random *rand.Rand, l *link) {
	for {
		if !pause(ctx, random, time.Second, 6*time.Second) {
			return
		}
		switch n := random.IntN(100); {
		case n < 25:
			l.snap(false)
		case n < 50:
			l.snap(true)
		case n < 70:
			l.vanish()
		case n < 80:
			l.cut()
			pause(ctx, random, 100*time.Millisecond, 2*time.Second)
			l.mend()
		case n < 90:
			l.die()
			pause(ctx, random, 100*time.Millisecond, 3*time.Second)
			l.mend()
		default:
			l.stall()
			pause(ctx, random, 100*time.Millisecond, 2*time.Second)
			l.resume()
		}
	}
}

// pause waits for a random time and reports whether ctx goes on.
func pause(ctx context.Context, random *rand.Rand, from, to time.Duration) bool {
	timer := time.NewTimer(from + time.Duration(random.Int64N(int64(to-from))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// emit sends numbers to all, to rooms and to single clients until ctx ends.
func (s *soak) emit(ctx context.Context, emitters *sync.WaitGroup) {
	s.mu.Lock()
	clients := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	every := func(gap time.Duration, send func(i int) error) {
		emitters.Go(func() {
			pace := time.NewTicker(gap)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-pace.C:
				case <-ctx.Done():
					return
				}
				if err := send(i); err != nil {
					s.wrong.add("emit: %v", err)
				}
			}
		})
	}
	// What is sent must not depend on a context that has ended: the number counts.
	live := context.WithoutCancel(ctx)
	every(400*time.Millisecond, func(i int) error {
		var data []byte
		if i%5 == 0 {
			data = []byte(strconv.Itoa(i))
		}
		s.all++
		return s.to(func(all core.Target) error {
			return errors.Join(all.Emit(live, "all", i, data), all.Volatile().Emit(live, "tick", i))
		})
	})
	for room := range soakRooms {
		every(time.Second, func(i int) error {
			s.rooms[room]++
			return s.to(func(all core.Target) error { return all.To(roomName(room)).Emit(live, "room", i) })
		})
	}
	every(5*time.Millisecond, func(i int) error {
		c := clients[i%len(clients)]
		number := c.direct
		c.direct++
		if number%2 == 0 {
			return c.socket.Namespace().To(c.socket.ID()).Emit(live, "direct", number, []byte(strconv.Itoa(number)))
		}
		return c.socket.Emit(live, "direct", number)
	})
}

// finish has all clients say what they have seen, and checks it.
func (s *soak) finish(t *testing.T, processes []*soakProcess) {
	t.Helper()
	s.mu.Lock()
	clients := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	for _, c := range clients {
		if err := c.socket.Emit(t.Context(), "end"); err != nil {
			t.Errorf("end: %v", err)
		}
	}
	var sum soakReport
	var again, fires int
	for _, p := range processes {
		isDone := func(r soakReport) bool { return r.Event == "done" }
		await(t, "reports of all clients", func() bool {
			n, _ := p.count(isDone)
			return n == p.clients || len(s.wrong.all()) > 0
		})
		for _, r := range p.take(isDone) {
			s.check(r)
			c := s.clients[r.Client]
			sum.Connects += r.Connects
			sum.Ticks += r.Ticks
			sum.Sent += r.Sent
			sum.Next.All += r.Next.All
			sum.Next.Room += r.Next.Room
			sum.Next.Direct += r.Next.Direct
			again += c.again
			fires += c.fires
		}
	}
	t.Logf("%d clients: %d connects", len(clients), sum.Connects)
	for i, srv := range s.servers {
		stats := srv.Stats()
		t.Logf("server %d: %d recovered and %d in vain, %d volatile were dropped", i, stats.Recovered, stats.RecoveryFailed, stats.VolatileDropped)
	}
	t.Logf("received: %d of all, %d of rooms, %d directly, %d volatile", sum.Next.All, sum.Next.Room, sum.Next.Direct, sum.Ticks)
	t.Logf("sent: %d, of which %d came again; %d volatile, of which %d came", sum.Sent, again, sum.Sent, fires)
	list := s.wrong.all()
	for _, what := range list[:min(len(list), 50)] {
		t.Error(what)
	}
	if t.Failed() {
		t.FailNow()
	}
	if slices.ContainsFunc(s.servers, func(srv *core.Server) bool { return srv.Stats().Recovered == 0 }) {
		t.Error("no client had to come back: the faults do nothing")
	}
}

// check compares what a client has seen with what was sent.
func (s *soak) check(r soakReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[r.Client]
	want := [...]int{s.all, s.rooms[c.room], c.direct}
	if got := [...]int{r.Next.All, r.Next.Room, r.Next.Direct}; got != want {
		s.wrong.add("%s has received %v of all, its room and directly, want %v", r.Client, got, want)
	}
	if c.up != r.Sent || r.Acked != r.Sent {
		s.wrong.add("%s has sent %d, of which %d were acknowledged and %d handled", r.Client, r.Sent, r.Acked, c.up)
	}
}
