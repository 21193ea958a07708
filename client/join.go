package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/upshift-go/upshift/codec"
	"github.com/upshift-go/upshift/transports"
)

// join asks to join the namespace over e.
func (s *Socket) join(e *engine) {
	s.mu.Lock()
	if !s.active || s.engine == e || s.joining == e {
		s.mu.Unlock()
		return
	}
	s.joining = e
	if s.state != Connecting {
		s.changeLocked(StateChange{State: Connecting})
	}
	s.mu.Unlock()
	if s.options.AuthFunc != nil {
		s.manager.spawn(func() { s.authorize(e) })
		return
	}
	s.sendConnect(e, s.options.Auth)
}

// authorize has AuthFunc make the payload of the connect request, until it
// does.
func (s *Socket) authorize(e *engine) {
	r := &s.manager.options.Reconnection
	for n := 0; ; n++ {
		auth, err := s.options.AuthFunc(e.ctx)
		if err == nil {
			s.sendConnect(e, auth)
			return
		}
		err = fmt.Errorf("client: AuthFunc: %w", err)
		if r.Disabled || r.Attempts > 0 && n >= r.Attempts {
			if s.isJoining(e) {
				s.deactivate(err)
				s.manager.release()
			}
			return
		}
		delay := r.delay(n)
		s.mu.Lock()
		if s.joining == e {
			s.changeLocked(StateChange{State: Waiting, Err: err, Attempt: n + 1, Delay: delay})
			s.faultLocked(err)
		}
		s.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-e.over:
			return
		}
		s.mu.Lock()
		gone := s.joining != e
		if !gone {
			s.changeLocked(StateChange{State: Connecting, Attempt: n + 1})
		}
		s.mu.Unlock()
		if gone {
			return
		}
	}
}

func (s *Socket) isJoining(e *engine) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joining == e
}

// sendConnect sends the connect request.
func (s *Socket) sendConnect(e *engine, auth any) {
	s.mu.Lock()
	pid, offset := s.pid, s.offset
	s.mu.Unlock()
	var packets []transports.Packet
	data, err := withRecovery(auth, pid, offset)
	if err == nil {
		packets, err = s.manager.encode(&codec.Packet{Type: codec.Connect, Namespace: s.namespace, Data: data})
	}
	s.mu.Lock()
	if s.joining != e {
		s.mu.Unlock()
		return
	}
	if err == nil {
		err = e.push(packets, math.MaxInt)
	}
	s.mu.Unlock()
	switch {
	case errors.Is(err, errOver):
		if e.isOver() { // lost may have come before it was joined
			s.lost(e, e.cause)
		}
	case err != nil:
		s.deactivate(fmt.Errorf("client: auth: %w", err))
		s.manager.release()
	default:
		e.flush()
	}
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
	case codec.Connect:
		s.accepted(e, r.Data)
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
	case codec.ConnectError:
		if s.isJoining(e) {
			s.deactivate(s.refusal(r.Data))
			s.manager.release()
		}
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

// accepted takes the answer to a connect request.
func (s *Socket) accepted(e *engine, data codec.Raw) {
	var reply struct {
		SID string `json:"sid"`
		PID string `json:"pid"`
	}
	err := data.Bind(&reply)
	if !s.isJoining(e) {
		return
	}
	if err != nil || reply.SID == "" {
		s.deactivate(ErrOldServer)
		s.manager.release()
		return
	}
	s.mu.Lock()
	if s.joining != e {
		s.mu.Unlock()
		return
	}
	s.joining, s.engine = nil, e
	s.id = reply.SID
	s.recovered = reply.PID != "" && reply.PID == s.pid
	s.pid = reply.PID
	for _, r := range s.early {
		s.eventLocked(e, r)
	}
	s.early, s.earlyBytes = nil, 0
	failed := s.sendBufferLocked(e)
	s.changeLocked(StateChange{State: Connected})
	s.resolveLocked(nil)
	s.mu.Unlock()
	e.flush()
	s.drain(true)
	failed.tell()
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
	if !s.active || s.engine != nil {
		return
	}
	s.active = false
	s.joining, s.early, s.earlyBytes = nil, nil, 0
	s.changeLocked(StateChange{State: Disconnected, Err: err, final: true})
	s.resolveLocked(err)
}

// lost is told that e has ended.
func (s *Socket) lost(e *engine, cause *CloseError) {
	s.mu.Lock()
	if s.engine != e && s.joining != e {
		s.mu.Unlock()
		return
	}
	if s.joining == e {
		s.changeLocked(StateChange{State: Disconnected, Err: cause})
		s.faultLocked(cause)
	}
	failed := s.detachLocked(cause, false)
	s.mu.Unlock()
	failed.tell()
}

// detachLocked takes the socket off its connection. It returns the calls that
// have failed by it.
func (s *Socket) detachLocked(cause *CloseError, final bool) failures {
	if s.engine != nil {
		s.changeLocked(StateChange{State: Disconnected, Err: cause, final: final})
	}
	s.engine, s.joining = nil, nil
	s.early, s.earlyBytes = nil, 0
	s.id = ""
	return append(s.failCallsLocked(cause), s.retryLostLocked(cause)...)
}
