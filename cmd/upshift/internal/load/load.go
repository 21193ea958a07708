// Package load puts a Socket.IO server under load with many clients in one process, and
// measures what they see.
package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/codec"
)

// Options say what the load is.
type Options struct {
	// URL is the server's, with the namespace as its path, and Client are the
	// options of each client. HTTPClient makes the one of each client from that of
	// Client; if it is nil, they share it.
	URL        string
	Client     client.Options
	HTTPClient func(shared *http.Client) *http.Client
	// Connections is how many there are. Ramp is how many are opened a second; 0 is
	// as fast as it goes.
	Connections int
	Ramp        float64
	// Duration is how long events are sent when all connections are there.
	Duration time.Duration
	// Event is what each client sends, with Args, Rate times a second. There is none if
	// it is empty.
	Event string
	Args  []any
	Rate  float64
	// Ack waits for the answer of each event, and measures how long it takes.
	Ack bool
}

// maxRate is more than one client can send.
const maxRate = 1e6

// opening is how many connections are opened at the same time.
const opening = 200

// A Load is one that is going on.
type Load struct {
	o     Options
	began time.Time

	connected, failed, lost, sent, refused, received, answered, late atomic.Int64

	mu      sync.Mutex // guards what follows
	connect *hdrhistogram.Histogram
	answer  *hdrhistogram.Histogram
	errors  map[string]int
}

// A Snapshot is how far a load has come, and at the end what it was. Times are in
// microseconds.
type Snapshot struct {
	Seconds   float64        `json:"seconds"`
	Connected int64          `json:"connected"`
	Failed    int64          `json:"failed"`
	Lost      int64          `json:"lost"`
	Sent      int64          `json:"sent"`
	Refused   int64          `json:"refused"` // could not be sent
	Received  int64          `json:"received"`
	Answered  int64          `json:"answered"`
	Late      int64          `json:"late"` // no answer in time
	Connect   *Times         `json:"connect,omitempty"`
	Answer    *Times         `json:"answer,omitempty"`
	Errors    map[string]int `json:"errors,omitempty"`
}

// Times are how long something took.
type Times struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	Min   int64   `json:"min"`
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p999"`
	Max   int64   `json:"max"`

	bars []hdrhistogram.Bar
}

// Bars are the counts of the histogram.
func (t *Times) Bars() []hdrhistogram.Bar { return t.bars }

// New returns a load that does nothing before Run.
func New(o Options) (*Load, error) {
	if o.Connections < 1 || o.Ramp < 0 || o.Rate < 0 || o.Duration < 0 {
		return nil, errors.New("load: a number is negative, or there are no connections")
	}
	if o.Rate > maxRate {
		return nil, fmt.Errorf("load: the rate is more than %d events a second", int(maxRate))
	}
	if _, err := client.NewManager(o.URL, o.Client); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	const most, digits = int64(time.Minute / time.Microsecond), 3
	return &Load{
		o: o, began: time.Now(), connect: hdrhistogram.New(1, most, digits), answer: hdrhistogram.New(1, most, digits),
		errors: make(map[string]int),
	}, nil
}

// Run opens the connections, sends, and closes them, unless ctx ends before.
func (l *Load) Run(ctx context.Context) {
	l.began = time.Now()
	sockets := l.open(ctx)
	if len(sockets) == 0 {
		return
	}
	var all sync.WaitGroup
	end, cancel := context.WithTimeout(ctx, l.o.Duration)
	defer cancel()
	for i, s := range sockets {
		if l.o.Event != "" && l.o.Rate > 0 {
			all.Go(func() { l.send(end, s, float64(i)/float64(len(sockets))) })
		}
	}
	<-end.Done()
	all.Wait()
	for _, s := range sockets {
		all.Go(func() { _ = s.Close() })
	}
	all.Wait()
}

