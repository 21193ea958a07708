package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"

	"github.com/upshift-go/upshift/transports"
	"github.com/upshift-go/upshift/transports/polling"
)

// A poll is the client's end of HTTP long-polling: one GET after another
// brings what the server sends, and one POST at a time what the client sends.
type poll struct {
	engine *engine
	sink   transports.Sink

	mu      sync.Mutex // guards what follows; never held while the sink is called
	getting bool       // the goroutine that polls is there
	posting bool       // a POST is under way
	paused  func()     // to be called when neither is any more; nil unless there is a pause
	closed  bool
}

var _ transports.Conn = (*poll)(nil)

func newPoll(e *engine, sink transports.Sink) *poll {
	return &poll{engine: e, sink: sink, getting: true}
}

// Send implements transports.Conn. Sink.Ready is called when the server has
// answered.
func (c *poll) Send(batch []transports.Packet) (ready bool, err error) {
	body := polling.AppendPayload(nil, batch)
	c.mu.Lock()
	c.posting = true
	c.mu.Unlock()
	c.engine.owner.spawn(func() { c.post(body) })
	return false, nil
}

// Close implements transports.Conn. The engine's context ends the requests.
func (c *poll) Close(cause error) {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if !closed {
		c.sink.Closed(cause)
	}
}

// post sends a body.
func (c *poll) post(body []byte) {
	resp, err := c.do(c.engine.ctx, http.MethodPost, body)
	if err != nil {
		c.fail(err)
		return
	}
	// The answer is "ok"; it is read so that the connection can be used again.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	_ = resp.Body.Close()
	if err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	c.posting = false
	paused := c.restingLocked()
	c.mu.Unlock()
	c.sink.Ready()
	if paused != nil {
		paused()
	}
}

// run opens the session and polls.
func (c *poll) run() {
	err := c.get()
	if err == nil && c.sid() == "" {
		err = transports.Malformed("the first packet is no handshake", 0)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.sink.Ready()
	c.poll()
}

// sid is the session id, empty before the session is open.
func (c *poll) sid() string {
	select {
	case <-c.engine.opened:
		return c.engine.sid
	default:
		return ""
	}
}

// poll polls, until that fails or there is a pause.
func (c *poll) poll() {
	for {
		if err := c.get(); err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		if c.closed || c.paused != nil {
			c.getting = false
			paused := c.restingLocked()
			c.mu.Unlock()
			if paused != nil {
				paused()
			}
			return
		}
		c.mu.Unlock()
	}
}

// get polls once.
func (c *poll) get() error {
	ctx, cancel := onlyOnce(c.engine.ctx)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	limit := c.engine.owner.options.MaxMessageBytes
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return err
	}
	if int64(len(body)) > limit {
		return transports.ErrPayloadTooLarge
	}
	for p, err := range polling.Split(body) {
		if err != nil {
			return err
		}
		if err := c.sink.Receive(p); err != nil {
			return err
		}
	}
	return nil
}

// do sends a request and returns a response with status 200.
func (c *poll) do(ctx context.Context, method string, body []byte) (*http.Response, error) {
	m := c.engine.owner
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := m.request(ctx, method, Polling, c.sid(), reader)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "*/*")
	if body != nil {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := m.http.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refused(Polling, resp)
	}
	return resp, nil
}

// onlyOnce keeps net/http from repeating a request whose connection has failed
// before the response. The server may have sent the response, and what was in
// it would be missed without a sign.
func onlyOnce(ctx context.Context) (once context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var written atomic.Bool
	once = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest:         func(httptrace.WroteRequestInfo) { written.Store(true) },
		GotFirstResponseByte: func() { written.Store(false) }, // there may be a redirection
		GetConn: func(string) {
			if written.Load() {
				cancel(errRepeated)
			}
		},
	})
	return once, func() { cancel(nil) }
}

var errRepeated = errors.New("client: the connection was lost before the response")

// fail reports that a request has failed.
func (c *poll) fail(err error) {
	if context.Cause(c.engine.ctx) != nil {
		return // it was made to
	}
	if _, ok := err.(*transports.CloseError); !ok { //nolint:errorlint // one that is wrapped in a request's error is not ours
		if _, ok := err.(*RequestError); !ok { //nolint:errorlint // do returns it as it is; it says where it comes from
			err = fmt.Errorf("client: polling: %w", err)
		}
		err = &CloseError{Reason: TransportError, Err: err}
	}
	c.Close(err)
}

// pause calls done as soon as no request is under way, and makes none then.
func (c *poll) pause(done func()) {
	c.mu.Lock()
	if c.paused != nil || c.closed {
		c.mu.Unlock()
		return
	}
	c.paused = done
	done = c.restingLocked()
	c.mu.Unlock()
	if done != nil {
		done()
	}
}

// restingLocked returns what is to be called because no request is under way
// any more, or nil.
func (c *poll) restingLocked() func() {
	if c.getting || c.posting {
		return nil
	}
	return c.paused
}

// resume polls on after a pause.
func (c *poll) resume() {
	c.mu.Lock()
	c.paused = nil
	start := !c.getting && !c.closed
	c.getting = c.getting || start
	c.mu.Unlock()
	if start {
		c.engine.owner.spawn(c.poll)
	}
}
