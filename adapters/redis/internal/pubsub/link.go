// Package pubsub keeps subscriptions of Redis channels in step with what somebody
// wants, through failures of the connection.
package pubsub

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// How long is waited after a failure: at first, and at most. It is random between
// half of it and all of it.
const (
	minPause = 250 * time.Millisecond
	maxPause = 5 * time.Second
)

// A Link is a client of Redis that may not be there yet.
type Link struct {
	option rueidis.ClientOption
	given  bool // the client is somebody else's

	mu       sync.Mutex // guards what follows
	client   rueidis.Client
	dialling chan struct{} // closed when it is over; nil if nobody dials
	failed   error
	retry    time.Time // before that there is no use in dialling again
	pause    time.Duration
	closed   bool
}

// ErrClosed is what a closed Link fails with.
var ErrClosed = errors.New("redis: closed")

// NewLink returns a link that dials as o says when it is needed, or that uses
// client, which is not closed then.
func NewLink(o rueidis.ClientOption, client rueidis.Client) *Link {
	if len(o.InitAddress) == 0 {
		o.InitAddress = []string{"127.0.0.1:6379"}
	}
	o.DisableCache = true // nothing is cached, and older servers cannot
	return &Link{option: o, client: client, given: client != nil}
}

// Client returns the client. If Redis cannot be reached it fails, at once if that
// was tried a moment ago, and when ctx ends at the latest.
func (l *Link) Client(ctx context.Context) (rueidis.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.client != nil {
		return l.clientLocked()
	}
	if l.dialling == nil {
		if time.Now().Before(l.retry) {
			return l.clientLocked()
		}
		l.dialling = make(chan struct{})
		go l.dial(l.dialling) // Close waits for it
	}
	over := l.dialling
	l.mu.Unlock()
	var err error
	select {
	case <-over:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	if err != nil {
		return nil, err
	}
	return l.clientLocked()
}

func (l *Link) clientLocked() (rueidis.Client, error) {
	switch {
	case l.closed:
		return nil, ErrClosed
	case l.client == nil:
		return nil, l.failed
	default:
		return l.client, nil
	}
}

// dial makes the client. That takes as long as rueidis.ClientOption says, whoever
// waits for it.
func (l *Link) dial(over chan<- struct{}) {
	defer close(over)
	client, err := rueidis.NewClient(l.option)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialling = nil
	switch {
	case err != nil:
		l.pause = nextPause(l.pause)
		l.failed, l.retry = err, time.Now().Add(l.pause)
	case l.closed:
		client.Close()
	default:
		l.client = client
	}
}

// Close closes the client, unless it was given. It waits for dialling to end, as long
// as ctx allows.
func (l *Link) Close(ctx context.Context) {
	l.mu.Lock()
	l.closed = true
	client, over := l.client, l.dialling
	l.mu.Unlock()
	if client != nil && !l.given {
		client.Close()
	}
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// Node returns the client of one server of a cluster, always the same as long as
// the cluster does not change, or the client itself if there is no cluster: what
// is sent to it keeps its order.
func Node(client rueidis.Client) rueidis.Client {
	nodes := client.Nodes()
	if client.Mode() != rueidis.ClientModeCluster || len(nodes) == 0 {
		return client
	}
	first := slices.MinFunc(keys(nodes), cmp.Compare[string])
	return nodes[first]
}

func keys(nodes map[string]rueidis.Client) []string {
	all := make([]string, 0, len(nodes))
	for addr := range nodes {
		all = append(all, addr)
	}
	return all
}

// A Pause grows from one failure to the next. The zero Pause is ready.
type Pause struct{ last time.Duration }

// Wait waits, and reports false if ctx ends first.
func (p *Pause) Wait(ctx context.Context) bool {
	p.last = nextPause(p.last)
	timer := time.NewTimer(p.last)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Reset makes the next pause a short one again.
func (p *Pause) Reset() { p.last = 0 }

func nextPause(last time.Duration) time.Duration {
	pause := min(max(2*last, minPause), maxPause)
	return pause/2 + time.Duration(rand.Int64N(int64(pause/2))) //nolint:gosec // no secret
}
