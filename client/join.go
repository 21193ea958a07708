package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// A visit is one attempt of a socket to join its namespace over an engine, and
// its time there. When the socket leaves and comes back, that is another one,
// which may be over the same engine.
type visit struct {
	// Fixed.
	socket *Socket
	engine *engine
	ctx    context.Context //nolint:containedctx // the life of the attempt, for AuthFunc; nil without
	cancel context.CancelFunc

	asked bool   // the connect request has been sent; guarded by socket.mu
	next  *visit // waits until this one has been answered; guarded by engine.mu
}

// over reports whether a visit, if there is one, is over e.
func (v *visit) over(e *engine) bool { return v != nil && v.engine == e }

// end ends what is being done for an attempt, if there is one.
func (v *visit) end() {
	if v != nil && v.cancel != nil {
		v.cancel()
	}
}

// join asks to join the namespace over e.
func (s *Socket) join(e *engine) {
	s.mu.Lock()
	if !s.active || s.engine == e || s.joining.over(e) {
		s.mu.Unlock()
		return
	}
	s.joining.end()
	v := e.unanswered(s.namespace)
	begin := v == nil || v.socket != s || s.options.AuthFunc != nil
	if begin { // otherwise the same has been asked for already, before the socket left
		v = &visit{socket: s, engine: e}
		if s.options.AuthFunc != nil {
			v.ctx, v.cancel = context.WithCancel(e.ctx)
		}
	}
	s.joining = v
	if s.state != Connecting {
		s.changeLocked(StateChange{State: Connecting})
	}
	s.mu.Unlock()
	if begin {
		s.begin(v)
	}
}

// begin makes and sends the connect request, when the server has answered that
// of an earlier visit: servers close the connection if they get another.
func (s *Socket) begin(v *visit) {
	if v.engine.queueBehind(v) {
		return
	}
	if s.options.AuthFunc != nil {
		s.manager.spawn(func() { s.authorize(v) })
		return
	}
	s.sendConnect(v, s.options.Auth)
}

// authorize has AuthFunc make the payload of the connect request, until it
// does.
func (s *Socket) authorize(v *visit) {
	defer v.end()
	r := &s.manager.options.Reconnection
	for n := 0; ; n++ {
		auth, err := s.options.AuthFunc(v.ctx)
		if err == nil {
			s.sendConnect(v, auth)
			return
		}
		err = fmt.Errorf("client: AuthFunc: %w", err)
		if r.Disabled || r.Attempts > 0 && n >= r.Attempts {
			s.refuse(v, err)
			return
		}
		delay := r.delay(n)
		s.mu.Lock()
		if s.joining == v {
			s.changeLocked(StateChange{State: Waiting, Err: err, Attempt: n + 1, Delay: delay})
			s.faultLocked(err)
		}
		s.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-v.ctx.Done():
			return
		}
		s.mu.Lock()
		gone := s.joining != v
		if !gone {
			s.changeLocked(StateChange{State: Connecting, Attempt: n + 1})
		}
		s.mu.Unlock()
		if gone {
			return
		}
	}
}

// refuse ends an attempt that is not to be repeated.
func (s *Socket) refuse(v *visit, err error) {
	s.mu.Lock()
	current := s.joining == v
	if current {
		s.deactivateLocked(err)
	}
	s.mu.Unlock()
	if current {
		s.manager.release()
	}
}

// sendConnect sends the connect request.
func (s *Socket) sendConnect(v *visit, auth any) {
	e := v.engine
	s.mu.Lock()
	pid, offset := s.pid, s.offset
	s.mu.Unlock()
	var packets []transports.Packet
	data, err := withRecovery(auth, pid, offset)
	if err == nil {
		packets, err = s.manager.encode(&codec.Packet{Type: codec.Connect, Namespace: s.namespace, Data: data})
	}
	s.mu.Lock()
	if s.joining != v {
		s.mu.Unlock()
		return
	}
	if err == nil {
		err = e.ask(v, packets)
		v.asked = err == nil
	}
	s.mu.Unlock()
	switch {
	case errors.Is(err, errOver):
		if e.isOver() { // lost may have come before it was joined
			s.lost(e, e.cause)
		}
	case err != nil:
		s.refuse(v, fmt.Errorf("client: auth: %w", err))
	default:
		e.flush()
	}
}

// unanswered returns the visit of a namespace whose connect request the server
// has not answered, or nil.
func (e *engine) unanswered(namespace string) *visit {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unansweredLocked(namespace)
}

func (e *engine) unansweredLocked(namespace string) *visit {
	for _, v := range e.asked {
		if v.socket.namespace == namespace {
			return v
		}
	}
	return nil
}

// queueBehind has a visit wait for the answer to an earlier one of the same
// namespace, and reports whether there is one.
func (e *engine) queueBehind(v *visit) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	earlier := e.unansweredLocked(v.socket.namespace)
	if earlier != nil {
		earlier.next = v
	}
	return earlier != nil
}

// ask queues the connect request of a visit.
func (e *engine) ask(v *visit, request []transports.Packet) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.pushLocked(request, math.MaxInt)
	if err == nil {
		e.asked = append(e.asked, v)
	}
	return err
}

// settle takes note that a visit has been answered, and queues what is to be
// said to that. It returns the visit that has waited for it, or nil.
func (e *engine) settle(v *visit, packets []transports.Packet) (next *visit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = without(e.asked, v)
	_ = e.pushLocked(packets, math.MaxInt) // the connection may be over
	return v.next
}