// open opens the connections.
func (l *Load) open(ctx context.Context) []*client.Socket {
	var (
		mu      sync.Mutex
		sockets []*client.Socket
		all     sync.WaitGroup
	)
	slots := make(chan struct{}, opening)
	began := time.Now()
	for i := range l.o.Connections {
		if l.o.Ramp > 0 {
			at := began.Add(time.Duration(float64(i) / l.o.Ramp * float64(time.Second)))
			select {
			case <-time.After(time.Until(at)):
			case <-ctx.Done():
			}
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-slots }()
			if s := l.dial(ctx); s != nil {
				mu.Lock()
				sockets = append(sockets, s)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sockets
}

func (l *Load) dial(ctx context.Context) *client.Socket {
	o := l.o.Client
	if l.o.HTTPClient != nil {
		o.HTTPClient = l.o.HTTPClient(o.HTTPClient)
	}
	s, err := client.New(l.o.URL, o)
	if err != nil {
		l.fail(&l.failed, err)
		return nil
	}
	s.OnAny(func(context.Context, string, codec.Args) { l.received.Add(1) })
	began := time.Now()
	if err := s.Connect(ctx); err != nil {
		_ = s.Close() // it has no connection
		if ctx.Err() == nil {
			l.fail(&l.failed, err)
		}
		return nil
	}
	l.record(l.connect, time.Since(began))
	l.connected.Add(1)
	s.OnDisconnect(func(_ context.Context, cause error) {
		if !errors.Is(cause, client.ErrClosed) && client.ReasonOf(cause) != client.ClientDisconnect {
			l.connected.Add(-1)
			l.fail(&l.lost, cause)
		}
	})
	return s
}

// send sends events until ctx ends, beginning at a part of the interval.
func (l *Load) send(ctx context.Context, s *client.Socket, phase float64) {
	interval := time.Duration(float64(time.Second) / l.o.Rate)
	select {
	case <-time.After(time.Duration(phase * float64(interval))):
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		l.sendOne(ctx, s)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (l *Load) sendOne(ctx context.Context, s *client.Socket) {
	if !l.o.Ack {
		if err := s.Emit(ctx, l.o.Event, l.o.Args...); err != nil {
			l.fail(&l.refused, err)
			return
		}
		l.sent.Add(1)
		return
	}
	const patience = 10 * time.Second // an answer may come after the end
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	l.sent.Add(1)
	began := time.Now()
	switch err := s.Call(call, l.o.Event, l.o.Args); {
	case err == nil:
		l.answered.Add(1)
		l.record(l.answer, time.Since(began))
	case errors.Is(err, context.DeadlineExceeded):
		l.late.Add(1)
	default:
		l.fail(&l.refused, err)
	}
}

func (l *Load) record(h *hdrhistogram.Histogram, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = h.RecordValue(min(max(took.Microseconds(), 1), h.HighestTrackableValue())) // it is in range
}

// differs matches what makes errors of one kind different: the query of a request, and
// the port at this end.
var differs = regexp.MustCompile(`\?EIO=4[^"\s]*|[^\s]+->`)

func (l *Load) fail(counter *atomic.Int64, err error) {
	counter.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	const kinds = 20
	if text := differs.ReplaceAllString(err.Error(), ""); l.errors[text] > 0 || len(l.errors) < kinds {
		l.errors[text]++
	}
}

// Snapshot says how far it has come. It may be called from any goroutine.
func (l *Load) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{
		Seconds: time.Since(l.began).Seconds(), Connected: l.connected.Load(), Failed: l.failed.Load(), Lost: l.lost.Load(),
		Sent: l.sent.Load(), Refused: l.refused.Load(), Received: l.received.Load(), Answered: l.answered.Load(), Late: l.late.Load(),
		Connect: timesOf(l.connect), Answer: timesOf(l.answer),
	}
	if len(l.errors) > 0 {
		s.Errors = make(map[string]int, len(l.errors))
		maps.Copy(s.Errors, l.errors)
	}
	return s
}

func timesOf(h *hdrhistogram.Histogram) *Times {
	if h.TotalCount() == 0 {
		return nil
	}
	return &Times{
		Count: h.TotalCount(), Mean: h.Mean(), Min: h.Min(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(), bars: h.Distribution(),
	}
}
