package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// An engine is one Engine.IO session, from the client's end: a connection that
// may move from polling to WebSocket, and its heartbeat. It does not come back
// when it is over.
//
//	Emit ──► push ──► outbox ──► flush ──► link.conn
//	link.conn ──► link.Receive ──► decoder ──► owner.received
type engine struct {
	owner  *Manager
	ctx    context.Context //nolint:containedctx // the life of the engine, for its requests
	cancel context.CancelFunc
	opened chan struct{} // closed when the server has opened the session
	over   chan struct{} // closed when the engine is over

	// Fixed before opened is closed.
	sid        string
	upgrades   []string
	patience   time.Duration // the server is heard within
	maxPayload int64         // of the server; 0 is none

	decoder codec.Decoder // owned by who receives on the current link

	mu          sync.Mutex  // guards what follows; never held while a conn or the owner is called
	link        *link       // carries packets
	candidate   *link       // is being probed
	probing     *time.Timer // runs out when that takes too long; nil before the first candidate
	pausing     bool        // the candidate has been found good: nothing is sent until it is the link
	sending     bool        // somebody is in flush
	outbox      []transports.Packet
	outboxBytes int
	ponging     bool        // a pong is in the outbox
	asked       []*visit    // whose connect requests have not been answered
	silence     *time.Timer // runs out when the server is not heard
	deadline    time.Time   // when it should have, on the wall clock
	leaving     bool        // end when the outbox is empty; nothing more is taken
	saidGoodbye bool        // the last packet has been taken from the outbox
	cause       *CloseError // set when the engine is over
}

// A link is one transport's connection of an engine, which receives through
// it.
type link struct {
	engine *engine
	name   string
	conn   transports.Conn
	pause  func(done func()) // polling only
	resume func()

	// Guarded by engine.mu.
	ready   bool // conn takes a batch
	started bool // the first Ready has come
}

var _ transports.Sink = (*link)(nil)

func newEngine(m *Manager) *engine {
	e := &engine{
		owner:   m,
		opened:  make(chan struct{}),
		over:    make(chan struct{}),
		decoder: m.options.Codec.NewDecoder(),
	}
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(m.ctx))
	return e
}

// open opens the session on a transport. It returns when the server has opened
// it; until then ctx bounds it.
func (e *engine) open(ctx context.Context, name string) error {
	stop := context.AfterFunc(ctx, func() {
		e.end(&CloseError{Reason: TransportError, Err: context.Cause(ctx)})
	})
	if err := e.dial(ctx, name, ""); err != nil {
		e.end(&CloseError{Reason: TransportError, Err: err})
	}
	select {
	case <-e.opened:
	case <-e.over:
	}
	if !stop() {
		<-e.over // it is being ended
	}
	if e.isOver() {
		return behind(e.cause)
	}
	return nil
}

// behind is what a failed attempt is reported as.
func behind(cause *CloseError) error {
	if cause.Err != nil {
		return cause.Err
	}
	return cause
}

func (e *engine) isOver() bool {
	select {
	case <-e.over:
		return true
	default:
		return false
	}
}

// attach makes a new conn the link, or the candidate if there is a link. It is
// called before anything is read from it.
func (e *engine) attach(l *link) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.cause != nil || e.leaving:
		return errOver
	case e.link == nil:
		e.link = l
	default:
		e.candidate = l
		e.probing = time.AfterFunc(e.owner.options.Timeout, func() { e.probeFailed(l, context.DeadlineExceeded) })
	}
	return nil
}

var errOver = errors.New("client: connection is over")

// Receive implements transports.Sink.
func (l *link) Receive(p transports.Packet) error {
	e := l.engine
	e.mu.Lock()
	current, candidate, over := e.link == l, e.candidate == l, e.cause != nil
	e.mu.Unlock()
	switch {
	case over:
		return errOver
	case candidate:
		return e.probed(l, p)
	case !current:
		return errOver
	}
	switch p.Type {
	case transports.Open:
		return e.handshake(p.Data)
	case transports.Ping:
		e.heard()
		e.pong()
	case transports.Message:
		return e.message(p)
	case transports.Close:
		e.end(&CloseError{Reason: TransportClose})
	case transports.Pong, transports.Upgrade, transports.Noop:
	}
	return nil
}

// Ready implements transports.Sink.
func (l *link) Ready() {
	e := l.engine
	e.mu.Lock()
	first := !l.started
	l.ready, l.started = true, true
	probing := e.candidate == l
	gone := !probing && e.link != l || e.cause != nil
	e.mu.Unlock()
	switch {
	case gone && first:
		l.conn.Close(errOver) // it could not be done before
	case probing && first:
		e.probe(l)
	default:
		e.flush()
	}
}