// withRecovery adds to the payload of a connect request what a socket comes
// back with.
func withRecovery(auth any, pid, offset string) (any, error) {
	if pid == "" {
		return auth, nil
	}
	members := make(map[string]json.RawMessage)
	if auth != nil {
		text, err := json.Marshal(auth)
		if err == nil {
			err = json.Unmarshal(text, &members)
		}
		if err != nil {
			return nil, err
		}
	}
	for name, value := range map[string]string{"pid": pid, "offset": offset} {
		if _, taken := members[name]; taken || value == "" {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		members[name] = text
	}
	return members, nil
}

// received takes a packet for the namespace. It is called by the goroutine
// that reads from e, which it blocks while there is no room for events.
func (s *Socket) received(e *engine, r *codec.Received) {
	switch r.Type {
	case codec.Event:
		s.arrived(e, r)
	case codec.Ack:
		s.answered(e, r)
	case codec.Disconnect:
		s.mu.Lock()
		current := s.engine == e
		s.mu.Unlock()
		if current {
			s.depart(&CloseError{Reason: ServerDisconnect}, false)
			s.manager.release()
		}
	case codec.Connect, codec.ConnectError: // are for replied
	}
}

// refusal reads the payload of a CONNECT_ERROR, which older servers send as a
// string.
func (s *Socket) refusal(data codec.Raw) error {
	var said struct {
		Message string    `json:"message"`
		Data    codec.Raw `json:"data"`
	}
	if data.Bind(&said.Message) == nil {
		return &ConnectError{Namespace: s.namespace, Message: said.Message}
	}
	_ = data.Bind(&said) // what does not fit is left out
	return &ConnectError{Namespace: s.namespace, Message: said.Message, Data: said.Data}
}

// An acceptance is the payload of the answer to a connect request.
type acceptance struct {
	SID string `json:"sid"`
	PID string `json:"pid"`
}

// replied takes the answer to a connect request.
func (m *Manager) replied(e *engine, r *codec.Received) {
	v := e.unanswered(r.Namespace)
	if v == nil {
		return
	}
	s := v.socket
	var (
		accepted acceptance
		err      error
	)
	switch {
	case r.Type == codec.ConnectError:
		err = s.refusal(r.Data)
	case r.Data.Bind(&accepted) != nil || accepted.SID == "":
		err = ErrOldServer
	}
	s.mu.Lock()
	if s.joining != v {
		m.dismiss(v, err == nil)
		return
	}
	e.settle(v, nil)
	if err != nil {
		s.deactivateLocked(err)
		s.mu.Unlock()
		m.release()
		return
	}
	failed := s.acceptedLocked(v, accepted)
	s.mu.Unlock()
	e.flush()
	s.drain()
	s.tellFailed(failed)
}

// dismiss is for a visit that was answered after its socket had left: the
// server is told so, before anybody else asks. It unlocks the socket.
func (m *Manager) dismiss(v *visit, accepted bool) {
	var packets []transports.Packet
	if accepted {
		packets, _ = m.encode(&codec.Packet{Type: codec.Disconnect, Namespace: v.socket.namespace}) // it never fails
	}
	next := v.engine.settle(v, packets)
	v.socket.mu.Unlock()
	v.engine.flush()
	if next != nil {
		next.socket.begin(next)
	}
}

// acceptedLocked is the beginning of the socket's time in its namespace.
func (s *Socket) acceptedLocked(v *visit, a acceptance) failures {
	s.joining, s.joined, s.engine = nil, v, v.engine
	s.id = a.SID
	s.recovered = a.PID != "" && a.PID == s.pid
	s.pid = a.PID
	for _, r := range s.early {
		// What comes before the answer has been missed if the socket has
		// recovered, and otherwise may be from its last visit.
		if s.recovered || s.left != v.engine {
			s.eventLocked(r)
		}
	}
	s.early, s.earlyBytes = nil, 0
	failed := s.sendBufferLocked(v.engine)
	s.changeLocked(StateChange{State: Connected})
	s.resolveLocked(nil)
	return failed
}

// attemptFailed is told that no connection could be opened. There may be
// another attempt.
func (s *Socket) attemptFailed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultLocked(err)
}

// progress is told what is being done to connect.
func (s *Socket) progress(c StateChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active && s.engine == nil && s.joining == nil {
		s.changeLocked(c)
	}
}

// deactivate is the end of trying to be connected.
func (s *Socket) deactivate(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deactivateLocked(err)
}

func (s *Socket) deactivateLocked(err error) {
	if !s.active || s.engine != nil {
		return
	}
	s.active = false
	s.joining.end()
	s.joining, s.early, s.earlyBytes = nil, nil, 0
	s.changeLocked(StateChange{State: Disconnected, Err: err, final: true})
	s.resolveLocked(err)
}

// lost is told that e has ended.
func (s *Socket) lost(e *engine, cause *CloseError) {
	s.mu.Lock()
	if s.engine != e && !s.joining.over(e) {
		s.mu.Unlock()
		return
	}
	if s.joining.over(e) {
		s.changeLocked(StateChange{State: Disconnected, Err: cause})
		s.faultLocked(cause)
	}
	failed := s.detachLocked(cause, false)
	s.mu.Unlock()
	s.tellFailed(failed)
}

// detachLocked takes the socket off its connection. It returns the calls that
// have failed by it.
func (s *Socket) detachLocked(cause *CloseError, final bool) failures {
	if s.engine != nil {
		s.changeLocked(StateChange{State: Disconnected, Err: cause, final: final})
	}
	s.left = nil
	if final {
		s.left = s.engine
	}
	s.joining.end()
	s.engine, s.joined, s.joining = nil, nil, nil
	s.early, s.earlyBytes = nil, 0
	s.id = ""
	return append(s.failCallsLocked(cause), s.retryLostLocked(cause)...)
}
