package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/upshift-go/upshift/core"
)

// Events between servers.
const (
	eventHere = "upshift:relay:here" // an announcement
	eventWho  = "upshift:relay:who"  // a question, answered with the announcement of whose it is
)

// An announcement says where the server with a tag is.
type announcement struct {
	Tag string `json:"tag"`
	URL string `json:"url"`
	// Hello: the server has just started, and wants to hear of the others.
	Hello bool `json:"hello,omitempty"`
}

const (
	// maxServers bounds what is remembered of servers, those included that have gone
	// without a word. One too many takes the place of the one that was heard of
	// longest ago; if that lives it will be asked for again.
	maxServers = 1024
	// A server that has just started may be asked for sessions before the others
	// have answered its announcement: for so long, that nobody says a tag is his
	// is no reason not to wait.
	settling = 5 * time.Second
	// goneTime is how long a server that could not be connected to is not tried
	// again.
	goneTime = time.Second
)

// An owner is another server.
type owner struct {
	tag, base string
	target    *url.URL
	heard     uint64    // when, in the order of announcements
	gone      time.Time // until when it is not tried
}

// A directory knows which server has which tag.
type directory struct {
	relay   *Relay
	own     announcement
	path    string // of the servers
	ask     bool   // there is an adapter to ask through
	limit   *rate.Limiter
	settled time.Time

	mu      sync.Mutex // guards what follows
	turn    uint64
	owners  map[string]*owner        // by tag
	unknown map[string]time.Time     // tags that nobody has, and until when that is believed
	asking  map[string]chan struct{} // closed when the answer is there
}

// start fills in what is known, and has the servers tell each other.
func (d *directory) start(srv *core.Server) error {
	d.owners, d.unknown = make(map[string]*owner), make(map[string]time.Time)
	d.asking = make(map[string]chan struct{})
	o := &d.relay.options
	for tag, base := range o.Servers {
		if err := d.learn(announcement{Tag: tag, URL: base}); err != nil {
			return err
		}
	}
	if len(o.Servers) > 0 {
		return nil
	}
	if _, err := target(o.Advertise, d.path); err != nil {
		return err
	}
	d.ask, d.settled = true, time.Now().Add(settling)
	d.limit = rate.NewLimiter(rate.Limit(o.AskRate), o.AskRate)
	ns := srv.Of("/")
	ns.OnServerSide(eventHere, func(ctx context.Context, args core.Args) (any, error) {
		var a announcement
		if err := args.Bind(&a); err != nil {
			return nil, err
		}
		hello := a.Hello
		if err := d.learn(a); err != nil || !hello {
			return nil, err
		}
		return nil, ns.ServerSideEmit(ctx, eventHere, d.own)
	})
	ns.OnServerSide(eventWho, func(_ context.Context, args core.Args) (any, error) {
		var (
			tag  string
			from announcement
		)
		if err := args.Bind(&tag, &from); err != nil {
			return nil, err
		}
		if tag == d.own.Tag {
			return d.own, d.learn(from)
		}
		return announcement{}, d.learn(from)
	})
	hello := d.own
	hello.Hello = true
	err := ns.ServerSideEmit(context.Background(), eventHere, hello)
	if errors.Is(err, core.ErrNoAdapter) {
		return fmt.Errorf("relay: servers learn of each other through an adapter, or by Options.Servers: %w", err)
	}
	if err != nil { // a broker that is away will be back, and then others ask
		d.relay.warn(&d.relay.quiet.announce, "this server could not be announced", slog.Any("error", err))
	}
	return nil
}

// learn notes what a server has said.
func (d *directory) learn(a announcement) error {
	if a.Tag == d.own.Tag {
		if a.URL != d.own.URL && d.own.URL != "" {
			d.relay.stats.clashes.Add(1)
			d.relay.warn(&d.relay.quiet.clash, "another server has the same SessionTag: its sessions, or this server's, are not found",
				slog.String("tag", a.Tag), slog.String("url", a.URL))
		}
		return nil
	}
	u, err := target(a.URL, d.path)
	if err != nil {
		return err
	}
	if len(a.Tag) != tagLength {
		return fmt.Errorf("relay: %q is no SessionTag", a.Tag)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var oldest *owner
	for _, o := range d.owners {
		if o.base == a.URL && o.tag != a.Tag && d.ask {
			delete(d.owners, o.tag) // it has started anew
		} else if oldest == nil || o.heard < oldest.heard {
			oldest = o
		}
	}
	if _, known := d.owners[a.Tag]; !known && len(d.owners) >= maxServers {
		delete(d.owners, oldest.tag)
	}
	d.turn++
	d.owners[a.Tag] = &owner{tag: a.Tag, base: a.URL, target: u, heard: d.turn}
	delete(d.unknown, a.Tag)
	d.answerLocked(a.Tag)
	return nil
}

// forget drops a server whose address is another's by now.
func (d *directory) forget(o *owner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ask && d.owners[o.tag] == o {
		delete(d.owners, o.tag)
	}
}

// away notes that a server could not be connected to.
func (d *directory) away(o *owner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o.gone = time.Now().Add(goneTime)
}

// answerLocked ends the waiting for a tag.
func (d *directory) answerLocked(tag string) {
	if waiting := d.asking[tag]; waiting != nil {
		close(waiting)
		delete(d.asking, tag)
	}
}

// find returns the server with a tag, or nil if there is none, or if it cannot be
// reached. It asks the others if it has to, and waits for them at most until ctx
// ends.
func (d *directory) find(ctx context.Context, tag string) *owner {
	o, waiting := d.look(tag)
	if waiting == nil {
		return o
	}
	select {
	case <-waiting:
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.owners[tag]
}

// look returns what is known of a tag, or what to wait for.
func (d *directory) look(tag string) (*owner, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if o := d.owners[tag]; o != nil {
		if now.Before(o.gone) {
			return nil, nil
		}
		return o, nil
	}
	if waiting := d.asking[tag]; waiting != nil {
		return nil, waiting
	}
	if !d.ask || now.Before(d.unknown[tag]) {
		return nil, nil
	}
	if !d.limit.Allow() {
		d.relay.stats.unasked.Add(1)
		return nil, nil
	}
	waiting := make(chan struct{})
	if !d.relay.start(func() { d.question(tag, waiting) }) {
		return nil, nil // it is closed
	}
	d.asking[tag] = waiting
	return nil, waiting
}

// question asks the other servers whose a tag is, and notes the answer.
func (d *directory) question(tag string, waiting <-chan struct{}) {
	ctx, cancel := context.WithTimeout(d.relay.ctx, d.relay.options.AskTimeout)
	defer cancel()
	d.relay.stats.questions.Add(1)
	for args, err := range d.relay.server.Of("/").ServerSideCall(ctx, eventWho, tag, d.own) {
		var a announcement
		if err == nil && args.Bind(&a) == nil && a.Tag == tag && d.learn(a) == nil {
			return
		}
	}
	if time.Now().Before(d.settled) {
		select {
		case <-waiting: // the server has announced itself
			return
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[tag] != nil {
		return // it has announced itself meanwhile
	}
	now := time.Now()
	for t, until := range d.unknown { // as many as questions in UnknownTime
		if !now.Before(until) {
			delete(d.unknown, t)
		}
	}
	d.unknown[tag] = now.Add(d.relay.options.UnknownTime)
	d.answerLocked(tag)
}