// close closes a conn. One that has not called Ready yet must not be called; it
// is closed when it has.
func (l *link) close(cause error) {
	l.engine.mu.Lock()
	started := l.started
	l.engine.mu.Unlock()
	if started {
		l.conn.Close(cause)
	}
}

// Closed implements transports.Sink.
func (l *link) Closed(cause error) {
	e := l.engine
	e.mu.Lock()
	current, candidate := e.link == l, e.candidate == l
	e.mu.Unlock()
	switch {
	case candidate:
		e.probeFailed(l, cause)
	case current:
		closed := *transports.AsCloseError(cause)
		if closed.Reason == ParseError {
			// What is no packet of this layer counts as a failure of the
			// transport, as with the official client.
			closed.Reason = TransportError
		}
		e.end(&closed)
	}
}

// handshake takes the first packet of a session.
func (e *engine) handshake(data []byte) error {
	select {
	case <-e.opened:
		return nil // a second one changes nothing
	default:
	}
	var open struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int64    `json:"maxPayload"`
	}
	err := json.Unmarshal(data, &open)
	if err == nil && (open.SID == "" || open.PingInterval <= 0 || open.PingTimeout <= 0) {
		err = errors.New("incomplete")
	}
	if err != nil {
		e.end(&CloseError{Reason: TransportError, Err: fmt.Errorf("%w: handshake: %w", transports.ErrMalformed, err)})
		return errOver
	}
	const longest = int64(24 * time.Hour / time.Millisecond) // also keeps the sum from overflowing
	e.sid, e.upgrades, e.maxPayload = open.SID, open.Upgrades, max(open.MaxPayload, 0)
	e.patience = time.Duration(min(open.PingInterval, longest)+min(open.PingTimeout, longest)) * time.Millisecond
	e.mu.Lock()
	if e.cause == nil {
		e.deadline = wall().Add(e.patience)
		e.silence = time.AfterFunc(e.patience, e.silent)
	}
	e.mu.Unlock()
	close(e.opened)
	return nil
}

// wall is the time on the wall clock, which goes on while a machine sleeps.
func wall() time.Time { return time.Now().Round(0) }

// heard restarts the time within which the server has to be heard again.
func (e *engine) heard() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil && e.silence != nil {
		e.deadline = wall().Add(e.patience)
		e.silence.Reset(e.patience)
	}
}

func (e *engine) silent() { e.end(&CloseError{Reason: PingTimeout}) }

// stale reports whether the server should have been heard by now, which is
// only true when the timers of this process have stood still. It ends the
// engine then.
func (e *engine) stale() bool {
	e.mu.Lock()
	stale := e.cause == nil && wall().After(e.deadline)
	e.mu.Unlock()
	if stale {
		e.owner.spawn(e.silent) // the caller may hold locks of the owner
	}
	return stale
}

// message passes on a message of the server. It blocks while its socket takes
// nothing.
func (e *engine) message(p transports.Packet) error {
	r, ok, err := e.decoder.Decode(codec.Frame{Binary: p.Binary, Data: p.Data})
	if err != nil {
		e.end(&CloseError{Reason: ParseError, Err: err})
		return errOver
	}
	if ok {
		e.owner.received(e, &r)
	}
	return nil
}

// leave ends the engine after what was pushed has been sent. It does not wait;
// over is closed when that is done.
func (e *engine) leave() {
	e.mu.Lock()
	candidate := e.candidate
	e.leaving = true
	e.mu.Unlock()
	unopened := true
	select {
	case <-e.opened:
		unopened = false
	default:
	}
	if candidate != nil {
		e.probeFailed(candidate, errOver)
	}
	if unopened {
		e.end(&CloseError{Reason: ForcedClose})
		return
	}
	e.flush()
}

// end ends the engine, once. It may be called from anywhere, with no lock held.
func (e *engine) end(cause *CloseError) {
	e.mu.Lock()
	if e.cause != nil {
		e.mu.Unlock()
		return
	}
	e.cause = cause
	e.outbox, e.outboxBytes = nil, 0
	l, candidate := e.link, e.candidate
	e.candidate = nil
	for _, t := range []*time.Timer{e.silence, e.probing} {
		if t != nil {
			t.Stop()
		}
	}
	e.mu.Unlock()
	close(e.over)
	for _, l := range []*link{l, candidate} {
		if l != nil {
			l.close(cause)
		}
	}
	e.cancel()
	e.owner.lost(e, cause)
}
